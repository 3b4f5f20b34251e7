internal import BlockModel
internal import LinuxIO
internal import Packs
internal import Repository
internal import RepositoryFormat
internal import RepositoryIndex

/// Reads a whole pack and proves every byte of it; belongs to one thread.
final class PackProof {
    /// Something wrong with a pack: with one of its frames, or, without one, with its table.
    struct Damage: Sendable {
        let pack: ObjectID
        let frame: UInt32?
        let reason: String
        /// Digests that nothing gives, neither this frame as far as it can be decoded nor another.
        var lost: [Digest] = []
        /// Whether nothing but what a patch is a patch of is at fault.
        var isBelowPatch = false
    }

    private let repository: Repository
    private let index: Index
    private let reader: BlockReader
    /// Makes do with as much of a frame as is needed, as restores do.
    private let lenientReader: BlockReader
    private let scratch: AlignedBuffer

    init(_ repository: Repository, _ index: Index) throws {
        self.repository = repository
        self.index = index
        reader = try BlockReader(repository: repository, index: index, readsWholeFrames: true)
        lenientReader = try BlockReader(repository: repository, index: index)
        scratch = try AlignedBuffer(byteCount: repository.blockSize.byteCount)
    }

    /// Decodes every frame and compares every block with its digest.
    func run(_ pack: PackRecord) throws -> [Damage] {
        let table: PackTable
        do {
            table = try repository.readPackTable(pack.id, byteCount: pack.byteCount)
        } catch let error as RepositoryError where error.kind == .damaged {
            return [Damage(pack: pack.id, frame: nil, reason: error.cause)]
        }
        var damage: [Damage] = []
        var position = 0
        for frame in table.frames {
            var ofFrame: Damage?
            for slot in 0..<frame.header.blockCount {
                let digest = table.digests[position]
                position += 1
                let place = Place(pack: pack.number, frame: frame, slot: slot)
                do {
                    try reader.prove(place, digest, scratch: scratch)
                } catch {
                    let isLost = !isReadable(digest)
                    // The frame that is to blame is a finding of its own.
                    if error is DamageBelowPatch, !isLost { continue }
                    let cause = RepositoryError.cause(of: error)
                    if ofFrame == nil {
                        ofFrame = Damage(pack: pack.id, frame: frame.byteOffset, reason: cause)
                        ofFrame?.isBelowPatch = error is DamageBelowPatch
                    }
                    if isLost { ofFrame?.lost.append(digest) }
                }
            }
            if let ofFrame { damage.append(ofFrame) }
            if Interruption.isRequested { throw Interrupted.ofCheck }
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

    /// Whether some place still gives the bytes of `digest`.
    func isReadable(_ digest: Digest) -> Bool {
        // Its places are not listed for that: somebody may have written very many.
        guard let number = try? index.numberOf(digest) else { return false }
        return
            (try? scratch.withMutableBytes {
                try lenientReader.read(number, digest: digest, into: &$0)
            }) != nil
    }
}
