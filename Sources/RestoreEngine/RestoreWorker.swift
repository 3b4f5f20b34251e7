internal import BlockModel
internal import LinuxIO
internal import Packs
internal import Repository
internal import RepositoryFormat
internal import RepositoryIndex
internal import VolumeAccess

/// One thread of a restore: decodes stretches, in the order of the packs, and writes them.
final class RestoreWorker {
    private let plan: RestorePlan
    private let target: RestoreTarget
    /// Whether a block that differs is an error instead of being written.
    private let isProof: Bool
    private let turnstile: Turnstile
    private let progress: RestoreProgress
    private let reader: BlockReader
    private let buffer: AlignedBuffer
    private let tree: ImageDigestTree
    private let hasher = BlockHasher()
    private let size: Int

    init(
        plan: RestorePlan,
        target: RestoreTarget,
        isProof: Bool,
        isVerifying: Bool,
        turnstile: Turnstile,
        progress: RestoreProgress
    ) throws {
        self.plan = plan
        self.target = target
        self.isProof = isProof
        self.turnstile = turnstile
        self.progress = progress
        let blockSize = plan.blockSize
        size = blockSize.byteCount
        reader = try BlockReader(
            repository: plan.repository, index: plan.map.index, isVerifying: isVerifying)
        buffer = try AlignedBuffer(byteCount: RestorePlan.stretchBlockCount(blockSize) * size)
        tree = ImageDigestTree(blockSize: blockSize)
    }

    func run(_ failure: SharedFailure) throws {
        while let stretch = try plan.next() {
            if Interruption.isRequested { throw Interrupted.ofRestore }
            // Another's failure is told by itself.
            if failure.hasFailed { return }
            switch target {
            case .stream: try stream(stretch)
            case .fresh(let volume): try writeAll(stretch, volume)
            case .inPlace(let volume): try writeDifferences(stretch, volume)
            }
            plan.finish(stretch, tree: tree)
            progress.add(doneByteCount: UInt64(byteCount(of: stretch.slots, in: stretch)))
        }
    }

    // MARK: Three ways to write

    private func stream(_ stretch: RestorePlan.Stretch) throws {
        buffer.zero(0..<stretch.slots.count * size)
        try decode(stretch, dataSlots(of: stretch))
        guard turnstile.wait(for: stretch.ticket) else { throw StoppedForOthers() }
        let count = byteCount(of: stretch.slots, in: stretch)
        let buffer = buffer
        try PositionedIO.writeStream(
            1, buffer.bytes.extracting(0..<count), subject: "standard output")
        progress.add(writtenByteCount: UInt64(count))
        turnstile.advance()
    }

    private func writeAll(_ stretch: RestorePlan.Stretch, _ volume: TargetVolume) throws {
        let data = dataSlots(of: stretch)
        try decode(stretch, data)
        for run in Self.runs(of: data) { try write(run, of: stretch, to: volume) }
        let isData = Set(data)
        let zeros = stretch.slots.filter { !isData.contains($0) }
        for run in Self.runs(of: zeros) { try writeZeros(run, of: stretch, to: volume) }
    }

    private func writeDifferences(
        _ stretch: RestorePlan.Stretch,
        _ volume: TargetVolume
    ) throws {
        let whole = stretch.slots.count * size
        let offset = plan.blockSize.byteOffset(ofBlock: stretch.firstBlock)
        let count = byteCount(of: stretch.slots, in: stretch)
        if dataSlots(of: stretch).isEmpty,
            try volume.isHole(offset: offset, byteCount: UInt64(count))
        {
            return
        }
        try volume.read(into: buffer, byteCount: count, at: offset)
        if count < whole { buffer.zero(count..<whole) }
        var changed: [Int] = []
        var zeros: [Int] = []
        for slot in stretch.slots {
            let start = (slot - stretch.slots.lowerBound) * size
            let bytes = buffer
            let block = bytes.bytes.extracting(start..<start + size)
            if stretch.page.blocks.isData(slot) {
                if hasher.digest(of: block) != stretch.page.blocks.digests[slot] {
                    changed.append(slot)
                }
            } else if !block.isAllZero {
                zeros.append(slot)
            }
        }
        guard !isProof else { return try requireNone(changed + zeros, stretch, volume) }
        try decode(stretch, changed)
        for run in Self.runs(of: changed) { try write(run, of: stretch, to: volume) }
        for run in Self.runs(of: zeros) { try writeZeros(run, of: stretch, to: volume) }
    }

