import BlockModel
import RepositoryFormat
import RepositoryModel

@testable import Maintenance
@testable import Repository
@testable import RepositoryIndex

/// Deltas between snapshots that are told apart by a letter: enough for what needs no blocks.
struct Chain {
    static let volume = name("disk")

    static func name(_ text: String) -> VolumeName {
        guard let name = VolumeName(text) else { preconditionFailure() }
        return name
    }

    /// The facts of snapshot `letter`, the same wherever it is named.
    static func facts(_ letter: String) -> SnapshotFacts {
        SnapshotFacts(
            time: Timestamp(seconds: 1_795_356_000), byteCount: 1 << 20,
            source: SourceIdentity(
                kind: .file, machine: "m", path: letter, serial: "", sectorByteCount: 512),
            method: .fullComparison, consistency: .atRest, parent: .nothing, parentGeneration: 0,
            tags: [])
    }

    static func id(_ letter: String) -> SnapshotID { facts(letter).snapshotID }

    /// A delta from snapshot `from`, nil for nothing, to snapshot `to`.
    static func delta(
        _ from: (String, Generation)?,
        _ to: (String, Generation),
        blocks: UInt64 = 1,
        object: UInt64 = 0
    ) -> KnownDelta {
        var head = DeltaHead(
            from: from.map { id($0.0) } ?? .nothing, fromGeneration: from?.1 ?? 0,
            fromByteCount: from == nil ? 0 : 1 << 20, toGeneration: to.1, facts: facts(to.0))
        head.dataBlockCount = blocks
        let name = DeltaName(
            volume: volume, from: from?.1 ?? 0, to: to.1,
            id: ObjectID(high: object, low: UInt64(to.0.utf8.first ?? 0)))
        return KnownDelta(name: name, head: head)
    }

    static func marker(_ letter: String, _ generation: Generation) -> NewestMarker {
        NewestMarker(
            volume: volume, generation: generation,
            snapshot: generation == 0 ? .nothing : id(letter),
            delta: ObjectID(high: 9, low: generation))
    }

    static func snapshot(_ letter: String, _ generation: Generation) -> Snapshot {
        Snapshot(id: id(letter), generation: generation, facts: facts(letter))
    }

    static func timeline(
        _ deltas: [KnownDelta],
        _ newest: NewestMarker?,
        unreadable: [(name: DeltaName, reason: String)] = [],
        unreadableMarkers: [String] = []
    ) -> Timeline {
        Timeline(
            volume: volume, deltas: deltas, unreadable: unreadable,
            markers: newest.map { [$0] } ?? [], unreadableMarkers: unreadableMarkers)
    }

    /// Nothing → a → b → … for so many letters, generations from 1.
    static func linear(_ count: Int) -> [KnownDelta] {
        let letters = "abcdefghijklmnop".map(String.init)
        var deltas: [KnownDelta] = []
        for step in 0..<count {
            let from = step == 0 ? nil : (letters[step - 1], Generation(step))
            deltas.append(delta(from, (letters[step], Generation(step + 1))))
        }
        return deltas
    }
}
