package import BlockModel
internal import ObjectStore
internal import RepositoryFormat

extension Repository {
    /// Whether a volume has so many deltas that ``consolidate(_:_:identifiers:partByteLimit:lengthLimit:)``
    /// may find something to do; costs nothing.
    package static func mayNeedConsolidation(_ timeline: Timeline) -> Bool {
        timeline.deltas.count > ShortCutPlan.lengthLimit
    }

    /// Writes short cuts where the way to the newest snapshot of a volume has become long.
    ///
    /// The volume is held exclusively.
    ///
    /// - Parameters:
    ///   - timeline: the volume as it is now.
    ///   - index: the index, which knows its snapshots.
    ///   - identifiers: gives new ids.
    ///   - partByteLimit: largest part of a map.
    ///   - lengthLimit: deltas that the way may have; nil for the standard.
    /// - Returns: how many were written.
    /// - Throws: what the store throws.
    package func consolidate(
        _ timeline: Timeline,
        _ index: Index,
        identifiers: any IdentifierSource,
        partByteLimit: Int = Format.partByteLimit,
        lengthLimit: Int? = nil
    ) throws -> Int {
        let plan = ShortCutPlan(
            timeline, lengthLimit: lengthLimit ?? ShortCutPlan.lengthLimit)
        guard !plan.shortCuts.isEmpty else { return 0 }
        try index.bringForward(timeline, with: self)
        var deltas: [ShortCutPlan.Step: KnownDelta] = [:]
        for delta in timeline.deltas {
            deltas[ShortCutPlan.Step(from: delta.head.from, to: delta.head.to)] = delta
        }
        var count = 0
        for shortCut in plan.shortCuts {
            // One that could not be proved is not there for those that were to skip over it.
            let parts = shortCut.steps.compactMap { deltas[$0] }
            guard parts.count == shortCut.steps.count else { continue }
            var merge = try DeltaMerge(parts, of: self)
            let delta = try merge.write(identifiers: identifiers, partByteLimit: partByteLimit)
            let isProved: Bool
            do {
                isProved = try index.confirms(delta, of: self) == true
            } catch {
                try store.delete(delta.name.objectName, .durable)
                throw error
            }
            guard isProved else {
                try store.delete(delta.name.objectName, .durable)
                continue
            }
            deltas[ShortCutPlan.Step(from: shortCut.from, to: shortCut.to)] = delta
            count += 1
        }
        return count
    }
}
