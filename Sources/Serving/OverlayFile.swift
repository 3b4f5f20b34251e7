internal import BlockModel
internal import Glibc
internal import LinuxIO

/// The file in which what is written over a snapshot is kept: opened once, and never by its name again.
final class OverlayFile {
    let descriptor: Int32
    /// Whether it was made just now, and holds nothing.
    let isNew: Bool
    private let path: String

    /// Opens the file, or makes it.
    ///
    /// - Throws: ``ServingError`` when it is no file, or others could change under root's hands what it says
    ///   of other files.
    init(_ path: String) throws {
        self.path = path
        isNew = try FileStatus(path: path) == nil
        // Not waiting: a pipe may be there.
        descriptor = unsafe open(
            path.systemBytes,
            O_RDWR | O_CLOEXEC | O_NONBLOCK | (isNew ? O_CREAT | O_EXCL : 0), 0o600)
        guard descriptor >= 0 else { throw SystemError(.open, path) }
        try requireOwn()
    }

    deinit { close(descriptor) }

    private func requireOwn() throws {
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0 else { throw SystemError(.status, path) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw refusal("it is not a file") }
        guard geteuid() != 0 || status.st_uid == 0 && status.st_mode & 0o022 == 0 else {
            throw ServingError(
                description:
                    "\(path) can be changed by others (owner \(status.st_uid), mode "
                    + String(status.st_mode & 0o7777, radix: 8)
                    + "), and root's server would open any file that they name in it; copy it to a "
                    + "file owned by root")
        }
    }

    /// Refuses a file that is not what was made for a snapshot, or that says anything of other files.
    ///
    /// - Parameters:
    ///   - name: how what it lies over begins.
    ///   - diskByteCount: size of the snapshot.
    /// - Throws: ``ServingError`` with the reason.
    func require(_ name: String, diskByteCount: UInt64) throws {
        let buffer = try AlignedBuffer(byteCount: OverlayHeader.byteCount)
        let count = try PositionedIO.read(
            descriptor, into: buffer, range: 0..<OverlayHeader.byteCount, at: 0, subject: path)
        let header: OverlayHeader
        do throws(ServingError) {
            header = try OverlayHeader(
                decoding: [UInt8](copying: buffer.bytes.extracting(0..<count)))
        } catch {
            throw refusal(error.description)
        }
        guard header.backing.starts(with: ByteString(carrying: name).bytes) else {
            throw refusal("it was made over something else")
        }
        // A disk has whole sectors there.
        guard header.diskByteCount >= diskByteCount, header.diskByteCount - diskByteCount < 512
        else {
            throw refusal(
                "it is a disk of \(header.diskByteCount) bytes, but the snapshot has "
                    + "\(diskByteCount)"
            )
        }
    }

    private func refusal(_ reason: String) -> ServingError {
        ServingError(
            description:
                "\(path) is not an overlay of this snapshot (\(reason)); name another file, or the "
                + "snapshot it was made for")
    }

    /// Removes what was made just now, where it still has its name.
    func discardIfNew() {
        guard isNew, let named = try? FileStatus(path: path),
            let own = try? FileStatus(descriptor: descriptor, subject: path),
            named.device == own.device, named.inode == own.inode
        else { return }
        unsafe unlink(path.systemBytes)
    }
}
