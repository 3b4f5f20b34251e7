package import BlockModel

/// Where each kind of object stands; the inverse of every name that is parsed is here too.
package enum ObjectNames {
    package static let configuration = "config"
    package static let packs = "packs/"
    package static let volumes = "volumes/"
    package static let parts = "parts/"
    package static let notes = "notes/"
    package static let locks = "locks/"
    package static let pruning = "pruning/"

    package static func pack(_ id: ObjectID) -> String {
        packs + id.hexadecimal.prefix(2) + "/" + id.hexadecimal
    }

    package static func packID(of name: String) -> ObjectID? {
        guard let last = name.split(separator: "/").last,
            let id = ObjectID(hexadecimal: String(last)),
            pack(id) == name
        else { return nil }
        return id
    }

    package static func part(_ id: ObjectID) -> String { parts + id.hexadecimal }

    package static func volume(_ volume: VolumeName) -> String { volumes + volume.rawValue + "/" }

    package static func delta(
        of volume: VolumeName,
        from: Generation,
        to: Generation,
        id: ObjectID
    ) -> String {
        self.volume(volume) + padded(from) + "-" + padded(to) + "." + id.hexadecimal
    }

    package static func newest(of volume: VolumeName, generation: Generation, id: ObjectID)
        -> String
    {
        self.volume(volume) + "newest." + padded(generation) + "." + id.hexadecimal
    }

    /// What stands under `volumes/`.
    package enum VolumeEntry: Hashable, Sendable {
        case delta(DeltaName)
        case newest(generation: Generation, id: ObjectID)
    }

    /// The volume and the meaning of a name under `volumes/`; nil when it has neither.
    package static func parse(volumeEntry name: String) -> (VolumeName, VolumeEntry)? {
        let path = name.split(separator: "/", omittingEmptySubsequences: false)
        guard path.count == 3, path[0] + "/" == volumes, let volume = VolumeName(String(path[1]))
        else { return nil }
        let fields = path[2].split(separator: ".", omittingEmptySubsequences: false)
        if fields.count == 3, fields[0] == "newest", let generation = generation(fields[1]),
            let id = ObjectID(hexadecimal: String(fields[2]))
        {
            return (volume, .newest(generation: generation, id: id))
        }
        guard fields.count == 2, let id = ObjectID(hexadecimal: String(fields[1])) else {
            return nil
        }
        let ends = fields[0].split(separator: "-", omittingEmptySubsequences: false)
        guard ends.count == 2, let from = generation(ends[0]), let to = generation(ends[1]),
            from < to
        else { return nil }
        return (volume, .delta(DeltaName(volume: volume, from: from, to: to, id: id)))
    }

    package static func note(
        on snapshot: SnapshotID,
        of volume: VolumeName,
        number: Int,
        id: ObjectID
    ) -> String {
        notes + volume.rawValue + "/" + snapshot.hexadecimal + "." + padded(UInt64(number)) + "."
            + id.hexadecimal
    }

    package static func hold(scope: HoldScope, kind: HoldKind, id: ObjectID) -> String {
        locks + scope.directory + "/" + kind.rawValue + "." + id.hexadecimal
    }

    private static func padded(_ generation: Generation) -> String {
        let digits = String(generation)
        return String(repeating: "0", count: max(0, 12 - digits.utf8.count)) + digits
    }

    private static func generation(_ text: Substring) -> Generation? {
        // Twelve digits keep listings in order, and leave a number to follow.
        guard text.utf8.count == 12, let value = UInt64(text), padded(value) == text else {
            return nil
        }
        return value
    }
}

/// The name of a delta, taken apart.
package struct DeltaName: Hashable, Sendable {
    package let volume: VolumeName
    package let from: Generation
    package let to: Generation
    package let id: ObjectID

    package init(volume: VolumeName, from: Generation, to: Generation, id: ObjectID) {
        self.volume = volume
        self.from = from
        self.to = to
        self.id = id
    }

    package var objectName: String {
        ObjectNames.delta(of: volume, from: from, to: to, id: id)
    }
}
