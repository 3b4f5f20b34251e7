internal import CShims
internal import Glibc

/// Sockets of the file system.
package enum UnixSocket {
    /// Whether somebody takes connections there.
    package static func isServed(_ path: String) -> Bool { (try? connect(path)) != nil }

    /// Connects to the socket at `path`.
    package static func connect(_ path: String) throws(SystemError) -> ByteStream {
        let descriptor = unsafe varve_connect_socket(path.systemBytes)
        guard descriptor >= 0 else { throw SystemError(.open, path) }
        return ByteStream(FileHandle(adopting: descriptor), path)
    }
}

/// A socket or pipe that bytes come from, now or later.
package final class ByteStream {
    private let handle: FileHandle
    private let subject: String

    package init(_ handle: consuming FileHandle, _ subject: String) {
        self.handle = handle
        self.subject = subject
    }

    /// What of `limit` bytes comes within `milliseconds`: nothing when none do, nil at the end.
    package func read(_ limit: Int, milliseconds: Int32) throws(SystemError) -> [UInt8]? {
        var poll = pollfd(fd: handle.descriptor, events: Int16(POLLIN), revents: 0)
        guard unsafe Glibc.poll(&poll, 1, milliseconds) > 0 else { return [] }
        var bytes = [UInt8](repeating: 0, count: limit)
        let count = unsafe Glibc.read(handle.descriptor, &bytes, limit)
        if count < 0, errno == EINTR || errno == EAGAIN { return [] }
        guard count >= 0 else { throw SystemError(.read, subject) }
        guard count > 0 else { return nil }
        bytes.removeLast(limit - count)
        return bytes
    }

    package func write(_ bytes: [UInt8]) throws(SystemError) {
        try unsafe PositionedIO.writeStream(handle.descriptor, bytes.span.bytes, subject: subject)
    }
}

/// A pipe to what a program says.
package final class PipeWriter {
    private let handle: FileHandle

    fileprivate init(_ handle: consuming FileHandle) { self.handle = handle }

    package var descriptor: Int32 { handle.descriptor }
}

/// One end of a connection with a program that this one started.
package final class Channel {
    private let handle: FileHandle
    private let subject: String

    private init(_ handle: consuming FileHandle, _ subject: String) {
        self.handle = handle
        self.subject = subject
    }

    /// Makes a connection.
    ///
    /// - Parameter subject: whom errors name.
    /// - Returns: our end, and the one that is given away.
    /// - Throws: ``SystemError``.
    package static func open(
        to subject: String
    ) throws(SystemError) -> (own: Channel, other: PipeWriter) {
        var ends: [Int32] = [-1, -1]
        guard unsafe varve_open_socket_pair(&ends) == 0 else { throw SystemError(.open, subject) }
        return (
            Channel(FileHandle(adopting: ends[0]), subject),
            PipeWriter(FileHandle(adopting: ends[1]))
        )
    }

    package func send(_ bytes: RawSpan) throws(SystemError) {
        var done = 0
        while done < bytes.byteCount {
            let count = unsafe bytes.extracting(droppingFirst: done).withUnsafeBytes {
                unsafe varve_send(handle.descriptor, $0.baseAddress, $0.count)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw SystemError(.write, subject) }
            done += count
        }
    }

    package enum Arrival { case whole, endedBefore, silent }

    /// Fills `target`, unless the other end closes before, or it is not full after `milliseconds`.
    @unsafe
    package func receive(
        into target: UnsafeMutableRawBufferPointer,
        milliseconds: Int32
    ) throws(SystemError) -> Arrival {
        let end = SystemClock.monotonicNanoseconds() + UInt64(max(0, milliseconds)) * 1_000_000
        var done = 0
        while done < target.count {
            let now = SystemClock.monotonicNanoseconds()
            let rest = now < end ? Int32(clamping: (end - now) / 1_000_000) : 0
            var poll = pollfd(fd: handle.descriptor, events: Int16(POLLIN), revents: 0)
            let ready = unsafe Glibc.poll(&poll, 1, rest)
            if ready < 0, errno == EINTR { continue }
            guard ready != 0 else { return .silent }
            let count = unsafe Glibc.read(
                handle.descriptor, target.baseAddress.map { unsafe $0 + done },
                target.count - done)
            if count < 0, errno == EINTR { continue }
            if count < 0, errno == ECONNRESET { return .endedBefore }
            guard count >= 0 else { throw SystemError(.read, subject) }
            guard count > 0 else { return .endedBefore }
            done += count
        }
        return .whole
    }
}

package enum Pipe {
    /// Both ends of a new pipe.
    package static func open() throws(SystemError) -> (reader: ByteStream, writer: PipeWriter) {
        var ends: [Int32] = [-1, -1]
        guard unsafe varve_open_pipe(&ends) == 0 else { throw SystemError(.open, "a pipe") }
        return (
            ByteStream(FileHandle(adopting: ends[0]), "a pipe"),
            PipeWriter(FileHandle(adopting: ends[1]))
        )
    }

    /// A pipe that gives `bytes`, and then ends; no more than the 32 KiB that any pipe takes at once.
    package static func giving(_ bytes: [UInt8]) throws(SystemError) -> FileHandle {
        var ends: [Int32] = [-1, -1]
        guard unsafe varve_open_pipe(&ends) == 0 else { throw SystemError(.open, "a pipe") }
        let reader = FileHandle(adopting: ends[0])
        let writer = FileHandle(adopting: ends[1])
        _ = unsafe bytes.prefix(32 << 10).withUnsafeBytes {
            unsafe write(writer.descriptor, $0.baseAddress, $0.count)
        }
        return reader
    }
}
