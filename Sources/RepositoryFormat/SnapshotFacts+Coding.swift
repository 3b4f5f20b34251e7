package import BlockModel
internal import Hashing
package import RepositoryModel

/// How facts are stored in a delta, and the id that they make.
extension SnapshotFacts {
    /// The id: a digest over what was captured; never over counts, duration or tags.
    package var snapshotID: SnapshotID {
        var writer = ByteWriter()
        writer.append("varve snapshot 1")
        writer.append(time.seconds)
        writer.append(time.nanoseconds)
        writer.append(byteCount)
        appendSource(to: &writer)
        writer.append(method.rawValue)
        writer.append(proof.rawValue)
        writer.append(consistency.rawValue)
        writer.append(imageDigest)
        writer.append(parent)
        let hash = SHA256()
        hash.update(writer.bytes.rawSpan)
        return SnapshotID(Digest(hash.finish()))
    }

    private func appendSource(to writer: inout ByteWriter) {
        writer.append(source.kind.rawValue)
        writer.append(source.machine)
        writer.append(source.path)
        writer.append(source.serial)
        writer.append(source.sectorByteCount)
    }

    func append(to writer: inout ByteWriter) {
        writer.append(time.seconds)
        writer.append(time.nanoseconds)
        writer.append(byteCount)
        writer.append(method.rawValue)
        writer.append(proof.rawValue)
        writer.append(consistency.rawValue)
        writer.append(UInt8(0))
        writer.append(imageDigest)
        writer.append(parent)
        writer.append(parentGeneration)
        writer.append(setID)
        writer.append(origin)
        writer.append(durationNanoseconds)
        writer.append(bytesRead)
        writer.append(blocksChanged)
        writer.append(bytesChanged)
        writer.append(bytesStored)
        appendSource(to: &writer)
        writer.append(UInt16(clamping: tags.count))
        for tag in tags.prefix(Int(UInt16.max)) { writer.append(tag) }
    }

    init(decoding reader: inout ByteReader) throws(FormatError) {
        let seconds = try reader.signedInteger()
        let time = Timestamp(seconds: seconds, nanoseconds: try reader.integer(UInt32.self))
        let byteCount = try reader.integer(UInt64.self)
        let method: DetectionMethod = try reader.storedValue("method")
        let proof: ChangeProof = try reader.storedValue("proof")
        let consistency: Consistency = try reader.storedValue("consistency")
        try reader.zeros(1)
        let imageDigest = try reader.digest()
        let parent = SnapshotID(try reader.digest())
        let parentGeneration = try reader.integer(UInt64.self)
        let setID = try reader.objectID()
        let origin = SnapshotID(try reader.digest())
        var counts: [UInt64] = []
        for _ in 0..<5 { counts.append(try reader.integer(UInt64.self)) }
        let source = try SourceIdentity(decoding: &reader)
        var tags: [String] = []
        for _ in 0..<(try reader.integer(UInt16.self)) { tags.append(try reader.text()) }
        self.init(
            time: time, byteCount: byteCount, source: source, method: method,
            consistency: consistency, parent: parent, parentGeneration: parentGeneration,
            tags: tags)
        self.proof = proof
        self.imageDigest = imageDigest
        self.setID = setID
        self.origin = origin
        durationNanoseconds = counts[0]
        bytesRead = counts[1]
        blocksChanged = counts[2]
        bytesChanged = counts[3]
        bytesStored = counts[4]
    }
}

extension SourceIdentity {
    fileprivate init(decoding reader: inout ByteReader) throws(FormatError) {
        let kind: Kind = try reader.storedValue("source kind")
        let machine = try reader.text()
        let path = try reader.text()
        self.init(
            kind: kind, machine: machine, path: path, serial: try reader.text(),
            sectorByteCount: try reader.integer(UInt32.self))
    }
}

extension ByteReader {
    /// A value of which later versions may know more; none is zero.
    mutating func storedValue<Value: StoredValue>(_ what: String) throws(FormatError) -> Value {
        let value = try integer(UInt8.self)
        guard value != 0 else { throw .badValue(what) }
        return Value(rawValue: value)
    }
}

extension Digest {
    /// The digest that libcrypto gave as four big-endian words.
    package init(_ words: (UInt64, UInt64, UInt64, UInt64)) {
        self.init(words: words.0, words.1, words.2, words.3)
    }
}
