import BlockModel
import CaptureEngine
import ChangeTracking
import DeviceMapper
import Glibc
import LinuxIO
import Repository
import RepositoryFormat
import RepositoryModel
import SimulationSupport
import Synchronization
import TestKit
import Testing
import VolumeAccess
import Workflows

import class Foundation.Thread

/// Frozen views that replace one another while somebody writes: the list of exceptions of each is
/// what changed until the next.
@Suite(.inMachine, .serialized) struct RotationTests {
    private static let originByteCount: UInt64 = 2 << 20
    /// Room for every chunk of the origin: here no store overflows.
    private static let storeByteCount: UInt64 = 6 << 20
    private static let chunkSectorCount: UInt32 = 16
    private static let sector = UInt64(TableLine.sectorByteCount)
    private static var originSectorCount: UInt64 { originByteCount / sector }

    /// Writes 4 KiB at random places past the page cache until it is told to stop.
    private final class Writer: Sendable {
        private let mustStop = Atomic<Bool>(false)
        private let writes = Atomic<Int>(0)
        private let longestStall = Atomic<UInt64>(0)
        private let hasEnded = Atomic<Bool>(false)

        init(_ path: String) throws {
            // O_DIRECT, which glibc shows to GNU programs only: 0o40000 on this kernel's machines.
            let descriptor = open(path, O_RDWR | O_CLOEXEC | 0o40000)
            guard descriptor >= 0 else { throw SystemError(.open, path) }
            Thread.detachNewThread { [self] in
                guard let buffer = try? AlignedBuffer(byteCount: 4096) else { return }
                var generator = SeededGenerator(seed: 7)
                while !mustStop.load(ordering: .acquiring) {
                    let number = generator.next()
                    let stamp = (0..<8).map { UInt8(truncatingIfNeeded: number >> UInt64(8 * $0)) }
                    buffer.copy(stamp.span.bytes, to: 0)
                    let place = number % (RotationTests.originByteCount / 4096) * 4096
                    let start = SystemClock.monotonicNanoseconds()
                    let bytes = buffer.bytes
                    try? PositionedIO.write(descriptor, bytes, at: place, subject: path)
                    let stall = SystemClock.monotonicNanoseconds() - start
                    if stall > longestStall.load(ordering: .relaxed) {
                        longestStall.store(stall, ordering: .relaxed)
                    }
                    if writes.wrappingAdd(1, ordering: .relaxed).newValue % 4 == 0 {
                        usleep(40_000)
                    }
                }
                close(descriptor)
                hasEnded.store(true, ordering: .releasing)
            }
        }

        var writeCount: Int { writes.load(ordering: .relaxed) }
        var longestStallMilliseconds: UInt64 { longestStall.load(ordering: .relaxed) / 1_000_000 }

        func stop() {
            mustStop.store(true, ordering: .releasing)
            while !hasEnded.load(ordering: .acquiring) { usleep(1000) }
        }
    }

    private static func path(_ name: String) -> String { "/dev/mapper/\(name)" }

    /// A store for the view of that number, empty: one of three places on the second disk.
    private static func makeStore(_ number: Int) throws -> String {
        let name = "store\(number)"
        let first = UInt64(number % 3) * storeByteCount / sector
        try DeviceMapper.create(
            name,
            [.linear(Machine.disk(1), sectorCount: storeByteCount / sector, firstSector: first)])
        let handle = try FileHandle(path(name), .readWrite)
        let zeros = [UInt8](repeating: 0, count: Int(chunkSectorCount) * Int(sector))
        try PositionedIO.write(handle.descriptor, zeros.span.bytes, at: 0, subject: name)
        guard fsync(handle.descriptor) == 0 else { throw SystemError(.sync, name) }
        return name
    }

    /// Makes a view that begins with its first resume.
    private static func prepareView(_ number: Int, store: String) throws -> PreparedCall {
        let name = "view\(number)"
        try DeviceMapper.create(name, [], isReadOnly: true)
        try DeviceMapper.load(
            name,
            [
                .snapshot(
                    of: path("real"), store: path(store), chunkSectorCount: chunkSectorCount,
                    sectorCount: originSectorCount)
            ], isReadOnly: true)
        return try PreparedCall(.resume, name)
    }

