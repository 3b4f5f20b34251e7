internal import CProcessStart
internal import Glibc

/// Standard input, output and error: descriptors 0, 1 and 2, which nothing else ever gets.
package enum StandardStream: Int32, Sendable {
    case input, output, errors

    /// Whether it was open when the process began.
    ///
    /// One that was not stands on `/dev/null`, and its use fails.
    package var isOpen: Bool { varve_start_was_open(rawValue) != 0 }

    package var isTerminal: Bool { isatty(rawValue) == 1 }

    /// Whether it goes to the journal of systemd, which takes importance from a line's beginning.
    package var isJournal: Bool {
        guard let stream = ProcessStart.environment["JOURNAL_STREAM"] else { return false }
        var status = stat()
        guard unsafe fstat(rawValue, &status) == 0 else { return false }
        return stream == "\(status.st_dev):\(status.st_ino)"
    }

    /// Writes all of `bytes`; gives the number of the error when that cannot be.
    package func write(_ bytes: [UInt8]) -> Int32? {
        guard isOpen else { return EBADF }
        return unsafe bytes.withUnsafeBytes { buffer -> Int32? in
            var done = 0
            while done < buffer.count, let base = buffer.baseAddress {
                let count = unsafe Glibc.write(rawValue, base + done, buffer.count - done)
                if count >= 0 {
                    done += count
                } else if errno == EAGAIN {
                    // Somebody else who has the same stream does not want to wait; we do.
                    var entry = pollfd(fd: rawValue, events: Int16(POLLOUT), revents: 0)
                    _ = unsafe poll(&entry, 1, 1000)
                } else if errno != EINTR {
                    return errno
                }
            }
            return nil
        }
    }

    /// Closes it; gives the number of the error that some file systems keep until then.
    package func close() -> Int32? { Glibc.close(rawValue) == 0 ? nil : errno }

    /// The kernel's words for the number of an error.
    package static func reason(_ code: Int32) -> String { unsafe String(cString: strerror(code)) }

    package static let brokenPipe = EPIPE

    /// Ends the process with a status.
    package static func endProcess(_ status: Int32) -> Never { exit(status) }

    /// Ends the process as a pipe ends one that writes when nobody reads any more.
    package static func endByBrokenPipe() -> Never {
        signal(SIGPIPE, SIG_DFL)
        raise(SIGPIPE)
        exit(128 + SIGPIPE)
    }
}
