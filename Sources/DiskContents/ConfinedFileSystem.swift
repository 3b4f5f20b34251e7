package import BlockModel
internal import CDiskContents
package import FileModel
internal import Glibc
internal import LinuxIO

/// A FAT, exFAT or NTFS file system of an image, read by a program that can do nothing else:
/// `varve-file-reader`, which has The Sleuth Kit's library, no rights and no files.
///
/// What it answers is not trusted: it may be in the power of what it read. One thread at a time may use
/// it.
package final class ConfinedFileSystem: FileSystem {
    /// As ``Partition/type`` has them.
    package static let types: Set<String> = ["vfat", "exfat", "ntfs"]

    private static let entryLimit = 16 << 20
    private static let attributeByteLimit: UInt64 = 64 << 10
    private static let pieceByteCount = 1 << 20

    package let rootInode: UInt64
    /// NTFS has a journal, of its structures alone, and is not asked whether it holds anything.
    package let needsRecovery = false

    private let reader: ReaderProcess
    /// The directory that was listed last.
    private var listed: (directory: UInt64, entries: [DirectoryEntry])?

    /// Opens the file system that lies at `range` of an image.
    ///
    /// - Parameters:
    ///   - image: the image.
    ///   - range: bytes of it.
    ///   - type: one of ``types``.
    ///   - program: path of the reader; where installations have it when nil.
    ///   - patience: how many milliseconds it may work without a word; the time to read the image does
    ///     not count.
    /// - Throws: ``ContentsError`` when it is damaged, or the reader is not there.
    package init(
        on image: any ImageBytes,
        _ range: Range<UInt64>,
        type: String,
        program: String? = nil,
        patience: Int32 = 60_000
    ) throws {
        reader = try ReaderProcess(image, range, type, program: program, patience: patience)
        rootInode = try reader.open()
    }

    package func inode(_ number: UInt64) throws -> Inode {
        let raw = try reader.inode(number)
        let flags = UInt64(raw.flags) | UInt64(raw.attributes) << 32
        var mode: UInt32
        var byteCount = raw.byte_count
        switch raw.kind {
        case VARVE_READER_DIRECTORY.rawValue: mode = 0o040755
        case VARVE_READER_FILE.rawValue: mode = 0o100644
        default: mode = 0
        }
        if raw.kind == VARVE_READER_FILE.rawValue,
            raw.attributes & UInt32(VARVE_READER_READ_ONLY) != 0
        {
            mode &= ~0o222
        }
        if let target = try linkTarget(of: raw, number) {
            mode = 0o120777
            byteCount = UInt64(target.count)
        }
        guard byteCount <= UInt64(Int64.max) else {
            throw ContentsError(.damaged, "inode \(number) is too large for a file")
        }
        // They have no owners that Linux knows: the reader owns them.
        return Inode(
            number: number, mode: mode, linkCount: Int(raw.link_count), user: geteuid(),
            group: getegid(), byteCount: byteCount, deviceMajor: 0, deviceMinor: 0,
            accessed: Self.time(raw.accessed, raw.accessed_fraction),
            modified: Self.time(raw.modified, raw.modified_fraction),
            changed: Self.time(raw.changed, raw.changed_fraction), flags: flags)
    }

    /// Where a file leads, if it is a link: by a reparse point, or as Interix, and drivers of Linux, have
    /// them: by the content of a system file.
    private func linkTarget(of raw: varve_reader_inode, _ number: UInt64) throws -> [UInt8]? {
        if raw.flags & UInt32(VARVE_READER_HAS_REPARSE) != 0 {
            return try reparse(of: number).linkTarget
        }
        guard raw.kind == VARVE_READER_FILE.rawValue,
            raw.attributes & UInt32(VARVE_READER_SYSTEM) != 0,
            raw.byte_count <= Self.attributeByteLimit
        else { return nil }
        let content = try reader.content(
            of: number, UInt32(VARVE_READER_STREAM_CONTENT), at: 0, count: Int(raw.byte_count))
        return LinkTarget.ofInterix(content)
    }

    private static func time(_ seconds: Int64, _ nanoseconds: UInt32) -> FileTime {
        FileTime(seconds, min(nanoseconds, 999_999_999))
    }

    // MARK: Names

    package func entries(of directory: UInt64) throws -> [DirectoryEntry] {
        if let listed, listed.directory == directory { return listed.entries }
        var entries: [DirectoryEntry] = []
        try reader.list(directory, VARVE_READER_LIST) { raw, name in
            if DirectoryEntry.isOwnOrParent(name) { return }
            guard DirectoryEntry.isName(name), entries.count < Self.entryLimit else {
                throw ContentsError(
                    .damaged, "directory inode \(directory) has an invalid file name")
            }
            entries.append(
                DirectoryEntry(
                    name: name, inode: raw.number,
                    mayBeDirectory: UInt32(raw.kind) == VARVE_READER_DIRECTORY.rawValue))
        }
        entries.sort { $0.name.lexicographicallyPrecedes($1.name) }
        listed = (directory, entries)
        return entries
    }

    /// Small and large letters are alike where no name is the same, as for the systems that made it.
    package func lookUp(_ name: [UInt8], in directory: UInt64) throws -> UInt64? {
        let entries = try entries(of: directory)
        if let exact = entries.first(where: { $0.name == name }) { return exact.inode }
        guard let folded = Self.folded(name) else { return nil }
        return entries.first { Self.folded($0.name) == folded }?.inode
    }

    /// By bytes, for accents are not alike in their two forms; nil for what is no text.
    private static func folded(_ name: [UInt8]) -> ByteString? {
        ByteString(bytes: name).text.map { ByteString($0.lowercased()) }
    }

    package func forget() {
        listed = nil
        reader.forget()
    }

    // MARK: Content

    package func forEachPiece(
        of inode: Inode,
        _ body: (_ offset: UInt64, RawSpan) throws -> Void
    ) throws {
        guard inode.flags & UInt64(VARVE_READER_ENCRYPTED) == 0 else {
            throw ContentsError(
                .unsuitable, "the file system encrypts it, and its key is not available")
        }
        if inode.kind == .symbolicLink {
            let target = try linkTarget(of: reader.inode(inode.number), inode.number) ?? []
            return try body(0, target.rawSpan)
        }
        let isOffline = inode.flags >> 32 & UInt64(VARVE_READER_OFFLINE) != 0
        if inode.flags & UInt64(VARVE_READER_HAS_REPARSE) != 0, inode.byteCount > 0 {
            let reparse = try reparse(of: inode.number)
            guard reparse.isOfCloud, !isOffline else {
                throw ContentsError(
                    .unsuitable,
                    "only Windows can find its contents (reparse point of type 0x"
                        + String(reparse.tag, radix: 16) + ")")
            }
        }
        var offset: UInt64 = 0
        while offset < inode.byteCount {
            let count = min(inode.byteCount - offset, UInt64(Self.pieceByteCount))
            let bytes = try reader.content(
                of: inode.number, UInt32(VARVE_READER_STREAM_CONTENT), at: offset,
                count: Int(count))
            guard bytes.count == Int(count) else {
                throw ContentsError(.damaged, "inode \(inode.number) ends before its size")
            }
            if bytes.contains(where: { $0 != 0 }) { try body(offset, bytes.rawSpan) }
            offset += count
        }
    }

    private func reparse(of number: UInt64) throws -> ReparsePoint {
        ReparsePoint(
            try reader.content(
                of: number, UInt32(VARVE_READER_STREAM_REPARSE), at: 0,
                count: Int(Self.attributeByteLimit)))
    }

    /// Streams with a name, as the kernel's and others' drivers of NTFS show them: `user.NAME`.
    ///
    /// Those that no attribute can hold are left out.
    package func attributes(of inode: Inode) throws -> [(name: ByteString, value: [UInt8])] {
        var streams: [(name: [UInt8], stream: UInt32, byteCount: UInt64)] = []
        try reader.list(inode.number, VARVE_READER_NAMED) { raw, name in
            guard streams.count < 1024, DirectoryEntry.isName(name) else { return }
            streams.append((name, raw.stream, raw.number))
        }
        return try streams.filter { $0.byteCount <= Self.attributeByteLimit }.map {
            (
                ByteString(bytes: "user.".utf8 + $0.name),
                try reader.content(of: inode.number, $0.stream, at: 0, count: Int($0.byteCount))
            )
        }
    }
}

