internal import BlockModel
internal import LinuxIO

/// What a file system notes of itself when somebody writes to it: the same stamp shows that nobody did.
///
/// As text `KIND/MOUNT/LOG/REST`, at most 110 characters. The start of the machine takes it too, in shell.
///
/// | kind    | mount                                        | log      | rest                        |
/// |---------|----------------------------------------------|----------|-----------------------------|
/// | `ext`   | number of mounts, times of mount and check   | journal  | time of the last write, KiB written, state, journal sequence and start |
/// | `xfs`   | nothing                                      | log      | LSN of the superblock, place and cycle of the log's head               |
/// | `btrfs` | generation                                   | nothing  | roots of the trees and of the log                                      |
/// | `none`  | not known                                    |          |                             |
///
/// The log is `clean` when a mount would replay nothing, else `dirty`.
///
/// Sources: the kernel's `Documentation/filesystems/ext4`, `fs/xfs/libxfs/xfs_log_format.h`,
/// `include/uapi/linux/btrfs_tree.h`.
struct FileSystemStamp: Hashable {
    enum Kind: String {
        case ext, xfs, btrfs, none
    }

    static let unknown = FileSystemStamp(.none, mount: "-", log: "-", rest: "-")

    let kind: Kind
    let mount: String
    let log: String
    let rest: String

    fileprivate init(_ kind: Kind, mount: String, log: String, rest: String) {
        self.kind = kind
        self.mount = mount
        self.log = log
        self.rest = rest
    }

    var text: String { "\(kind.rawValue)/\(mount)/\(log)/\(rest)" }

    init?(text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 4, text.utf8.count <= 110, let kind = Kind(rawValue: parts[0]),
            parts[1...].allSatisfy({ part in
                !part.isEmpty
                    && part.utf8.allSatisfy {
                        UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0
                            || UInt8(ascii: "a")...UInt8(ascii: "z") ~= $0
                            || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "-")
                    }
            })
        else { return nil }
        self.init(kind, mount: parts[1], log: parts[2], rest: parts[3])
    }

    /// Whether a file system that was in use may look like this after a crash: nobody mounted it
    /// since, not even to read, for that replays the log.
    func isCrash(of running: FileSystemStamp) -> Bool {
        guard kind != .none, kind == running.kind, mount == running.mount, log == running.log
        else { return false }
        // With a clean log nothing was under way: whatever differs was written by somebody else.
        return log != "clean" || rest == running.rest
    }

    /// Whether a merge into the file system, which writes back what it was `before`, may have got as far
    /// as this.
    func isMerge(of running: FileSystemStamp, into before: FileSystemStamp) -> Bool {
        [running, before].contains { end in
            // The log of XFS is no single block: in between it is neither.
            kind == end.kind && mount == end.mount && (kind == .xfs || log == end.log)
        }
    }

    /// Whether a mount would replay nothing.
    var isClean: Bool { log != "dirty" }
}

// MARK: Reading

extension FileSystemStamp {
    /// Takes the stamp of a device, past the page cache.
    static func read(_ device: MappedDevice) throws -> FileSystemStamp {
        try read(path: MappedDevice.node(of: device.number))
    }

    static func read(path: String) throws -> FileSystemStamp {
        guard let direct = FileOperation.openDirect(path) else { throw SystemError(.open, path) }
        let bytes = StampBytes(FileHandle(adopting: direct), path)
        let start = try bytes.read(0, 4096)
        if start.littleEndian(1024 + 0x38, 2) == 0xEF53 { return try ext(start, bytes) }
        if start.littleEndian(0, 4) == 0x4253_4658 { return try xfs(start, bytes) }
        let btrfs = try bytes.read(65_536, 4096)
        // "_BHRfS_M"
        guard btrfs.littleEndian(0x40, 8) == 0x4D5F_5366_5248_425F else { return .unknown }
        return FileSystemStamp(
            .btrfs, mount: "\(btrfs.littleEndian(0x48, 8))", log: "-",
            rest: btrfs.hexadecimal(0x50, 8) + "." + btrfs.hexadecimal(0x60, 8))
    }

    /// Numbers of blocks are below this, so that their places are numbers too.
    private static let blockLimit: UInt64 = 1 << 44

    private static func ext(_ start: StampBytes.Run, _ bytes: StampBytes) throws -> FileSystemStamp
    {
        let base = 1024
        let hasJournal = start.littleEndian(base + 0x5C, 4) & 4 != 0
        let needsRecovery = start.littleEndian(base + 0x60, 4) & 4 != 0
        let isValid = start.littleEndian(base + 0x3A, 2) & 1 != 0
        var journal = "-"
        let blockByteCount = UInt64(1024) << (start.littleEndian(base + 0x18, 4) & 7)
        if hasJournal, let block = firstJournalBlock(start, base + 0x10C) {
            let superblock = try bytes.read(block * blockByteCount, 512)
            if superblock.bigEndian(0, 4) == 0xC03B_3998 {
                journal = superblock.hexadecimal(0x18, 8)
            }
        }
        let mount =
            "\(start.littleEndian(base + 0x34, 2)).\(start.hexadecimal(base + 0x2C, 4))"
            + ".\(start.hexadecimal(base + 0x40, 4))"
        let rest = [
            start.hexadecimal(base + 0x30, 4), start.hexadecimal(base + 0x178, 8),
            start.hexadecimal(base + 0x3A, 2), journal,
        ]
        return FileSystemStamp(
            .ext, mount: mount, log: needsRecovery || !isValid ? "dirty" : "clean",
            rest: rest.joined(separator: "."))
    }

