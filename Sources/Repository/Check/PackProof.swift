internal import BlockModel
internal import LinuxIO
internal import RepositoryFormat

/// Reads a whole pack and proves every byte of it; belongs to one thread.
final class PackProof {
    struct Damage: Sendable {
        let object: String
        let reason: String
        /// A digest that no other place gives either.
        let lost: Digest?
    }

    private let repository: Repository
    private let index: Index
    private let reader: BlockReader
    private let scratch: AlignedBuffer

    init(_ repository: Repository, _ index: Index) throws {
        self.repository = repository
        self.index = index
        reader = try BlockReader(repository: repository, index: index, readsWholeFrames: true)
        scratch = try AlignedBuffer(byteCount: repository.blockSize.byteCount)
    }

    /// Decodes every frame and compares every block with its digest.
    func run(_ pack: PackRecord) throws -> [Damage] {
        let name = ObjectNames.pack(pack.id)
        let table: PackTable
        do {
            table = try repository.readPackTable(pack.id, byteCount: pack.byteCount)
        } catch let error as RepositoryError where error.kind == .damaged {
            return [Damage(object: name, reason: error.description, lost: nil)]
        }
        var damage: [Damage] = []
        var position = 0
        for frame in table.frames {
            for slot in 0..<frame.header.blockCount {
                let digest = table.digests[position]
                position += 1
                let place = Place(
                    pack: pack.number, frame: frame, slot: slot)
                do {
                    try reader.prove(place, digest, scratch: scratch)
                } catch {
                    let isLost = !hasOtherPlace(digest, than: place)
                    damage.append(
                        Damage(
                            object: name,
                            reason: "frame at \(frame.byteOffset): \(error)",
                            lost: isLost ? digest : nil))
                }
            }
            if Interruption.isRequested { throw CheckInterrupted() }
        }
        return damage
    }

    /// The patches of a pack, with what they are patches of; those that cannot be read are left to
    /// the reading of data.
    func patches(
        of pack: PackRecord
    ) throws -> [(depth: UInt8, digest: Digest, prefixes: [Digest])] {
        guard let table = try? repository.readPackTable(pack.id, byteCount: pack.byteCount) else {
            return []
        }
        var patches: [(depth: UInt8, digest: Digest, prefixes: [Digest])] = []
        var position = 0
        for frame in table.frames {
            let place = Place(pack: pack.number, frame: frame, slot: 0)
            if frame.header.kind.isPatch, let prefixes = try? reader.prefixes(of: place) {
                patches.append((frame.header.depth, table.digests[position], prefixes))
            }
            position += frame.header.blockCount
        }
        return patches
    }

    private func hasOtherPlace(_ digest: Digest, than place: Place) -> Bool {
        guard let number = try? index.find(digest)?.number,
            let places = try? index.allPlaces(of: number)
        else { return false }
        return places.contains { other in
            other != place && (try? reader.prove(other, digest, scratch: scratch)) != nil
        }
    }
}
