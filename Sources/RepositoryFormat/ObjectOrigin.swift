package import BlockModel
internal import Hashing

/// What the header of any object says of where it comes from, whichever version of the format wrote it.
///
/// Headers of all versions keep their fixed part, their name and their checksum where ``ObjectHeader`` has
/// them; whether the rest can be read is another question.
package struct ObjectOrigin: Hashable, Sendable {
    package let version: UInt16
    package private(set) var kind: UInt8
    package let digestKind: UInt8
    package let blockByteCount: UInt32
    package let repository: ObjectID
    /// Zero for what is not sealed.
    package let keyEpoch: UInt32
    package private(set) var name: String

    /// Reads the beginning of an object; nil where no header is, or a damaged one.
    package init?(_ bytes: [UInt8]) {
        do throws(FormatError) {
            try self.init(decoding: bytes)
        } catch {
            return nil
        }
    }

    private init(decoding bytes: [UInt8]) throws(FormatError) {
        var reader = ByteReader(bytes)
        guard try reader.integer(UInt64.self) == Format.objectMagic else { throw .badMagic }
        version = try reader.integer(UInt16.self)
        kind = try reader.integer(UInt8.self)
        digestKind = try reader.integer(UInt8.self)
        blockByteCount = try reader.integer(UInt32.self)
        repository = try reader.objectID()
        keyEpoch = try reader.integer(UInt32.self)
        let nameByteCount = Int(try reader.integer(UInt16.self))
        guard nameByteCount <= Format.nameByteLimit else { throw .badValue("name length") }
        _ = try reader.take(2)
        name = String(decoding: try reader.take(nameByteCount), as: UTF8.self)
        let covered = bytes.rawSpan.extracting(0..<ObjectHeader.fixedByteCount + nameByteCount)
        guard try reader.integer(UInt64.self) == XXH3.hash64(covered) else { throw .badChecksum }
    }

    /// The same without what objects of one repository differ in.
    package var anonymous: ObjectOrigin {
        var copy = self
        copy.kind = 0
        copy.name = ""
        return copy
    }

    /// Whether this program can read such objects as far as their headers tell.
    package var isKnown: Bool {
        version == Format.version && keyEpoch == 0 && identity != nil
    }

    /// What all objects of its repository have in common; nil for what this program does not know.
    package var identity: RepositoryIdentity? {
        guard let size = BlockSize(byteCount: Int(blockByteCount)),
            let digestKind = DigestKind(rawValue: digestKind)
        else { return nil }
        return RepositoryIdentity(id: repository, blockSize: size, digestKind: digestKind)
    }
}