    /// Where the journal begins, by the copy of its inode's first blocks in the superblock; nil where
    /// that is in a tree of its own.
    private static func firstJournalBlock(_ start: StampBytes.Run, _ blocks: Int) -> UInt64? {
        guard start.littleEndian(blocks, 2) == 0xF30A else {
            let block = start.littleEndian(blocks, 4)
            return block == 0 ? nil : block
        }
        let block =
            start.littleEndian(blocks + 12 + 8, 4) | start.littleEndian(blocks + 12 + 6, 2) << 32
        let isLeaf = start.littleEndian(blocks + 6, 2) == 0 && start.littleEndian(blocks + 2, 2) > 0
        return isLeaf && block < blockLimit ? block : nil
    }

    private static func xfs(_ start: StampBytes.Run, _ bytes: StampBytes) throws -> FileSystemStamp
    {
        let blockByteCount = start.bigEndian(4, 4)
        let logStart = start.bigEndian(48, 8)
        let groupBlockCount = start.bigEndian(84, 4)
        let groupBits = start.littleEndian(124, 1)
        let sectorCount = start.bigEndian(96, 4) * blockByteCount / 512
        guard 1..<blockLimit ~= logStart, sectorCount > 1, groupBits < 32,
            512...65_536 ~= blockByteCount, groupBlockCount <= 1 << groupBits
        else { return .unknown }
        let block =
            (logStart >> groupBits) * groupBlockCount + logStart & ((1 << groupBits) - 1)
        let log = XFSLog(
            bytes: bytes, start: block * blockByteCount, sectorCount: sectorCount)
        let head = try log.head()
        return FileSystemStamp(
            .xfs, mount: "-", log: try log.isClean(at: head.sector) ? "clean" : "dirty",
            rest: start.hexadecimal(240, 8) + ".\(head.sector).\(head.cycle)")
    }
}

/// The log of an XFS: a ring of sectors that begin with the number of their round.
private struct XFSLog {
    /// The largest record and its headers.
    private static let recordSectorLimit: UInt64 = 520
    private static let headerMagic: UInt64 = 0xFEED_BABE
    private static let unmountFlag: UInt64 = 0x20

    let bytes: StampBytes
    let start: UInt64
    let sectorCount: UInt64

    private func sector(_ number: UInt64) throws -> StampBytes.Run {
        try bytes.read(start + number % sectorCount * 512, 512)
    }

    private func cycle(_ number: UInt64) throws -> UInt64 {
        let sector = try sector(number)
        let first = sector.bigEndian(0, 4)
        return first == Self.headerMagic ? sector.bigEndian(4, 4) : first
    }

    /// The first sector that the last round did not reach, and the number of that round.
    func head() throws -> (sector: UInt64, cycle: UInt64) {
        let first = try cycle(0)
        guard try cycle(sectorCount - 1) != first else { return (sectorCount, first) }
        var low: UInt64 = 0
        var high = sectorCount - 1
        while high - low > 1 {
            let middle = low + (high - low) / 2
            if try cycle(middle) == first { low = middle } else { high = middle }
        }
        return (high, first)
    }

    /// Whether the last record says that the file system was unmounted.
    func isClean(at head: UInt64) throws -> Bool {
        guard try cycle(0) != 0 else { return true }
        for distance in 1...min(Self.recordSectorLimit, sectorCount) {
            let header = (head + sectorCount - distance) % sectorCount
            let record = try sector(header)
            guard record.bigEndian(0, 4) == Self.headerMagic else { continue }
            let size = record.bigEndian(320, 4)
            let headerCount = size > 32_768 && size <= 262_144 ? (size + 32_767) / 32_768 : 1
            let content = try sector(header + headerCount)
            return record.bigEndian(40, 4) == 1
                && content.bigEndian(9, 1) & Self.unmountFlag != 0
        }
        return false
    }
}

/// Bytes of a device, as numbers and as text.
private final class StampBytes {
    struct Run {
        let bytes: [UInt8]

        func littleEndian(_ offset: Int, _ count: Int) -> UInt64 {
            bytes[offset..<offset + count].reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }

        func bigEndian(_ offset: Int, _ count: Int) -> UInt64 {
            bytes[offset..<offset + count].reduce(0) { $0 << 8 | UInt64($1) }
        }

        func hexadecimal(_ offset: Int, _ count: Int) -> String {
            bytes[offset..<offset + count]
                .map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        }
    }

    private static let alignment: UInt64 = 4096
    private let handle: FileHandle
    private let path: String

    init(_ handle: consuming FileHandle, _ path: String) {
        self.handle = handle
        self.path = path
    }

    /// So many bytes; zeros behind the end.
    func read(_ offset: UInt64, _ count: Int) throws -> Run {
        let start = offset / Self.alignment * Self.alignment
        let skipped = Int(offset - start)
        let buffer = try AlignedBuffer(
            byteCount: (skipped + count + 4095) / 4096 * 4096)
        let received = try PositionedIO.read(
            handle.descriptor, into: buffer, range: 0..<buffer.byteCount, at: start, subject: path)
        var bytes = [UInt8](copying: buffer.bytes.extracting(0..<received))
        bytes += [UInt8](repeating: 0, count: buffer.byteCount - received)
        return Run(bytes: Array(bytes[skipped..<skipped + count]))
    }
}
