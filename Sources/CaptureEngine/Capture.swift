package import BlockModel
package import ChangeTracking
internal import LinuxIO
internal import ObjectStore
internal import Packs
package import Repository
internal import RepositoryFormat
package import RepositoryIndex
package import RepositoryModel
package import VolumeAccess

/// What is to be captured, and how.
package struct CaptureRequest: Sendable {
    package var volume: VolumeName
    package var source: SourceIdentity
    package var time: Timestamp
    package var level: Int
    package var workerCount: Int
    package var tags: [String]
    /// Whether a source in use may be read anyway.
    package var allowsUse: Bool
    package var isDryRun: Bool
    /// What says which blocks may have changed; nil to compare all.
    package var evidence: ChangeEvidence?
    /// Why there is no evidence where some was to be expected; nil to say nothing of it.
    package var missingEvidence: String?
    /// Shared by volumes that are taken at one moment; zero: alone.
    package var setID: ObjectID
    /// At least so much of what evidence calls unchanged is compared.
    package var sampleByteTarget: UInt64
    package var packByteTarget: Int
    package var partByteLimit: Int

    package init(volume: VolumeName, source: SourceIdentity, time: Timestamp) {
        self.volume = volume
        self.source = source
        self.time = time
        level = 3
        workerCount = Workers.standardCount
        tags = []
        allowsUse = false
        isDryRun = false
        setID = .zero
        sampleByteTarget = 64 << 20
        packByteTarget = Format.packByteTarget
        partByteLimit = Format.partByteLimit
    }
}

/// What a capture did.
package struct CaptureResult: Sendable {
    package let facts: SnapshotFacts
    package let generation: Generation
    package let parentGeneration: Generation
    package let verdict: EvidenceVerdict
    /// Why the index could not take the snapshot in, which it does the next time; nil when it did.
    package let indexProblem: String?
}

