import Glibc
import LinuxIO
import Zstandard

/// What an hour did to the image.
struct HourFacts: Encodable {
    let hour: Int
    /// Pages of 4 KiB and blocks of 64 KiB that are not as they were.
    let changedPages: Int
    let changedBlocks: Int
    /// Sum over the changed blocks, each compressed by zstd 3 with its earlier version as prefix:
    /// what nobody can store less than.
    let limitBytes: UInt64
    /// The same blocks compressed by zstd 3 alone.
    let compressedBytes: UInt64

    static let none = HourFacts(
        hour: 0, changedPages: 0, changedBlocks: 0, limitBytes: 0, compressedBytes: 0)
}

/// Changes an image in place, keeps each touched block as it was before the hour, and computes
/// from that how small the hour could be stored.
final class ImageEditor {
    static let blockByteCount = 64 * 1024
    private static let pageByteCount = 4096

    private let path: String
    private let handle: FileHandle
    private var earlier: [UInt64: [UInt8]] = [:]
    private var touchedPages: Set<UInt64> = []

    init(_ path: String) throws {
        self.path = path
        handle = try FileHandle(path, .readWrite)
    }

    var touchedPageCount: Int { touchedPages.count }

    func read(at offset: UInt64, byteCount: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: byteCount)
        var span = bytes.mutableSpan
        var raw = span.mutableBytes
        _ = try PositionedIO.read(handle.descriptor, into: &raw, at: offset, subject: path)
        return bytes
    }

    func write(_ bytes: [UInt8], at offset: UInt64) throws {
        guard !bytes.isEmpty else { return }
        let last = offset + UInt64(bytes.count) - 1
        let block = UInt64(Self.blockByteCount)
        for index in (offset / block)...(last / block) where earlier[index] == nil {
            earlier[index] = try read(at: index * block, byteCount: Self.blockByteCount)
        }
        let page = UInt64(Self.pageByteCount)
        for index in (offset / page)...(last / page) { touchedPages.insert(index) }
        try PositionedIO.write(handle.descriptor, bytes.span.bytes, at: offset, subject: path)
    }

    /// Makes what was written durable.
    func synchronize() throws {
        guard fsync(handle.descriptor) == 0 else { throw SystemError(.sync, path) }
    }

    /// Ends the hour: makes it durable, and measures what it changed.
    func finish(hour: Int) throws -> HourFacts {
        try synchronize()
        let compressor = try Compressor(level: 3)
        var target = [UInt8](
            repeating: 0, count: Compressor.bound(forByteCount: Self.blockByteCount))
        var pages = 0
        var blocks = 0
        var limit = 0
        var compressed = 0
        for (index, before) in earlier {
            let now = try read(
                at: index * UInt64(Self.blockByteCount), byteCount: Self.blockByteCount)
            let changed = Self.changedPageCount(before, now)
            guard changed > 0 else { continue }
            pages += changed
            blocks += 1
            var span = target.mutableSpan
            var raw = span.mutableBytes
            guard
                let patch = try compressor.compress(
                    now.span.bytes, prefix: before.span.bytes, into: &raw),
                let full = try compressor.compress(now.span.bytes, into: &raw)
            else { throw BenchmarkError("zstd found its own bound too small") }
            limit += patch
            compressed += full
        }
        earlier = [:]
        touchedPages = []
        return HourFacts(
            hour: hour, changedPages: pages, changedBlocks: blocks, limitBytes: UInt64(limit),
            compressedBytes: UInt64(compressed))
    }

    private static func changedPageCount(_ before: [UInt8], _ now: [UInt8]) -> Int {
        stride(from: 0, to: blockByteCount, by: pageByteCount).count { start in
            let page = start..<start + pageByteCount
            let old = before.span.bytes.extracting(page)
            return !now.span.bytes.extracting(page).isEqual(to: old)
        }
    }
}