    private static func changes(in store: String) throws -> BlockExtents {
        let device = path(store)
        let direct = try #require(FileOperation.openDirect(device))
        defer { close(direct) }
        return try ExceptionStore.changes(
            storeByteCount: storeByteCount, originByteCount: originByteCount,
            blockSize: #require(BlockSize(byteCount: 16_384))
        ) { offset, count in
            let buffer = try AlignedBuffer(byteCount: max(count, 4096))
            let received = try PositionedIO.read(
                direct, into: buffer, range: 0..<buffer.byteCount, at: offset,
                subject: device)
            return [UInt8](copying: buffer.bytes.extracting(0..<min(received, count)))
        }
    }

    /// As fast in a debug build in an emulated machine as anything there.
    private static func isEqual(_ left: [UInt8], _ right: [UInt8], _ range: Range<Int>) -> Bool {
        left.withUnsafeBytes { left in
            right.withUnsafeBytes { right in
                guard let a = left.baseAddress, let b = right.baseAddress else { return false }
                return memcmp(a + range.lowerBound, b + range.lowerBound, range.count) == 0
            }
        }
    }

    private static func image(of view: Int) throws -> [UInt8] {
        let device = path("view\(view)")
        let handle = try FileHandle(device, .read)
        var bytes = [UInt8](repeating: 0, count: Int(originByteCount))
        var span = bytes.mutableSpan
        var raw = span.mutableBytes
        _ = try PositionedIO.read(handle.descriptor, into: &raw, at: 0, subject: device)
        return bytes
    }

    @Test("Under a constant writer, ten rotations lose no write, and each is captured by its list")
    func rotations() throws {
        try Machine.load("dm-mod", "dm-snapshot")
        for name in ["real", "live"] {
            try DeviceMapper.create(
                name, [.linear(Machine.disk(0), sectorCount: Self.originSectorCount)])
        }
        let lab = try Lab(MemoryStore(), blockSize: 16_384)
        lab.sampleByteTarget = 1 << 20
        var store = try Self.makeStore(0)
        let first = try Self.prepareView(0, store: store)
        try DeviceMapper.load(
            "live",
            [.snapshotOrigin(Self.path("real"), sectorCount: Self.originSectorCount)])
        _ = try SuspendedWindow(["live"], steps: [first]).run()
        let writer = try Writer(Self.path("live"))
        try lab.capture(path: Self.path("view0"), sourceName: "live")
        var images = [try Self.image(of: 0)]
        var longestWindow: UInt64 = 0
        for number in 1...10 {
            usleep(300_000)
            let next = try Self.makeStore(number)
            let window = try SuspendedWindow(
                ["live"],
                steps: [
                    Self.prepareView(number, store: next),
                    PreparedCall(.remove, "view\(number - 1)"),
                ])
            longestWindow = max(longestWindow, try window.run())
            let changes = try Self.changes(in: store)
            try DeviceMapper.remove(store)
            store = next

            let image = try Self.image(of: number)
            let before = images[number - 1]
            let missed = stride(from: 0, to: image.count, by: 4096).count { start in
                !Self.isEqual(image, before, start..<start + 4096)
                    && !changes.contains(UInt64(start / 16_384))
            }
            #expect(missed == 0, "rotation \(number)")
            #expect(changes.blockCount > 0)
            let tip = try #require(lab.timeline().tip)
            let result = try lab.capture(
                path: Self.path("view\(number)"), sourceName: "live",
                evidence: ChangeEvidence(
                    method: .changedExtents, since: tip.id, volumeByteCount: Self.originByteCount,
                    candidates: changes))
            guard case .believed = result.verdict else {
                Issue.record("rotation \(number): \(result.verdict)")
                break
            }
            images.append(image)
        }
        writer.stop()
        #expect(writer.writeCount > 100)
        let bare = try SuspendedWindow(["live"], steps: []).run()
        print(
            "writes \(writer.writeCount), longest stall \(writer.longestStallMilliseconds) ms, "
                + "longest window \(longestWindow / 1000) us, bare window \(bare / 1000) us")
        let snapshots = try lab.timeline().snapshots
        #expect(snapshots.count == images.count)
        for (snapshot, image) in zip(snapshots, images) {
            let restored = try lab.restore(snapshot)
            #expect(restored.count == image.count)
            #expect(Self.isEqual(restored, image, 0..<image.count))
        }
    }
}