    private func requireNone(
        _ different: [Int],
        _ stretch: RestorePlan.Stretch,
        _ volume: TargetVolume
    ) throws {
        guard let slot = different.first else { return }
        let block = stretch.page.number * UInt64(Page.blockCount) + UInt64(slot)
        throw VolumeError(
            .failed,
            "\(volume.path) returned different data than was written (at offset "
                + "\(plan.blockSize.byteOffset(ofBlock: block))); do not trust this medium")
    }

    // MARK: Blocks

    private func dataSlots(of stretch: RestorePlan.Stretch) -> [Int] {
        stretch.slots.filter { stretch.page.blocks.isData($0) }
    }

    /// Decodes `slots` into their positions in the buffer, in the order in which the packs have
    /// them.
    private func decode(_ stretch: RestorePlan.Stretch, _ slots: [Int]) throws {
        for element in ReadOrder(slots, places: stretch.page.places) {
            let slot = element.slot
            let start = (slot - stretch.slots.lowerBound) * size
            try buffer.withMutableBytes { bytes in
                var block = bytes._mutatingExtracting(start..<start + size)
                try reader.read(
                    stretch.page.blocks.numbers[slot], digest: stretch.page.blocks.digests[slot],
                    lastSlot: element.lastSlotOfFrame, into: &block)
            }
        }
    }

    private func write(
        _ run: Range<Int>,
        of stretch: RestorePlan.Stretch,
        to volume: TargetVolume
    ) throws {
        let start = (run.lowerBound - stretch.slots.lowerBound) * size
        let count = byteCount(of: run, in: stretch)
        let buffer = buffer
        try volume.write(
            buffer.bytes.extracting(start..<start + count), at: byteOffset(of: run, in: stretch))
        progress.add(writtenByteCount: UInt64(count))
    }

    /// Makes a run read as zeros: by the fastest way the target has, or by writing them.
    private func writeZeros(
        _ run: Range<Int>,
        of stretch: RestorePlan.Stretch,
        to volume: TargetVolume
    ) throws {
        let count = byteCount(of: run, in: stretch)
        let offset = byteOffset(of: run, in: stretch)
        if volume.zeroOut(offset: offset, byteCount: UInt64(count)) {
            if volume.kind != .newFile { progress.add(writtenByteCount: UInt64(count)) }
            return
        }
        let start = (run.lowerBound - stretch.slots.lowerBound) * size
        buffer.zero(start..<start + count)
        let buffer = buffer
        try volume.write(buffer.bytes.extracting(start..<start + count), at: offset)
        progress.add(writtenByteCount: UInt64(count))
    }

    /// Bytes of the image in a run: less than its blocks have at the end of the image.
    private func byteCount(of run: Range<Int>, in stretch: RestorePlan.Stretch) -> Int {
        let start = byteOffset(of: run, in: stretch)
        return Int(min(UInt64(run.count * size), plan.byteCount - start))
    }

    private func byteOffset(of run: Range<Int>, in stretch: RestorePlan.Stretch) -> UInt64 {
        plan.blockSize.byteOffset(
            ofBlock: stretch.page.number * UInt64(Page.blockCount) + UInt64(run.lowerBound))
    }

    /// Consecutive slots, joined.
    private static func runs(of slots: [Int]) -> [Range<Int>] {
        var runs: [Range<Int>] = []
        for slot in slots {
            if let last = runs.last, last.upperBound == slot {
                runs[runs.count - 1] = last.lowerBound..<slot + 1
            } else {
                runs.append(slot..<slot + 1)
            }
        }
        return runs
    }
}
