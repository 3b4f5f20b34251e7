internal import BlockModel
internal import ChangeTracking
internal import Repository
internal import RepositoryFormat
internal import RepositoryIndex
internal import RepositoryModel
internal import VolumeAccess

/// What a capture made of the evidence that it was given.
package enum EvidenceVerdict: Hashable, Sendable {
    /// There was none.
    case notGiven
    /// Only what it names was compared, and a sample of the rest.
    case believed(SampleFacts)
    /// Everything was compared, for this reason.
    case refused(String)

    package struct SampleFacts: Hashable, Sendable {
        package let comparedByteCount: UInt64
        /// Captures like this one that it takes to compare every block once.
        package let cycleLength: UInt64
    }
}

/// What a capture compares, and why.
struct CaptureScope {
    var verdict: EvidenceVerdict
    /// Nil for every block.
    var candidates: BlockExtents?
    /// Where the next sample begins, when one was taken.
    var samplePosition: UInt64?
}

/// Decides whether a claim of what did not change is believed; the page of documentation `Evidence`
/// gives the rules.
struct EvidenceExaminer {
    /// Evidence alone never carries a volume for longer: 30 days.
    private static let fullComparisonSeconds: Int64 = 30 * 24 * 3600

    let repository: Repository
    let timeline: Timeline
    let source: VolumeSource
    let request: CaptureRequest
    let context: CaptureContext

    /// Believes the evidence, or finds that everything has to be compared.
    func scope(
        identifiers: any IdentifierSource,
        progress: CaptureProgress,
        idle: () -> Void
    ) throws -> CaptureScope {
        guard let evidence = request.evidence else {
            // A base is read whole whatever is known.
            guard let reason = request.missingEvidence, timeline.tip != nil else {
                return CaptureScope(verdict: .notGiven)
            }
            return CaptureScope(verdict: .refused(reason))
        }
        if let reason = try refusal(of: evidence) {
            return CaptureScope(verdict: .refused(reason))
        }
        let sample = try takeSample(evidence, progress, idle)
        if let lie = sample.lie {
            let reason = try distrust(evidence, lie, identifiers)
            return CaptureScope(verdict: .refused(reason))
        }
        let blockCount = context.blockSize.blockCount(coveringByteCount: evidence.volumeByteCount)
        // What the sample compared was counted as it was read.
        let skipped = context.blockSize.byteOffset(
            ofBlock: blockCount - evidence.candidates.blockCount)
        progress.add(
            skippedByteCount: Int(clamping: skipped - min(skipped, sample.comparedByteCount)))
        return CaptureScope(
            verdict: .believed(
                EvidenceVerdict.SampleFacts(
                    comparedByteCount: sample.comparedByteCount, cycleLength: sample.cycleLength)),
            candidates: evidence.candidates, samplePosition: sample.nextPosition)
    }

    /// Why the evidence is not even tried; nil when it may be.
    private func refusal(of evidence: ChangeEvidence) throws -> String? {
        guard let tip = timeline.tip else { return "there is no earlier snapshot" }
        guard evidence.since == tip.id else {
            let since = timeline.snapshots.first { $0.id == evidence.since }
            return "it lists changes since "
                + (since.map { "generation \($0.generation)" } ?? "another snapshot")
                + ", but this backup builds on generation \(tip.generation)"
        }
        guard let byteCount = source.byteCount else { return "a stream must be read completely" }
        guard byteCount == evidence.volumeByteCount, byteCount == tip.facts.byteCount else {
            return "the volume size changed"
        }
        if let reason = try repository.distrust(of: timeline.volume) {
            return "it was wrong before (\(reason)); use --trust-again to accept it"
        }
        guard request.source.isSameSource(as: tip.facts.source) else {
            return "the volume was captured from another source before"
        }
        guard let last = lastFullComparison(upTo: tip) else {
            return "there is no full comparison to start from"
        }
        let (age, overflows) = request.time.seconds.subtractingReportingOverflow(last.seconds)
        guard !overflows, age >= 0 else {
            return "the last full comparison is in the future (\(last.rfc3339))"
        }
        guard age <= Self.fullComparisonSeconds else {
            return "the last full comparison is more than 30 days ago (\(last.rfc3339))"
        }
        guard !context.looksForLoss else {
            return "the repository lost blocks, and this backup looks for them"
        }
        return nil
    }

    /// When every block was compared last, on the way that leads to `tip`.
    private func lastFullComparison(upTo tip: Snapshot) -> Timestamp? {
        var byID: [SnapshotID: Snapshot] = [:]
        for snapshot in timeline.snapshots { byID[snapshot.id] = snapshot }
        var snapshot: Snapshot? = tip
        while let current = snapshot {
            if current.facts.proof == .everyBlockCompared { return current.facts.time }
            // An id is a digest over the one before, so that there is no circle.
            snapshot = byID[current.facts.parent]
        }
        return nil
    }

    private func takeSample(
        _ evidence: ChangeEvidence,
        _ progress: CaptureProgress,
        _ idle: () -> Void
    ) throws -> UnchangedSample.Result {
        var sample = try UnchangedSample(
            context: context, source: source, byteCount: evidence.volumeByteCount,
            candidates: evidence.candidates)
        return try sample.run(
            from: context.history.memory.samplePosition, byteTarget: request.sampleByteTarget,
            secret: context.index.sampleSecret,
            progress: progress, idle: idle)
    }

    /// Withdraws trust from all evidence for the volume, for good.
    private func distrust(
        _ evidence: ChangeEvidence,
        _ lie: UInt64,
        _ identifiers: any IdentifierSource
    ) throws -> String {
        let offset = context.blockSize.byteOffset(ofBlock: lie)
        let reason =
            "the block at offset \(offset) changed since generation "
            + "\(timeline.tip?.generation ?? 0) but was not listed"
        if !request.isDryRun {
            try repository.setDistrust(
                reason, of: timeline.volume, on: evidence.since, time: request.time,
                identifiers: identifiers)
        }
        return reason
    }
}
