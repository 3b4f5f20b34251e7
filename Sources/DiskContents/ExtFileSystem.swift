internal import CDiskContents
internal import LinuxIO

/// An ext2, ext3 or ext4 file system of an image, read by libext2fs.
///
/// Its journal is not replayed. One thread at a time may use it.
@safe
package final class ExtFileSystem {
    /// What an inode says of a file.
    package struct Inode: Hashable, Sendable {
        package let number: UInt32
        /// As `st_mode`.
        package let mode: UInt32
        package let linkCount: Int
        package let user: UInt32
        package let group: UInt32
        package let byteCount: UInt64
        package let allocatedByteCount: UInt64
        package let deviceMajor: UInt32
        package let deviceMinor: UInt32
        package let accessed: FileTime
        package let modified: FileTime
        package let changed: FileTime
        let flags: UInt32
        let isShortLink: Bool

        package var kind: FileKind { FileKind(mode: mode) }
    }

    package struct Entry: Hashable, Sendable {
        /// Any bytes but 0 and `/`.
        package let name: [UInt8]
        package let inode: UInt32
        /// What the directory says; only the inode knows.
        package let mayBeDirectory: Bool
    }

    /// Bytes in a row that have content.
    package struct Run: Hashable, Sendable {
        /// Where in the file.
        package let offset: UInt64
        /// Where on the image.
        package let imageOffset: UInt64
        package let byteCount: UInt64
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

    package static let rootInode: UInt32 = 2

    private let bytes: Bytes
    private let system: OpaquePointer
    package let blockByteCount: UInt64

    /// Opens the file system that lies at `range` of an image.
    ///
    /// - Throws: ``ContentsError`` when there is none, or it needs what the library does not know; what
    ///   the image throws.
    package init(on image: any ImageBytes, _ range: Range<UInt64>) throws {
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

    /// Whether its journal holds what is not in its place yet, so that a mount may show more.
    package var needsRecovery: Bool { unsafe varve_ext_needs_recovery(system) != 0 }

    private static func text(_ code: Int) -> String {
        unsafe varve_ext_message(code).map { unsafe String(cString: $0) } ?? "error \(code)"
    }

    private func require(_ code: Int, _ what: @autoclosure () -> String) throws {
        guard code != 0 else { return }
        defer { bytes.failure = nil }
        throw bytes.failure ?? ContentsError(.damaged, "\(what()): \(Self.text(code))")
    }

    package func inode(_ number: UInt32) throws -> Inode {
        var found = varve_ext_inode()
        try require(
            unsafe varve_ext_read_inode(system, number, &found), "inode \(number) cannot be read")
        guard found.byte_count <= UInt64(Int64.max) else {
            throw ContentsError(.damaged, "inode \(number) is larger than a file can be")
        }
        return Inode(
            number: number, mode: UInt32(found.mode), linkCount: Int(found.link_count),
            user: found.user, group: found.group, byteCount: found.byte_count,
            allocatedByteCount: found.allocated_byte_count, deviceMajor: found.device_major,
            deviceMinor: found.device_minor,
            accessed: FileTime(found.accessed, found.accessed_fraction),
            modified: FileTime(found.modified, found.modified_fraction),
            changed: FileTime(found.changed, found.changed_fraction), flags: found.flags,
            isShortLink: found.is_short_link != 0)
    }

    /// The inode of a name in a directory; nil when there is none.
    package func lookUp(_ name: [UInt8], in directory: UInt32) throws -> UInt32? {
        var found: UInt32 = 0
        let code = unsafe name.withUnsafeBytes { name in
            unsafe varve_ext_look_up(
                system, directory, name.baseAddress?.assumingMemoryBound(to: CChar.self),
                name.count, &found)
        }
        if bytes.failure == nil, Self.isNotFound(code) { return nil }
        try require(code, "directory inode \(directory) cannot be read")
        return found
    }

    private static func isNotFound(_ code: Int) -> Bool { code == varve_ext_not_found() }

    /// Entries of a directory but `.` and `..`, in the order of their names.
    ///
    /// - Throws: ``ContentsError`` when it is damaged; a name that is none of a file is damage too.
    package func entries(of directory: UInt32) throws -> [Entry] {
        final class Found {
            var entries: [Entry] = []
            var hasBadName = false
        }
        let found = Found()
        let code = unsafe varve_ext_list(
            system, directory, Unmanaged.passUnretained(found).toOpaque()
        ) { context, inode, mayBeDirectory, name, count in
            guard let context = unsafe context, let name = unsafe name else { return 1 }
            let found = unsafe Unmanaged<Found>.fromOpaque(context).takeUnretainedValue()
            let bytes = unsafe UnsafeRawBufferPointer(start: name, count: count)
            let text = unsafe [UInt8](bytes)
            if text == [0x2e] || text == [0x2e, 0x2e] { return 0 }
            guard !text.contains(0), !text.contains(0x2f) else {
                found.hasBadName = true
                return 0
            }
            found.entries.append(
                Entry(name: text, inode: inode, mayBeDirectory: mayBeDirectory != 0))
            return 0
        }
        try require(code, "directory inode \(directory) cannot be read")
        guard !found.hasBadName else {
            throw ContentsError(
                .damaged, "directory inode \(directory) has a name that is none of a file")
        }
        return found.entries.sorted { $0.name.lexicographicallyPrecedes($1.name) }
    }

    /// Where the content of a file lies, in order; what is between has no content and reads as zeros.
    package func runs(of inode: Inode) throws -> [Run] {
        try blocks(of: inode.number, isWhole: false).map { run in
            let (offset, overflows) = run.logical.multipliedReportingOverflow(by: blockByteCount)
            guard !overflows else { throw Self.behind(inode.number) }
            return Run(
                offset: offset, imageOffset: run.place.lowerBound,
                byteCount: UInt64(run.place.count))
        }
    }

    /// Bytes of the image that an inode has: content, what says where that lies, and attributes.
    func places(of inode: UInt32) throws -> [Range<UInt64>] {
        try blocks(of: inode, isWhole: true).map(\.place)
    }

    private static func behind(_ inode: UInt32) -> ContentsError {
        ContentsError(.damaged, "the content of inode \(inode) lies behind the file system")
    }

    private func blocks(
        of inode: UInt32,
        isWhole: Bool
    ) throws -> [(logical: UInt64, place: Range<UInt64>)] {
        final class Found { var runs: [(logical: UInt64, physical: UInt64, count: UInt64)] = [] }
        let found = Found()
        let code = unsafe varve_ext_runs(
            system, inode, Unmanaged.passUnretained(found).toOpaque(), isWhole ? 1 : 0
        ) { context, logical, physical, count in
            guard let context = unsafe context else { return 1 }
            let found = unsafe Unmanaged<Found>.fromOpaque(context).takeUnretainedValue()
            found.runs.append((logical, physical, count))
            return 0
        }
        try require(code, "the content of inode \(inode) cannot be found")
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
    package func inlineContent(of inode: Inode) throws -> [UInt8]? {
        guard inode.flags & UInt32(VARVE_EXT_INLINE) != 0 || inode.isShortLink else { return nil }
        var content = [UInt8](repeating: 0, count: 64 << 10)
        var count = 0
        let code = unsafe content.withUnsafeMutableBytes { content in
            unsafe varve_ext_inline_content(
                system, inode.number, content.baseAddress, content.count, &count)
        }
        try require(code, "the content of inode \(inode.number) cannot be read")
        guard count <= content.count else {
            throw ContentsError(.damaged, "inode \(inode.number) is larger than an inode can be")
        }
        content.removeLast(content.count - min(count, Int(clamping: inode.byteCount)))
        return content
    }

    package func isEncrypted(_ inode: Inode) -> Bool {
        inode.flags & UInt32(VARVE_EXT_ENCRYPTED) != 0
    }

    /// Extended attributes, as `getxattr` would give them.
    package func attributes(of inode: Inode) throws -> [(name: String, value: [UInt8])] {
        final class Found { var attributes: [(name: String, value: [UInt8])] = [] }
        let found = Found()
        let code = unsafe varve_ext_attributes(
            system, inode.number, Unmanaged.passUnretained(found).toOpaque()
        ) { context, name, value, count in
            guard let context = unsafe context, let name = unsafe name else { return 1 }
            let found = unsafe Unmanaged<Found>.fromOpaque(context).takeUnretainedValue()
            let bytes = unsafe UnsafeRawBufferPointer(start: value, count: count)
            unsafe found.attributes.append((String(cString: name), [UInt8](bytes)))
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
        else { throw ContentsError(.damaged, "something lies behind the end of the file system") }
        var found = [UInt8](repeating: 0, count: count)
        try unsafe found.withUnsafeMutableBytes {
            unsafe try bytes.image.read(into: $0, at: imageOffset)
        }
        return found
    }

    func block(_ number: UInt64) throws -> [UInt8] {
        let (offset, overflows) = number.multipliedReportingOverflow(by: blockByteCount)
        guard !overflows, offset < UInt64(bytes.range.count) else {
            throw ContentsError(.damaged, "block \(number) lies behind the end of the file system")
        }
        return try bytes(at: bytes.range.lowerBound + offset, count: Int(blockByteCount))
    }

    /// Makes what is kept of inodes be read again.
    package func forgetInodes() { unsafe varve_ext_forget_inodes(system) }

    /// Reads content by a run of it.
    @unsafe
    package func read(into target: UnsafeMutableRawBufferPointer, at imageOffset: UInt64) throws {
        unsafe try bytes.image.read(into: target, at: imageOffset)
    }
}

/// A moment of a file.
package struct FileTime: Hashable, Sendable {
    /// Since 1970.
    package let seconds: Int64
    package let nanoseconds: UInt32

    init(_ seconds: Int64, _ nanoseconds: UInt32) {
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }
}

/// What a file is.
package enum FileKind: String, Hashable, Sendable {
    case file, directory
    case symbolicLink = "symbolic-link"
    case characterDevice = "character-device"
    case blockDevice = "block-device"
    case pipe, socket, unknown

    init(mode: UInt32) {
        switch mode & 0o170000 {
        case 0o100000: self = .file
        case 0o040000: self = .directory
        case 0o120000: self = .symbolicLink
        case 0o020000: self = .characterDevice
        case 0o060000: self = .blockDevice
        case 0o010000: self = .pipe
        case 0o140000: self = .socket
        default: self = .unknown
        }
    }
}