/// What NTFS says of a file that is no plain one.
struct ReparsePoint {
    private static let symbolicLink: UInt32 = 0xA000_000C
    private static let mountPoint: UInt32 = 0xA000_0003
    private static let linuxLink: UInt32 = 0xA000_001D

    let tag: UInt32
    /// With slashes; nil when it is no link.
    let linkTarget: [UInt8]?

    /// Whether it marks what a service keeps a copy of elsewhere; the content may be here all the same.
    var isOfCloud: Bool { tag & 0xFFFF_0FFF == 0x9000_001A }

    /// Reads the attribute's value, which may be anything.
    init(_ bytes: [UInt8]) {
        func word(_ offset: Int) -> Int? {
            offset + 2 <= bytes.count ? Int(bytes[offset]) | Int(bytes[offset + 1]) << 8 : nil
        }
        tag = UInt32(word(0) ?? 0) | UInt32(word(2) ?? 0) << 16
        if tag == Self.linuxLink {
            linkTarget = bytes.count > 12 ? Array(bytes[12...]) : nil
            return
        }
        // Behind the head lie where the target begins and how long it is, then the same of the name that
        // people see; a link has flags before its texts.
        let texts = tag == Self.symbolicLink ? 20 : 16
        guard tag == Self.symbolicLink || tag == Self.mountPoint,
            let start = word(8), let count = word(10), count > 0,
            texts + start + count <= bytes.count
        else {
            linkTarget = nil
            return
        }
        linkTarget = LinkTarget.ofUTF16(bytes[(texts + start)..<(texts + start + count)])
            .map { $0 == 0x5C ? 0x2F : $0 }
    }
}

/// Where links lead, in bytes as Linux has them.
enum LinkTarget {
    private static let interix = Array("IntxLNK\u{1}".utf8)

    /// nil when the content is none of a link.
    static func ofInterix(_ content: [UInt8]) -> [UInt8]? {
        guard content.starts(with: interix), content.count > interix.count else { return nil }
        return ofUTF16(content[interix.count...])
    }

    static func ofUTF16(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
        let units = stride(from: bytes.startIndex, to: bytes.endIndex - 1, by: 2).map {
            UInt16(bytes[$0]) | UInt16(bytes[$0 + 1]) << 8
        }
        return Array(String(decoding: units, as: UTF16.self).utf8)
    }
}
