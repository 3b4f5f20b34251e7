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
    package static let features = "features/"
    /// A file that is no object: space set aside.
    package static let reserve = "reserve"

    package static func pack(_ id: ObjectID) -> String {
        packs + id.hexadecimal.prefix(2) + "/" + id.hexadecimal
    }

    package static func packID(of name: String) -> ObjectID? {
        let bytes = Array(name.utf8)
        let shard = packs.utf8.count
        let start = shard + 3
        guard bytes.starts(with: packs.utf8), bytes.count > start,
            let id = ObjectID(hexadecimalDigits: bytes[start...]),
            bytes[shard..<shard + 2] == bytes[start..<start + 2],
            bytes[shard + 2] == UInt8(ascii: "/")
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
        let bytes = Array(name.utf8)
        guard bytes.starts(with: volumes.utf8),
            let slash = bytes.lastIndex(of: UInt8(ascii: "/")), slash >= volumes.utf8.count,
            let volume = VolumeName(
                String(decoding: bytes[volumes.utf8.count..<slash], as: UTF8.self)),
            let dot = bytes.lastIndex(of: UInt8(ascii: ".")), dot > slash,
            let id = ObjectID(hexadecimalDigits: bytes[(dot + 1)...])
        else { return nil }
        let field = bytes[(slash + 1)..<dot]
        let newest = "newest.".utf8
        if field.starts(with: newest) {
            guard let generation = generation(field.dropFirst(newest.count)) else { return nil }
            return (volume, .newest(generation: generation, id: id))
        }
        guard field.count == 2 * generationDigitCount + 1,
            field.dropFirst(generationDigitCount).first == UInt8(ascii: "-"),
            let from = generation(field.prefix(generationDigitCount)),
            let to = generation(field.suffix(generationDigitCount)), from < to
        else { return nil }
        return (volume, .delta(DeltaName(volume: volume, from: from, to: to, id: id)))
    }

    /// The generation in the name of a marker; nil for another name.
    package static func newestGeneration(of name: String) -> Generation? {
        guard case .newest(let generation, _) = parse(volumeEntry: name)?.1 else { return nil }
        return generation
    }

    package static func notes(of volume: VolumeName) -> String { notes + volume.rawValue + "/" }

    /// The highest number that a note's name has room for.
    package static let noteNumberLimit = generationLimit
    /// The highest generation that a name has room for.
    package static let generationLimit: Generation = 999_999_999_999

    /// The number in the name of a note: the higher, the newer; nil for another name.
    package static func noteNumber(of name: String) -> Generation? {
        let fields = name.utf8.split(separator: UInt8(ascii: "."))
        guard fields.count >= 3 else { return nil }
        return generation(Array(fields[fields.count - 2])[...])
    }

    /// The volume in the name of a note; nil for another name.
    package static func noteVolume(of name: String) -> VolumeName? {
        let parts = name.split(separator: "/")
        return parts.count == 3 ? VolumeName(String(parts[1])) : nil
    }

    /// The snapshot in the name of a note; nil for another name.
    package static func noteSnapshot(of name: String) -> SnapshotID? {
        guard let last = name.utf8.split(separator: UInt8(ascii: "/")).last,
            let digits = last.split(separator: UInt8(ascii: ".")).first
        else { return nil }
        return Digest(hexadecimal: String(decoding: digits, as: UTF8.self)).map { SnapshotID($0) }
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

    package static func pruneList(_ id: ObjectID) -> String { pruning + id.hexadecimal }

    package static func featureSet(_ features: FeatureSet, id: ObjectID) -> String {
        self.features + hexadecimal(features.required) + "-" + hexadecimal(features.optional) + "."
            + id.hexadecimal
    }

    /// What a name below `features/` says; nil for another name.
    package static func features(of name: String) -> FeatureSet? {
        let bytes = Array(name.utf8)
        let (start, count) = (features.utf8.count, 16)
        guard bytes.starts(with: features.utf8), bytes.count > start + 2 * count + 2,
            bytes[start + count] == UInt8(ascii: "-"),
            bytes[start + 2 * count + 1] == UInt8(ascii: "."),
            ObjectID(hexadecimalDigits: bytes[(start + 2 * count + 2)...]) != nil,
            let required = word(bytes[start..<start + count]),
            let optional = word(bytes[start + count + 1..<start + 2 * count + 1])
        else { return nil }
        return FeatureSet(required: required, optional: optional)
    }

    private static func hexadecimal(_ word: UInt64) -> String {
        let digits = String(word, radix: 16)
        return String(repeating: "0", count: 16 - digits.utf8.count) + digits
    }

    private static func word(_ digits: ArraySlice<UInt8>) -> UInt64? {
        let text = String(decoding: digits, as: UTF8.self)
        guard let word = UInt64(text, radix: 16), hexadecimal(word) == text else { return nil }
        return word
    }

    /// Twelve digits keep listings in order, and leave a number to follow.
    private static let generationDigitCount = 12

    private static func padded(_ generation: Generation) -> String {
        let digits = String(generation)
        let missing = max(0, generationDigitCount - digits.utf8.count)
        return String(repeating: "0", count: missing) + digits
    }

    private static func generation(_ digits: ArraySlice<UInt8>) -> Generation? {
        guard digits.count == generationDigitCount else { return nil }
        var value: Generation = 0
        for digit in digits {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
            value = value * 10 + Generation(digit - UInt8(ascii: "0"))
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