/// One capture: from an open source to a committed delta.
///
/// Order, always: frames → packs durable → parts durable → delta durable → `newest` → index.
package struct Capture {
    private let repository: Repository
    private let index: Index
    private let timeline: Timeline
    private let source: VolumeSource
    private let request: CaptureRequest
    private let holds: [Hold]
    /// Chunks that a worker has in flight.
    private static let chunkByteCount = 512 << 10
    private static let flightByteCount = 8 << 20
    /// Bytes that all workers together have in flight.
    private static let totalFlightByteCount = 64 << 20

    /// The caller has taken `holds`, the volume's exclusively, before it listed `timeline`; they are
    /// renewed while the capture runs, and must still be there when it commits.
    package init(
        repository: Repository,
        index: Index,
        timeline: Timeline,
        source: VolumeSource,
        request: CaptureRequest,
        holds: [Hold]
    ) {
        self.repository = repository
        self.index = index
        self.timeline = timeline
        self.source = source
        self.request = request
        self.holds = holds
    }

    package func run(
        identifiers: any IdentifierSource,
        elapsedNanoseconds: () -> UInt64,
        now: () -> Timestamp,
        progress: CaptureProgress,
        report: () -> Void
    ) throws -> CaptureResult {
        func idle() {
            report()
            // A failure to renew shows when the hold is verified before the commit.
            for hold in holds { try? hold.renew(now: now()) }
        }
        let history = try prepare()
        // No prune that lives stands beside the holds of this capture.
        let deadLists = request.isDryRun ? [] : try repository.dropPruneLists()
        let markers = request.isDryRun ? [] : try repository.prepareMarkers(timeline)
        let context = try CaptureContext(
            repository: repository, index: index, history: history, parent: timeline.tip,
            attempt: identifiers.next().low | 1, level: request.level, isDryRun: request.isDryRun)
        let scope = try EvidenceExaminer(
            repository: repository, timeline: timeline, source: source, request: request,
            context: context
        ).scope(identifiers: identifiers, progress: progress, idle: idle)
        let packs: any FrameSink =
            request.isDryRun
            ? CountingSink()
            : PackWriter(
                repository: repository, index: index, targetByteCount: request.packByteTarget,
                identifiers: identifiers)
        let collector = DeltaAssembler(
            context: context, pages: scope.candidates?.pages,
            delta: DeltaWriter(
                repository: repository, partByteLimit: request.partByteLimit,
                identifiers: identifiers))
        let byteCount = try read(
            context, scope.candidates, collector, packs, progress, idle: idle)
        let isAtRest = try source.verifyUnchanged(allowsUse: request.allowsUse)
        try packs.finish()
        try context.reliance.finish()
        let (leaves, counts) = try collector.finish(byteCount: byteCount)
        let facts = makeFacts(
            context, scope, isAtRest, leaves, counts, byteCount, elapsedNanoseconds(),
            progress.readByteCount, packs.storedByteCount + collector.partByteCount)
        let memory = context.memory(samplePosition: scope.samplePosition)
        let committed = try commit(
            facts, context, collector, identifiers, markers: markers, memory: memory, deadLists,
            now: now)
        let indexProblem = committed.flatMap { tellIndex($0.delta, $0.findings, context) }
        return CaptureResult(
            facts: committed?.delta.head.facts ?? facts,
            generation: timeline.highestGeneration + 1,
            parentGeneration: facts.parentGeneration, verdict: scope.verdict,
            indexProblem: indexProblem)
    }

    /// Refuses what must not be relied on, and brings the index to the snapshot before.
    private func prepare() throws -> History {
        guard timeline.highestGeneration < ObjectNames.generationLimit else {
            throw RepositoryError(
                .damaged,
                "an object claims that volume '\(timeline.volume)' has had "
                    + "\(timeline.highestGeneration) snapshots, so no number is left; use another "
                    + "--volume, and run 'varve check'"
            )
        }
        if let byteCount = source.byteCount,
            repository.blockSize.blockCount(coveringByteCount: byteCount) > Format.volumeBlockLimit
        {
            throw VolumeError(
                .failed,
                "\(source.path) claims to have \(Human.bytes(byteCount)), more than any "
                    + "volume can have; check that it is the right file")
        }
        if timeline.tip == nil, !timeline.damaged.isEmpty || !timeline.problems.isEmpty {
            throw RepositoryError(
                .damaged,
                "no snapshot of volume '\(timeline.volume)' can be restored, and a new base would "
                    + "hide the damage; run 'varve check', or choose another --volume")
        }
        let history = try index.synchronize(timeline, with: repository)
        if request.isDryRun {
            return history ?? History.none
        }
        return try index.historyForCapture(of: timeline.volume, history: history)
    }

    /// Runs the workers over the whole source; gives its size.
    private func read(
        _ context: CaptureContext,
        _ candidates: BlockExtents?,
        _ collector: DeltaAssembler,
        _ packs: any FrameSink,
        _ progress: CaptureProgress,
        idle: () -> Void
    ) throws -> UInt64 {
        let failure = SharedFailure()
        let chunkByteCount = max(Self.chunkByteCount, repository.blockSize.byteCount)
        let blocks = source.byteCount.map(repository.blockSize.blockCount(coveringByteCount:))
        let board = PageBoard(context: context, blockCount: blocks, blocks: candidates)
        let source = source
        let blockSize = repository.blockSize
        let similar = SimilarBlocks(
            source: source, fingerprinter: context.fingerprinter, blockSize: blockSize)
        let makeWorker: @Sendable () throws -> CaptureWorker = {
            try CaptureWorker(
                context: context, board: board, collector: collector, packs: packs,
                similar: similar, progress: progress)
        }
        guard let byteCount = source.byteCount else {
            let stream = StreamReader(
                source: source, blockSize: blockSize, chunkByteCount: chunkByteCount)
            try Workers.run(count: request.workerCount, failure: failure, idle: idle) { _ in
                let buffer = try AlignedBuffer(byteCount: chunkByteCount)
                try makeWorker().run(stream, buffer, failure)
            }
            let count = stream.byteCount
            guard count > 0 else {
                throw VolumeError(
                    .failed,
                    "standard input was empty, and nothing was captured; check whether the program "
                        + "before the pipe failed")
            }
            try makeWorker().endStream(
                blockCount: blockSize.blockCount(coveringByteCount: count))
            return count
        }
        let flightByteCount = min(
            Self.flightByteCount, Self.totalFlightByteCount / request.workerCount)
        let work = WorkList(
            source: source,
            blocks: candidates
                ?? BlockExtents(0..<blockSize.blockCount(coveringByteCount: byteCount)),
            blockSize: blockSize, stretchBlockCount: Format.stretchBlockCount(blockSize))
        try Workers.run(count: request.workerCount, failure: failure, idle: idle) { _ in
            let reader = try ChunkReader(
                source: source, byteCount: byteCount, blockSize: blockSize,
                chunkByteCount: chunkByteCount,
                chunkCount: max(2, flightByteCount / chunkByteCount))
            try makeWorker().run(work, reader, failure)
        }
        return byteCount
    }

    private func makeFacts(
        _ context: CaptureContext,
        _ scope: CaptureScope,
        _ isAtRest: Bool,
        _ leaves: [Digest],
        _ counts: DeltaAssembler.Counts,
        _ byteCount: UInt64,
        _ elapsedNanoseconds: UInt64,
        _ readByteCount: UInt64,
        _ storedByteCount: UInt64
    ) -> SnapshotFacts {
        let tip = timeline.tip
        var facts = SnapshotFacts(
            time: request.time, byteCount: byteCount, source: request.source,
            method: tip == nil ? .base : .fullComparison,
            consistency: isAtRest ? source.isFrozenView ? .frozenView : .atRest : .liveInconsistent,
            parent: tip?.id ?? .nothing, parentGeneration: tip?.generation ?? 0,
            tags: request.tags)
        facts.setID = request.setID
        if scope.candidates != nil, let method = request.evidence?.method {
            facts.method = method
            facts.proof = .sampled
        }
        facts.imageDigest = ImageDigestTree(blockSize: context.blockSize).root(
            leaves: leaves, byteCount: byteCount, blockSize: context.blockSize)
        facts.durationNanoseconds = elapsedNanoseconds
        facts.bytesRead = min(readByteCount, byteCount)
        facts.blocksChanged = counts.blocksChanged
        facts.bytesChanged = min(
            counts.blocksChanged * UInt64(context.blockSize.byteCount), byteCount)
        facts.bytesStored = storedByteCount
        return facts
    }

    /// Writes the delta and the marker; nothing in a dry run.
    private func commit(
        _ facts: SnapshotFacts,
        _ context: CaptureContext,
        _ collector: DeltaAssembler,
        _ identifiers: any IdentifierSource,
        markers: [String],
        memory: CaptureMemory,
        _ deadLists: Set<String>,
        now: () -> Timestamp
    ) throws -> (delta: KnownDelta, findings: CaptureFindings)? {
        guard !request.isDryRun else { return nil }
        if Interruption.isRequested { throw Interrupted.ofCapture }
        try repository.verifyForCommit(holds, now: now(), ignoring: deadLists)
        let tip = timeline.tip
        let name = DeltaName(
            volume: timeline.volume, from: tip?.generation ?? 0,
            to: timeline.highestGeneration + 1,
            id: identifiers.next())
        let head = DeltaHead(
            from: tip?.id ?? .nothing, fromGeneration: tip?.generation ?? 0,
            fromByteCount: tip?.facts.byteCount ?? 0, toGeneration: name.to, facts: facts)
        let (delta, findings) = try collector.commit(name, head: head, memory: memory)
        do {
            for hold in holds { try hold.verify(now: now()) }
        } catch let error as RepositoryError where error.kind == .locked {
            // Whoever took the holds meanwhile may have deleted what the delta needs, or may build
            // on it by now: it stays, and the next capture stores again what is gone.
            throw RepositoryError(
                .locked,
                "\(timeline.volume)@\(name.to) was stored, but another command may have deleted "
                    + "some of its blocks in the meantime, because \(error.cause): the next backup "
                    + "stores these again")
        }
        _ = try repository.markNewest(delta, timeline, markers: markers)
        return (delta, findings)
    }

    /// Lets the index know what was committed; gives why it could not.
    ///
    /// The snapshot is there all the same.
    private func tellIndex(
        _ delta: KnownDelta,
        _ findings: CaptureFindings,
        _ context: CaptureContext
    ) -> String? {
        do {
            try index.applyCommitted(
                delta, history: context.history.number, findings: findings, repository: repository)
            return nil
        } catch {
            return (error as? RepositoryError)?.cause ?? "\(error)"
        }
    }
}
