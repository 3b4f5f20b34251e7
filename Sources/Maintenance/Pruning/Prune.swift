package import BlockModel
internal import LinuxIO
internal import ObjectStore
internal import Packs
package import Repository
internal import RepositoryFormat
package import RepositoryIndex
package import RepositoryModel

extension Interrupted {
    /// What was done until then is done.
    static let ofPrune = Interrupted(consequence: "the next prune resumes it")
}

/// One prune: live counts → plan → delete what is dead → write again what is left of the mostly dead.
///
/// The page of documentation `Pruning` has the order of things and why it is safe.
package final class Prune {
    let repository: Repository
    let index: Index
    private let options: PruneOptions
    let identifiers: any IdentifierSource
    private let now: () -> Timestamp
    /// Largest of the packs that are written.
    package var packByteTarget = Format.packByteTarget
    /// Live bytes that are written again before the packs that they come from are deleted.
    package var batchByteCount: UInt64 = 256 << 20
    /// Sleeps for so many milliseconds.
    package var sleep: (UInt32) -> Void = { SystemClock.sleep(milliseconds: $0) }
    /// What is kept because it is not this repository's own.
    package private(set) var foreign: [ForeignObject] = []
    /// Called often while places are proved.
    package var renewHold: () -> Void = {}
    /// How the live counts were brought up to date last.
    package private(set) var liveCountReport = LiveCountReport()
    var reliances: DeletionProof?
    var salvaged: [ObjectID: Set<Digest>] = [:]
    private var attemptCount = 0
    /// Planning begins again when a place fails; each time fewer are left that may.
    private static let attemptLimit = 64

    /// Packs that were found not to hold what their tables say, where a deletion would have relied on it.
    package var falsePacks: [ObjectID] { (reliances?.falsePacks ?? []).sorted() }

    /// Prepares a prune of the repository, whose packs the index knows.
    package init(
        repository: Repository,
        index: Index,
        options: PruneOptions,
        identifiers: any IdentifierSource,
        now: @escaping () -> Timestamp
    ) {
        self.repository = repository
        self.index = index
        self.options = options
        self.identifiers = identifiers
        self.now = now
    }

    // MARK: Planning

    /// What there is to do.
    ///
    /// - Throws: ``RepositoryError`` of kind `damaged` when anything is: what that needs is not known.
    package func plan() throws -> PrunePlan {
        for entry in try repository.store.list(ObjectNames.volumes)
        where ObjectNames.parse(volumeEntry: entry.name) == nil {
            throw RepositoryError(
                .damaged,
                "\(entry.name) is not a valid name for an object of a volume, so nothing is "
                    + "deleted until this is fixed; run 'varve check'")
        }
        let timelines = try repository.timelines(cache: index)
        for timeline in timelines where !timeline.isSound {
            throw RepositoryError(
                .damaged,
                "volume '\(timeline.volume)' has damage, and what it needs is unknown: nothing is "
                    + "deleted until it is repaired; run 'varve check'")
        }
        liveCountReport = try index.updateLiveCounts(
            of: timelines, in: repository, now: now(),
            isRecount: options.isRecount && liveCountReport.reason == nil)
        foreign = try findForeign(timelines)
        try examineLosses()
        let isUnfinished = try unfinished(timelines)
        let tallies = try index.packTallies()
        let plan = PrunePlan(
            tallies, options, unreadable: try uselessUnreadablePacks(),
            badFrames: try mendedRottenPacks(tallies), mayBeUnfinished: isUnfinished)
        // One that was whole when the index took it in may not be any more.
        var unreadable: [ObjectID] = []
        for tally in plan.dead + plan.repacked {
            do {
                _ = try table(of: tally)
            } catch let error as RepositoryError where error.kind == .damaged {
                unreadable.append(tally.id)
            }
        }
        if unreadable.isEmpty {
            if try isProved(excludingPacks: Set((plan.dead + plan.repacked).map(\.number))) {
                return plan
            }
        } else {
            try index.learn(from: PackEvidence(unreadable: unreadable))
        }
        attemptCount += 1
        guard attemptCount < Self.attemptLimit else {
            throw RepositoryError(
                .failed,
                "blocks repeatedly failed to be read while the prune was planned, and "
                    + "nothing was deleted; run 'varve check --read-data', and prune again")
        }
        return try self.plan()
    }

    /// Tells which packs, of those that nothing needs, an interrupted backup may have left.
    private func unfinished(_ timelines: [Timeline]) throws -> (PackTally) -> Bool {
        var stored: [ObjectID: Int64] = [:]
        for entry in try repository.store.list(ObjectNames.packs) {
            if let id = ObjectNames.packID(of: entry.name) { stored[id] = entry.storedSeconds }
        }
        let newest = try repository.store.list(ObjectNames.volumes).compactMap { entry in
            if case .delta = ObjectNames.parse(volumeEntry: entry.name)?.1 {
                return entry.storedSeconds
            }
            return nil
        }.max()
        let hasUnfinishedBase = timelines.contains { $0.deltas.isEmpty }
        let oldest = now().seconds - options.minimumAgeSeconds
        return { tally in
            guard let time = stored[tally.id], time > oldest else { return false }
            return hasUnfinishedBase || newest.map { time > $0 } ?? true
        }
    }

    // MARK: Acting

    /// Does what `plan` says.
    ///
    /// - Parameters:
    ///   - plan: what ``plan()`` gave under `hold`.
    ///   - hold: the exclusive one on the repository.
    ///   - progress: gets the bytes of packs that are done with.
    /// - Returns: what was done.
    /// - Throws: ``RepositoryError``; what was done until then is done.
    package func run(
        _ plan: PrunePlan,
        hold: Hold,
        progress: (UInt64) -> Void
    ) throws -> PruneSummary {
        try repository.requireWritable()
        var summary = PruneSummary()
        var plan = plan
        // Planning may have taken longer than others wait for the hold: then what was planned is no plan.
        try hold.verify(now: now())
        try repository.clearUpAfterClients(cache: index, now: now())
        var run = PruneRun(prune: self, hold: hold)
        // One that is left is of no harm to anybody: captures and prunes drop it.
        defer { try? run.end() }
        try run.publish(plan.deletedPacks, time: now(), identifiers)
        if try removeExpiredHolds(beside: hold) {
            // Captures that believe in a hold which was taken from them end in this time.
            for _ in 0..<600 where !Interruption.isRequested { sleep(100) }
            // One that was renewed while it was being removed.
            for other in try repository.holds(on: .repository, now: now(), beside: hold)
            where other.state == .live && !hold.isSame(as: other) {
                throw RepositoryError(
                    .locked,
                    "another command uses the repository (\(other.record?.purpose ?? other.name)); "
                        + "nothing was deleted: prune again when it has ended")
            }
            try index.synchronizePacks(with: repository)
            plan = try self.plan().limited(to: plan)
        }
        var done: UInt64 = 0
        for packs in plan.dead.split(byBytes: .max, count: Self.packsTogether) {
            let tables = try packs.map { ($0, try table(of: $0)) }
            try requireDead(tables)
            try requireProved(tables)
            try run.delete(tables, now())
            summary.deletedPackCount += packs.count
            summary.deletedByteCount = SaturatingMath.sum(
                summary.deletedByteCount, packs.map(\.byteCount).saturatingSum)
            done += packs.reduce(0) { $0 + $1.byteCount }
            progress(done)
        }
        try run.delete(plan.unreadable, now())
        summary.deletedPackCount += plan.unreadable.count
        summary.deletedByteCount = SaturatingMath.sum(
            summary.deletedByteCount, plan.unreadableByteCount)
        for packs in plan.repacked.split(byBytes: batchByteCount, count: Self.packsTogether) {
            do {
                try repack(packs, &run, &summary)
            } catch let error as ObjectStoreError where error.reason == .noSpace {
                summary.isOutOfSpace = true
                break
            }
            done += packs.reduce(0) { $0 + $1.byteCount }
            progress(done)
        }
        try deleteLostParts(&run, &summary)
        return summary
    }

    private static let packsTogether = 64

    private func table(of tally: PackTally) throws -> PackTable {
        try repository.readPackTable(tally.id, byteCount: tally.byteCount)
    }

    private func repack(
        _ packs: [PackTally],
        _ run: inout PruneRun,
        _ summary: inout PruneSummary
    ) throws {
        let repacker = try Repacker(
            repository: repository, index: index, targetByteCount: packByteTarget,
            identifiers: identifiers)
        let excluded = Set(packs.map(\.number))
        var whole: [(tally: PackTally, table: PackTable)] = []
        for tally in packs {
            let table = try table(of: tally)
            let isWhole = try repacker.copy(tally, table, excludingPacks: excluded) {
                if Interruption.isRequested { throw Interrupted.ofPrune }
                try run.renew(now())
            }
            if isWhole {
                whole.append((tally, table))
            } else {
                summary.damagedPacks.append(tally.id)
            }
        }
        try repacker.finish()
        summary.writtenByteCount += repacker.storedByteCount
        // The new packs are in the live counts before the old ones leave them.
        _ = try index.updateLiveCounts(
            of: repository.timelines(cache: index), in: repository, now: now(), isRecount: false)
        try requireElsewhere(whole, excludingPacks: Set(whole.map(\.tally.number)))
        try requireProved(whole)
        try run.delete(whole, now())
        summary.repackedPackCount += whole.count
        summary.deletedByteCount = SaturatingMath.sum(
            summary.deletedByteCount, whole.map(\.tally.byteCount).saturatingSum)
    }

    /// Makes sure that nothing lives in packs of which the tallies say so.
    private func requireDead(_ packs: [(tally: PackTally, table: PackTable)]) throws {
        for (tally, table) in packs {
            let blocks = try index.counted(table, of: tally, excludingPacks: [])
            guard blocks.allSatisfy({ !$0.isLive }) else { throw Self.misfit(tally) }
        }
    }

    private static func misfit(_ tally: PackTally) -> RepositoryError {
        RepositoryError(
            .failed,
            "\(ObjectNames.pack(tally.id)) holds blocks that no other pack has, so it was not "
                + "deleted; run 'varve index rebuild' and prune again")
    }

    /// Makes sure, once more, that what is deleted is held elsewhere as far as it is live.
    private func requireElsewhere(
        _ packs: [(tally: PackTally, table: PackTable)],
        excludingPacks: Set<UInt32>
    ) throws {
        for (tally, table) in packs {
            let blocks = try index.counted(table, of: tally, excludingPacks: excludingPacks)
            guard blocks.allSatisfy({ !$0.isLive || !$0.elsewhere.isEmpty }) else {
                throw Self.misfit(tally)
            }
        }
    }

    /// Removes holds whose owners are gone; whether one of them may come back.
    ///
    /// One that does finds its hold missing before it commits.
    private func removeExpiredHolds(beside hold: Hold) throws -> Bool {
        var isAny = false
        for other in try repository.allHolds(now: now(), beside: hold) where other.state != .live {
            try repository.remove(other)
            if case .stale = other.state, other.record != nil { continue }
            isAny = true
        }
        return isAny
    }

    /// Deletes parts that no delta names: of captures and merges that were killed.
    private func deleteLostParts(_ run: inout PruneRun, _ summary: inout PruneSummary) throws {
        let parts = try repository.store.list(ObjectNames.parts)
        guard !parts.isEmpty else { return }
        func named(_ timelines: [Timeline]) -> Set<String>? {
            guard timelines.allSatisfy(\.isSound) else { return nil }
            return Set(
                timelines.flatMap(\.allDeltas).flatMap(\.head.parts).map {
                    ObjectNames.part($0.id)
                })
        }
        let remembered = named(try repository.timelines(cache: index))
        guard let remembered, !parts.allSatisfy({ remembered.contains($0.name) }),
            // What the index remembers is no reason to delete anything.
            let named = named(try repository.timelines())
        else { return }
        for part in parts where !named.contains(part.name) {
            guard try repository.foreign(part.name) == nil else { continue }
            try run.delete(part.name)
            summary.deletedPartCount += 1
            summary.deletedByteCount = SaturatingMath.sum(
                summary.deletedByteCount, part.byteCount)
        }
    }

    /// What a run has published, and what it needs to delete.
    private struct PruneRun {
        let prune: Prune
        let hold: Hold
        private var lists: [String] = []

        init(prune: Prune, hold: Hold) {
            self.prune = prune
            self.hold = hold
        }

        private var store: any ObjectStore { prune.repository.store }

        /// Says which packs are going to be deleted; what earlier prunes said is of no use any more.
        mutating func publish(
            _ packs: [ObjectID],
            time: Timestamp,
            _ identifiers: any IdentifierSource
        ) throws {
            try prune.repository.dropPruneLists()
            var rest = packs[...]
            repeat {
                let some = rest.prefix(PruneList.packLimit)
                let name = ObjectNames.pruneList(identifiers.next())
                let list = PruneList(time: time, packs: Array(some))
                try store.create(
                    name, list.encoded(name: name, identity: prune.repository.identity))
                lists.append(name)
                rest = rest.dropFirst(some.count)
            } while !rest.isEmpty
        }

        func renew(_ now: Timestamp) throws {
            try hold.verify(now: now)
            try hold.renew(now: now)
        }

        func delete(
            _ packs: [(tally: PackTally, table: PackTable)],
            _ now: Timestamp
        ) throws {
            if Interruption.isRequested { throw Interrupted.ofPrune }
            try renew(now)
            try prune.index.retire(packs)
            try delete(packs.map(\.tally.id))
        }

        /// Deletes packs that cannot be read, of which the index has nothing.
        func delete(_ packs: [PrunePlan.UnreadablePack], _ now: Timestamp) throws {
            guard !packs.isEmpty else { return }
            try renew(now)
            try delete(packs.map(\.id))
        }

        private func delete(_ packs: [ObjectID]) throws {
            for pack in packs { try delete(ObjectNames.pack(pack)) }
        }

        /// Deletes an object if nobody can have begun to rely on it since that was published.
        func delete(_ name: String) throws {
            try hold.verify(now: prune.now())
            for list in lists { _ = try store.byteCount(of: list) }
            // One that a crash brings back is found dead again.
            try store.delete(name, .eventual)
        }

        func end() throws {
            for list in lists { try store.delete(list, .eventual) }
        }
    }
}

extension PrunePlan {
    /// What of this another plan has too.
    fileprivate func limited(to other: PrunePlan) -> PrunePlan {
        var plan = self
        let known = Set(other.deletedPacks)
        plan.keep { known.contains($0) }
        return plan
    }
}

extension Array where Element == PackTally {
    /// In groups of so many bytes that are left, and so many packs.
    fileprivate func split(byBytes limit: UInt64, count countLimit: Int) -> [[PackTally]] {
        var groups: [[PackTally]] = []
        var byteCount: UInt64 = 0
        for tally in self {
            if groups.isEmpty || byteCount >= limit || groups[groups.count - 1].count >= countLimit
            {
                groups.append([])
                byteCount = 0
            }
            groups[groups.count - 1].append(tally)
            byteCount += tally.byteCount - Swift.min(tally.byteCount, tally.unusedByteCount)
        }
        return groups
    }
}
