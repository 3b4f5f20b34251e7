package import BlockModel
internal import CDiskContents
package import FileModel
internal import Glibc
internal import LinuxIO

/// An ext2, ext3 or ext4 file system of an image, read by libext2fs.
///
/// Its journal is not replayed. One thread at a time may use it.
@safe
package final class ExtFileSystem: FileSystem {
    /// Bytes in a row that have content.
    private struct Run {
        /// Where in the file.
        let offset: UInt64
        /// Where on the image.
        let imageOffset: UInt64
        let byteCount: UInt64
    }

    /// Reads the file system's bytes, and remembers why that failed.
    private final class Bytes {
        let image: any ImageBytes
        let range: Range<UInt64>
        var failure: (any Error)?

        init(_ image: any ImageBytes, _ range: Range<UInt64>) {
            self.image = image
            self.range = range
        }
    }

    /// As ``Partition/type`` has them.
    package static let types: Set<String> = ["ext2", "ext3", "ext4"]
    package static let root: UInt64 = 2
    private static let pieceByteCount = 1 << 20
    /// Of an inode's flags, one of ours: the target of the link lies in it.
    private static let shortLink: UInt64 = 1 << 32

    private let bytes: Bytes
    private let system: OpaquePointer
    package let blockByteCount: UInt64
    private let piece: AlignedBuffer

    /// Opens the file system that lies at `range` of an image.
    ///
    /// - Throws: ``ContentsError`` when there is none, or it needs what the library does not know; what
    ///   the image throws.
    package init(on image: any ImageBytes, _ range: Range<UInt64>) throws {
        piece = try AlignedBuffer(byteCount: Self.pieceByteCount)
        let bytes = Bytes(image, range)
        var system: OpaquePointer?
        let code = unsafe varve_ext_open(
            Unmanaged.passUnretained(bytes).toOpaque(),
            { context, target, count, offset in
                guard let context = unsafe context, let target = unsafe target else { return -1 }
                let bytes = unsafe Unmanaged<Bytes>.fromOpaque(context).takeUnretainedValue()
                do {
                    unsafe try bytes.image.read(
                        into: UnsafeMutableRawBufferPointer(start: target, count: count),
                        at: bytes.range.lowerBound + offset)
                    return 0
                } catch {
                    bytes.failure = error
                    return -1
                }
            }, UInt64(range.count), &system)
        guard code == 0, let system = unsafe system else {
            throw bytes.failure
                ?? ContentsError(
                    .unsuitable, "it cannot be opened as ext2, ext3 or ext4: \(Self.text(code))")
        }
        self.bytes = bytes
        unsafe self.system = system
        blockByteCount = UInt64(unsafe varve_ext_block_byte_count(system))
    }

    deinit { unsafe varve_ext_close(system) }

    package var rootInode: UInt64 { Self.root }

    package var needsRecovery: Bool { unsafe varve_ext_needs_recovery(system) != 0 }

    private static func text(_ code: Int) -> String {
        unsafe varve_ext_message(code).map { unsafe String(cString: $0) } ?? "error \(code)"
    }

    /// What the library knows it by; one that it can't have is one that it refuses.
    private static func raw(_ inode: UInt64) -> UInt32 { UInt32(clamping: inode) }

    private func require(_ code: Int, _ what: @autoclosure () -> String) throws {
        guard code != 0 else { return }
        defer { bytes.failure = nil }
        throw bytes.failure ?? ContentsError(.damaged, "\(what()): \(Self.text(code))")
    }

    package func inode(_ number: UInt64) throws -> Inode {
        var found = varve_ext_inode()
        try require(
            unsafe varve_ext_read_inode(system, Self.raw(number), &found),
            "inode \(number) cannot be read")
        guard found.byte_count <= UInt64(Int64.max) else {
            throw ContentsError(.damaged, "inode \(number) is too large for a file")
        }
        return Inode(
            number: number, mode: UInt32(found.mode), linkCount: Int(found.link_count),
            user: found.user, group: found.group, byteCount: found.byte_count,
            deviceMajor: found.device_major, deviceMinor: found.device_minor,
            accessed: FileTime(found.accessed, found.accessed_fraction),
            modified: FileTime(found.modified, found.modified_fraction),
            changed: FileTime(found.changed, found.changed_fraction),
            flags: UInt64(found.flags) | (found.is_short_link != 0 ? Self.shortLink : 0))
    }

    package func lookUp(_ name: [UInt8], in directory: UInt64) throws -> UInt64? {
        var found: UInt32 = 0
        let code = unsafe name.withUnsafeBytes { name in
            unsafe varve_ext_look_up(
                system, Self.raw(directory), name.baseAddress?.assumingMemoryBound(to: CChar.self),
                name.count, &found)
        }
        if bytes.failure == nil, Self.isNotFound(code) { return nil }
        try require(code, "directory inode \(directory) cannot be read")
        return UInt64(found)
    }

    private static func isNotFound(_ code: Int) -> Bool { code == varve_ext_not_found() }

    package func entries(of directory: UInt64) throws -> [DirectoryEntry] {
        final class Found {
            var entries: [DirectoryEntry] = []
            var hasBadName = false
        }
        let found = Found()
        let code = unsafe varve_ext_list(
            system, Self.raw(directory), Unmanaged.passUnretained(found).toOpaque()
        ) { context, inode, mayBeDirectory, name, count in
            guard let context = unsafe context, let name = unsafe name else { return 1 }
            let found = unsafe Unmanaged<Found>.fromOpaque(context).takeUnretainedValue()
            let bytes = unsafe UnsafeRawBufferPointer(start: name, count: count)
            let text = unsafe [UInt8](bytes)
            if DirectoryEntry.isOwnOrParent(text) { return 0 }
            guard DirectoryEntry.isName(text) else {
                found.hasBadName = true
                return 0
            }
            found.entries.append(
                DirectoryEntry(
                    name: text, inode: UInt64(inode), mayBeDirectory: mayBeDirectory != 0))
            return 0
        }
        try require(code, "directory inode \(directory) cannot be read")
        guard !found.hasBadName else {
            throw ContentsError(
                .damaged, "directory inode \(directory) has an invalid file name")
        }
        return found.entries.sorted { $0.name.lexicographicallyPrecedes($1.name) }
    }

    /// Where the content of a file lies, in order; what is between has no content and reads as zeros.
    private func runs(of inode: Inode) throws -> [Run] {
        try blocks(of: inode.number, isWhole: false).map { run in
            let (offset, overflows) = run.logical.multipliedReportingOverflow(by: blockByteCount)
            guard !overflows else { throw Self.behind(inode.number) }
            return Run(
                offset: offset, imageOffset: run.place.lowerBound,
                byteCount: UInt64(run.place.count))
        }
    }

    /// Bytes of the image that an inode has: content, what says where that lies, and attributes.
    func places(of inode: UInt64) throws -> [Range<UInt64>] {
        try blocks(of: inode, isWhole: true).map(\.place)
    }

    package func forEachPiece(
        of inode: Inode,
        _ body: (_ offset: UInt64, RawSpan) throws -> Void
    ) throws {
        guard !isEncrypted(inode) else {
            throw ContentsError(
                .unsuitable, "the file system encrypts it, and its key is not available")
        }
        if let content = try inlineContent(of: inode) { return try body(0, content.rawSpan) }
        let (piece, image) = (piece, bytes.image)
        var end: UInt64 = 0
        for run in try runs(of: inode).sorted(by: { $0.offset < $1.offset }) {
            guard run.offset >= end else {
                throw ContentsError(
                    .damaged, "inode \(inode.number) has two locations for the same contents")
            }
            end = run.offset + run.byteCount
            var done: UInt64 = 0
            let count = min(run.byteCount, inode.byteCount - min(inode.byteCount, run.offset))
            while done < count {
                let part = Int(min(count - done, UInt64(Self.pieceByteCount)))
                try piece.withMutableBytes { bytes in
                    unsafe try bytes.withUnsafeMutableBytes {
                        unsafe try image.read(
                            into: UnsafeMutableRawBufferPointer(rebasing: $0[..<part]),
                            at: run.imageOffset + done)
                    }
                }
                try body(run.offset + done, piece.bytes.extracting(0..<part))
                done += UInt64(part)
            }
        }
    }

    private static func behind(_ inode: UInt64) -> ContentsError {
        ContentsError(
            .damaged, "inode \(inode) has contents past the end of the file system")
    }

    private func blocks(
        of inode: UInt64,
        isWhole: Bool
    ) throws -> [(logical: UInt64, place: Range<UInt64>)] {
        final class Found { var runs: [(logical: UInt64, physical: UInt64, count: UInt64)] = [] }
        let found = Found()
        let code = unsafe varve_ext_runs(
            system, Self.raw(inode), Unmanaged.passUnretained(found).toOpaque(), isWhole ? 1 : 0
        ) { context, logical, physical, count in
            guard let context = unsafe context else { return 1 }
            let found = unsafe Unmanaged<Found>.fromOpaque(context).takeUnretainedValue()
            found.runs.append((logical, physical, count))
            return 0
        }
        try require(code, "the contents of inode \(inode) cannot be found")
        return try found.runs.map { run in
            let (place, a) = run.physical.multipliedReportingOverflow(by: blockByteCount)
            let (count, b) = run.count.multipliedReportingOverflow(by: blockByteCount)
            let size = UInt64(bytes.range.count)
            guard !a, !b, place <= size, count <= size - place else { throw Self.behind(inode) }
            let start = bytes.range.lowerBound + place
            return (run.logical, start..<start + count)
        }
    }

    /// The content where it lies in the inode; nil where it does not.
    private func inlineContent(of inode: Inode) throws -> [UInt8]? {
        guard inode.flags & (UInt64(VARVE_EXT_INLINE) | Self.shortLink) != 0 else { return nil }
        var content = [UInt8](repeating: 0, count: 64 << 10)
        var count = 0
        let code = unsafe content.withUnsafeMutableBytes { content in
            unsafe varve_ext_inline_content(
                system, Self.raw(inode.number), content.baseAddress, content.count, &count)
        }
        try require(code, "the contents of inode \(inode.number) cannot be read")
        guard count <= content.count else {
            throw ContentsError(.damaged, "inode \(inode.number) is too large for an inode")
        }
        content.removeLast(content.count - min(count, Int(clamping: inode.byteCount)))
        return content
    }

    private func isEncrypted(_ inode: Inode) -> Bool {
        inode.flags & UInt64(VARVE_EXT_ENCRYPTED) != 0
    }

    package func attributes(of inode: Inode) throws -> [(name: ByteString, value: [UInt8])] {
        final class Found { var attributes: [(name: ByteString, value: [UInt8])] = [] }
        let found = Found()
        let code = unsafe varve_ext_attributes(
            system, Self.raw(inode.number), Unmanaged.passUnretained(found).toOpaque()
        ) { context, name, value, count in
            guard let context = unsafe context, let name = unsafe name else { return 1 }
            let found = unsafe Unmanaged<Found>.fromOpaque(context).takeUnretainedValue()
            let bytes = unsafe UnsafeRawBufferPointer(start: value, count: count)
            let text = unsafe UnsafeRawBufferPointer(start: name, count: strlen(name))
            unsafe found.attributes.append((ByteString(bytes: text), [UInt8](bytes)))
            return 0
        }
        try require(code, "the attributes of inode \(inode.number) cannot be read")
        return found.attributes
    }

    // MARK: What lies where

    var imageRange: Range<UInt64> { bytes.range }

    func rawLayout() -> varve_ext_layout {
        var layout = varve_ext_layout()
        unsafe varve_ext_read_layout(system, &layout)
        return layout
    }

    func rawGroup(_ number: UInt32) -> varve_ext_group {
        var group = varve_ext_group()
        unsafe varve_ext_read_group(system, number, &group)
        return group
    }

    /// Bytes of the image, which lie in the file system.
    func bytes(at imageOffset: UInt64, count: Int) throws -> [UInt8] {
        guard imageOffset >= bytes.range.lowerBound, imageOffset <= bytes.range.upperBound,
            UInt64(count) <= bytes.range.upperBound - imageOffset
        else { throw ContentsError(.damaged, "something is past the end of the file system") }
        var found = [UInt8](repeating: 0, count: count)
        try unsafe found.withUnsafeMutableBytes {
            unsafe try bytes.image.read(into: $0, at: imageOffset)
        }
        return found
    }

    func block(_ number: UInt64) throws -> [UInt8] {
        let (offset, overflows) = number.multipliedReportingOverflow(by: blockByteCount)
        guard !overflows, offset < UInt64(bytes.range.count) else {
            throw ContentsError(.damaged, "block \(number) is past the end of the file system")
        }
        return try bytes(at: bytes.range.lowerBound + offset, count: Int(blockByteCount))
    }

    package func forget() { unsafe varve_ext_forget_inodes(system) }
}
