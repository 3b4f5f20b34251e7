internal import CDiskContents
internal import Glibc
internal import LinuxIO

/// A part of an image that a partition table names, or all of it.
package struct Partition: Hashable, Sendable {
    /// As the system counts them, from 1 on; nil for an image without a table.
    package let number: Int?
    package let bytes: Range<UInt64>
    /// What the table calls it.
    package let name: String
    /// What lies there, such as `ext4`, `vfat` or `LVM2_member`; empty where that is not known.
    package let type: String
    /// What the table says that it is for: digits of a GUID in lower case, or `0x83` and the like; empty
    /// for an image without a table.
    package let purpose: String

    /// Whether UEFI starts systems from it.
    package var isUEFISystem: Bool {
        ["c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "0xef"].contains(purpose)
    }
}

/// The partitions of an image, found by libblkid.
///
/// The library reads files: it is shown one in memory, of the image's size, with what of the image it
/// looks at: the beginning and the end of it and of each partition, and what lies behind one.
package struct PartitionTable {
    /// Where tables and superblocks lie: at most so far from the beginning, and from the end.
    private static let headByteCount: UInt64 = 1 << 20
    private static let tailByteCount: UInt64 = 256 << 10
    /// More than that are never looked at.
    private static let partitionLimit = 256
    /// What disks have.
    private static let sectorByteCounts: Set<Int> = [512, 1024, 2048, 4096]

    /// Partitions in order of number; the image itself where there is no table.
    package let partitions: [Partition]

    /// Reads the table of an image.
    ///
    /// - Parameters:
    ///   - image: the image.
    ///   - sectorByteCount: bytes of a sector of the disk that it was; where there is no table of such
    ///     sectors, the other usual size is tried, for a file may be the image of any disk.
    /// - Throws: what the image throws; ``SystemError`` when there is no memory.
    package init(of image: any ImageBytes, sectorByteCount: Int = 512) throws {
        let shadow = try Shadow(image)
        try shadow.copy(around: 0..<image.byteCount)
        var found: [varve_partition] = []
        let sizes = [sectorByteCount, 512, 4096].filter(Self.sectorByteCounts.contains)
        for (position, size) in sizes.enumerated()
        where found.isEmpty && !sizes[..<position].contains(size) {
            found = try Self.partitions(of: image, shadow, UInt32(size))
        }
        let whole = shadow.type(of: 0..<image.byteCount)
        guard !found.isEmpty, whole.isEmpty || whole == "dos" else {
            partitions = [
                Partition(
                    number: nil, bytes: 0..<image.byteCount, name: "", type: whole, purpose: "")
            ]
            return
        }
        partitions = found.filter { $0.is_extended == 0 }.map { partition in
            let bytes = Self.bytes(of: partition, in: image)
            return Partition(
                number: Int(partition.number), bytes: bytes, name: Self.text(partition.name),
                type: shadow.type(of: bytes), purpose: Self.text(partition.type))
        }.sorted { ($0.number ?? 0) < ($1.number ?? 0) }
    }

    private static func partitions(
        of image: any ImageBytes,
        _ shadow: Shadow,
        _ sectorByteCount: UInt32
    ) throws -> [varve_partition] {
        // The table of a logical partition lies where the one before it said, which shows only then.
        var found: [varve_partition] = []
        while let next = shadow.partitions(sectorByteCount), next.count > found.count {
            for partition in next[found.count...].prefix(partitionLimit) {
                let bytes = bytes(of: partition, in: image)
                try shadow.copy(around: bytes)
                // Between logical partitions lies what leads to the next.
                try shadow.copy(around: bytes.upperBound..<image.byteCount)
            }
            found = next
            if found.count >= partitionLimit { break }
        }
        return found
    }

    /// Clipped to the image: a table may say anything.
    private static func bytes(
        of partition: varve_partition,
        in image: any ImageBytes
    ) -> Range<UInt64> {
        let start = min(partition.byte_offset, image.byteCount)
        return start..<start + min(partition.byte_count, image.byteCount - start)
    }

    private static func text<Bytes>(_ bytes: Bytes) -> String {
        unsafe withUnsafeBytes(of: bytes) { bytes in
            unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
    }

    /// The file in memory.
    private final class Shadow {
        private let image: any ImageBytes
        private let file: FileHandle

        init(_ image: any ImageBytes) throws {
            self.image = image
            let descriptor = varve_make_memory_file(image.byteCount)
            guard descriptor >= 0 else { throw SystemError(.open, "a file in memory") }
            file = FileHandle(adopting: descriptor)
        }

        func copy(around bytes: Range<UInt64>) throws {
            let count = UInt64(bytes.count)
            let head = bytes.lowerBound..<bytes.lowerBound + min(count, headByteCount)
            let tail = bytes.upperBound - min(count, tailByteCount)..<bytes.upperBound
            for part in [head, tail] where !part.isEmpty {
                let buffer = try AlignedBuffer(byteCount: part.count)
                try buffer.withMutableBytes { bytes in
                    unsafe try bytes.withUnsafeMutableBytes {
                        let target = unsafe UnsafeMutableRawBufferPointer(
                            rebasing: $0[..<part.count])
                        unsafe try image.read(into: target, at: part.lowerBound)
                    }
                }
                try PositionedIO.write(
                    file.descriptor, buffer.bytes.extracting(0..<part.count), at: part.lowerBound,
                    subject: "a file in memory")
            }
        }

        /// nil when there is no table.
        func partitions(_ sectorByteCount: UInt32) -> [varve_partition]? {
            final class Found { var partitions: [varve_partition] = [] }
            let found = Found()
            let count = unsafe varve_list_partitions(
                file.descriptor, image.byteCount, sectorByteCount,
                Unmanaged.passUnretained(found).toOpaque()
            ) { context, partition in
                guard let context = unsafe context, let partition = unsafe partition else { return }
                let found = unsafe Unmanaged<Found>.fromOpaque(context).takeUnretainedValue()
                unsafe found.partitions.append(partition.pointee)
            }
            return count < 0 ? nil : found.partitions
        }

        func type(of bytes: Range<UInt64>) -> String {
            guard !bytes.isEmpty else { return "" }
            var type = [CChar](repeating: 0, count: 64)
            unsafe varve_probe_type(
                file.descriptor, bytes.lowerBound, UInt64(bytes.count), &type, type.count)
            return String(
                decoding: type.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        }
    }
}
