internal import Glibc
internal import LinuxIO

/// How a file comes to its name whole, the best way first; each is tried where the one before it is
/// not to be had.
package enum FileCreation: Hashable, CaseIterable, Sendable {
    /// A file without a name is given one.
    case unnamed
    /// A temporary file is renamed.
    case renamed
    /// A temporary file gets a second name, for a directory that refuses to lose any.
    case linked
}

/// Writes one file of a ``DirectoryStore``.
///
/// Small objects stay in memory until they are finished. Larger ones go out as whole buffers with
/// direct I/O, several in flight, so that the caller can go on computing meanwhile.
final class DirectoryObjectWriter: ObjectWriter, @unchecked Sendable {
    // Safe: the contract gives a writer to one thread at a time.
    private static let bufferByteCount = 1 << 20
    private static let bufferCount = 6

    private let path: String
    private let name: String
    private let file: SharedDescriptor
    private let directory: OpenDirectory
    /// Set where the file system has no unnamed files.
    private let temporaryName: String?
    private let creation: FileCreation
    private var pending: [UInt8] = []
    private var flight: WriteFlight?

    /// Begins the object `name` in the directory where its file belongs.
    init(
        in directory: OpenDirectory,
        name: String,
        creation: FileCreation
    ) throws(SystemError) {
        self.directory = directory
        self.name = name
        self.creation = creation
        path = directory.path + "/" + Directory.baseName(of: name)
        if creation == .unnamed, let unnamed = try directory.createUnnamedFile() {
            file = SharedDescriptor(unnamed)
            temporaryName = nil
            return
        }
        var generator = SystemRandomNumberGenerator()
        let temporary = ".tmp-" + String(generator.next(), radix: 16)
        file = try SharedDescriptor(directory.createFile(temporary))
        temporaryName = temporary
    }

    deinit {
        if let temporaryName { _ = try? directory.remove(temporaryName) }
    }

    func append(_ bytes: RawSpan) throws(ObjectStoreError) {
        do throws(SystemError) {
            if flight == nil {
                guard pending.count + bytes.byteCount > Self.bufferByteCount else {
                    unsafe bytes.withUnsafeBytes { unsafe pending.append(contentsOf: $0) }
                    return
                }
                let flight = try WriteFlight(
                    file, bufferByteCount: Self.bufferByteCount, count: Self.bufferCount,
                    subject: path)
                self.flight = flight
                let start = pending
                pending = []
                try unsafe flight.append(start.span.bytes)
            }
            try flight?.append(bytes)
        } catch {
            throw ObjectStoreError(error, during: .create, of: name)
        }
    }

    func finish() throws(ObjectStoreError) {
        do throws(SystemError) {
            try writeRest()
            try FileOperation.synchronizeData(file.descriptor, subject: path)
            try publish()
            try directory.synchronize()
        } catch {
            throw ObjectStoreError(error, during: .create, of: name)
        }
    }

    /// Writes `bytes` and publishes them already locked.
    ///
    /// A file system without unnamed files may be a network's, whose other machines see what was
    /// synced; on a local one everybody sees what was written.
    func finishLocked(_ bytes: [UInt8]) throws(SystemError) -> any ObjectLock {
        pending = bytes
        guard FileOperation.tryLock(file.descriptor, exclusive: true) else {
            throw SystemError(.lock, path)
        }
        try writeRest()
        if temporaryName != nil {
            try FileOperation.synchronizeData(file.descriptor, subject: path)
        }
        try publish()
        return file
    }

    private func writeRest() throws(SystemError) {
        if let flight {
            try flight.finish()
        } else {
            let bytes = pending
            try unsafe PositionedIO.write(
                file.descriptor, bytes.span.bytes, at: 0, subject: path)
        }
    }

    private func publish() throws(SystemError) {
        let last = Directory.baseName(of: name)
        if let temporaryName {
            guard creation != .linked else {
                return try directory.link(temporaryName, as: last)
            }
            do throws(SystemError) {
                try directory.renameExclusively(temporaryName, to: last)
            } catch {
                // A rename deletes a name, which a directory that can only be added to refuses.
                guard error.errno == EPERM || error.errno == EACCES else { throw error }
                try directory.link(temporaryName, as: last)
            }
        } else {
            try directory.link(file.descriptor, as: last)
        }
    }
}

/// Buffers on their way to a file: filled in turn, written with direct I/O where there is some.
private final class WriteFlight {
    private let file: SharedDescriptor
    private let subject: String
    private let bufferByteCount: Int
    private let buffers: AlignedBuffer
    private let ring: Ring?
    private var freeSlots: [Int]
    private var current: Int
    private var filled = 0
    private var fileOffset: UInt64 = 0
    private let isDirect: Bool

    init(
        _ file: SharedDescriptor,
        bufferByteCount: Int,
        count: Int,
        subject: String
    ) throws(SystemError) {
        self.file = file
        self.subject = subject
        self.bufferByteCount = bufferByteCount
        buffers = try AlignedBuffer(byteCount: bufferByteCount * count)
        isDirect = FileOperation.setDirect(file.descriptor, true)
        ring = isDirect ? Ring(entryCount: count) : nil
        current = 0
        freeSlots = Array(1..<count)
    }

    /// The buffers go with the writer; nothing may be written from them any more.
    deinit { ring?.drain() }

    func append(_ bytes: RawSpan) throws(SystemError) {
        var taken = 0
        while taken < bytes.byteCount {
            let count = min(bufferByteCount - filled, bytes.byteCount - taken)
            buffers.copy(
                bytes.extracting(taken..<taken + count), to: current * bufferByteCount + filled)
            filled += count
            taken += count
            if filled == bufferByteCount { try send() }
        }
    }

    /// Sends the full current buffer and takes the next free one.
    private func send() throws(SystemError) {
        let range = current * bufferByteCount..<(current + 1) * bufferByteCount
        if let ring {
            try ring.write(
                file.descriptor, from: buffers, range: range, at: fileOffset, tag: UInt64(current))
            if freeSlots.isEmpty { try waitForOne(ring) }
            current = freeSlots.removeLast()
        } else {
            let buffers = buffers
            try PositionedIO.write(
                file.descriptor, buffers.bytes.extracting(range), at: fileOffset,
                subject: subject)
        }
        fileOffset += UInt64(bufferByteCount)
        filled = 0
    }

    private func waitForOne(_ ring: Ring) throws(SystemError) {
        let (tag, result) = try ring.wait()
        guard result >= 0 else { throw SystemError(.write, subject, errno: Int32(-result)) }
        // A short direct write means that the disk is full to the last byte.
        guard result == bufferByteCount else { throw SystemError(.write, subject, errno: ENOSPC) }
        freeSlots.append(Int(tag))
    }

    /// Waits for all that is in flight and writes the last, partial buffer.
    func finish() throws(SystemError) {
        if let ring { while ring.inFlightCount > 0 { try waitForOne(ring) } }
        guard filled > 0 else { return }
        if isDirect { _ = FileOperation.setDirect(file.descriptor, false) }
        let start = current * bufferByteCount
        let buffers = buffers
        try PositionedIO.write(
            file.descriptor, buffers.bytes.extracting(start..<start + filled), at: fileOffset,
            subject: subject)
    }
}
