package import BlockModel
internal import ObjectStore
package import Repository
internal import RepositoryFormat
package import RepositoryIndex

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
        let limit = lengthLimit ?? ShortCutPlan.lengthLimit
        guard !ShortCutPlan(timeline, lengthLimit: limit).shortCuts.isEmpty else { return 0 }
        var count = 0
        var timeline = timeline
        var unreadable: [Timeline.Unproved] = []
        while true {
            // Nothing is merged but along deltas that were proved.
            let judged = try index.judged(timeline, with: self).excluding(unreadable)
            do {
                try consolidate(
                    judged, index, identifiers, partByteLimit, lengthLimit: limit, &count)
                return count
            } catch let error as UnreadableDelta {
                // It was proved once. Another path may do, and what was written is there.
                unreadable.append(Timeline.Unproved(error))
                guard judged.excluding(unreadable).isSound else { throw error.error }
                timeline = try self.timeline(of: timeline.volume)
            }
        }
    }

    /// Writes short cuts of a timeline that was judged, and counts them.
    private func consolidate(
        _ timeline: Timeline,
        _ index: Index,
        _ identifiers: any IdentifierSource,
        _ partByteLimit: Int,
        lengthLimit limit: Int,
        _ count: inout Int
    ) throws {
        let plan = ShortCutPlan(timeline, lengthLimit: limit)
        var deltas: [ShortCutPlan.Step: KnownDelta] = [:]
        for delta in timeline.deltas {
            deltas[ShortCutPlan.Step(from: delta.head.from, to: delta.head.to)] = delta
        }
        for shortCut in plan.shortCuts {
            // One that could not be proved is not there for those that were to skip over it.
            let parts = shortCut.steps.compactMap { deltas[$0] }
            guard parts.count == shortCut.steps.count else { continue }
            var merge = try DeltaMerge(parts, of: self)
            let delta = try merge.write(identifiers: identifiers, partByteLimit: partByteLimit)
            let isProved: Bool
            do {
                isProved = try index.proves(delta, in: timeline, with: self)
            } catch {
                try store.deleteIfAllowed(delta.name.objectName, .durable)
                throw error
            }
            guard isProved else {
                try store.deleteIfAllowed(delta.name.objectName, .durable)
                continue
            }
            deltas[ShortCutPlan.Step(from: shortCut.from, to: shortCut.to)] = delta
            count += 1
        }
    }
}
