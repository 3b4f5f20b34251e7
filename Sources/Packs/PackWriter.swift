package import BlockModel
internal import ObjectStore
package import Repository
package import RepositoryFormat
package import RepositoryIndex
internal import Synchronization

/// Collects the frames of a capture into packs; shared by its worker threads.
///
/// A pack that is full is finished by the thread that filled it while the others go on with the
/// next. Durable packs enter the index, some together, so that their blocks are found there; until
/// then their digests are in the book of pending ones.
package final class PackWriter: Sendable {
    private struct OpenPack {
        let id: ObjectID
        /// Counts the packs of this capture, from 1.
        let ordinal: Int
        let object: PackObject
        var byteCount: Int
        var table = PackTable()

        /// Gives the next frame its place in the pack.
        mutating func reserve(
            _ frame: RawSpan,
            _ header: FrameHeader,
            _ digests: ArraySlice<Digest>
        ) -> UInt64 {
            let turn = UInt64(table.frames.count)
            table.append(
                FrameEntry(byteOffset: UInt32(byteCount), header: header), digests: digests)
            byteCount += frame.byteCount
            return turn
        }
    }

    private struct State {
        var pack: OpenPack?
        /// Digests that the index does not have yet, each with the pack that holds its block in
        /// full: 0 while none does.
        var pending: [Digest: Int] = [:]
        var lastOrdinal = 0
        /// Packs that are full and not durable yet.
        var unfinished: Set<Int> = []
        var finished: [ObjectID] = []
        /// Durable packs that the index does not have yet.
        var unindexed: [(id: ObjectID, byteCount: UInt64, table: PackTable)] = []
        var storedByteCount: UInt64 = 0

        func holdsInFull(_ digest: Digest) -> Bool {
            guard let ordinal = pending[digest], ordinal > 0 else { return false }
            return !unfinished.contains(ordinal)
        }

        /// Takes no more into the open pack.
        mutating func close() {
            if let pack { unfinished.insert(pack.ordinal) }
            pack = nil
        }
    }

    /// Blocks that enter the index together: every transaction leaves old pages behind.
    private static let indexedTogetherCount = 1 << 15

    private let repository: Repository
    private let index: Index
    private let targetByteCount: Int
    private let identifiers: any IdentifierSource
    private let state: Mutex<State>

    package init(
        repository: Repository,
        index: Index,
        targetByteCount: Int = Format.packByteTarget,
        identifiers: any IdentifierSource
    ) {
        self.repository = repository
        self.index = index
        self.identifiers = identifiers
        self.targetByteCount = min(targetByteCount, Format.packByteTarget)
        state = Mutex(State())
    }

    /// Reserves `digest` for the caller, who must then either store it or give it back; false when
    /// another thread has it in hand or in an unfinished pack.
    package func claim(_ digest: Digest) -> Bool {
        state.withLock { state in
            guard state.pending[digest] == nil else { return false }
            state.pending[digest] = 0
            return true
        }
    }

    /// Gives back a claim, because the block turned out to be in the repository.
    package func unclaim(_ digest: Digest) {
        state.withLock { _ = $0.pending.removeValue(forKey: digest) }
    }

    /// Whether this capture stored the block in full, in a pack that is durable or will become so
    /// together with what is appended next.
    package func holdsInFull(_ digest: Digest) -> Bool {
        state.withLock { $0.holdsInFull(digest) }
    }

    /// Bytes of the packs that are finished.
    package var storedByteCount: UInt64 { state.withLock { $0.storedByteCount } }

    package var finishedPacks: [ObjectID] { state.withLock { $0.finished } }

    /// Adds a complete frame (header and payload) that holds the blocks of `digests`, all claimed.
    ///
    /// - Returns: false, with nothing done, for a patch of a block whose pack could be lost in a
    ///   crash that this patch survives.
    package func append(
        frame: RawSpan,
        header: FrameHeader,
        digests: ArraySlice<Digest>
    ) throws -> Bool {
        let place = try state.withLock { state -> (pack: OpenPack, turn: UInt64, isLast: Bool)? in
            let isSafe = header.prefixes.allSatisfy { prefix in
                !state.unfinished.contains(state.pending[prefix] ?? 0)
            }
            guard isSafe else { return nil }
            var pack = try state.pack ?? newPack(&state)
            if !header.kind.isPatch {
                for digest in digests { state.pending[digest] = pack.ordinal }
            }
            let turn = pack.reserve(frame, header, digests)
            state.pack = pack
            let isLast = isFull(pack)
            if isLast { state.close() }
            return (pack, turn, isLast)
        }
        guard let (pack, turn, isLast) = place else { return false }
        try pack.object.append(frame, turn: turn)
        // All others had their turn before.
        if isLast { try finish(pack) }
        return true
    }

    /// Makes the last pack durable.
    package func finish() throws {
        let last = state.withLock { state -> OpenPack? in
            defer { state.close() }
            return state.pack
        }
        if let last { try finish(last) }
        try indexPacks(atLeast: 1)
    }

    private func newPack(_ state: inout State) throws -> OpenPack {
        let id = identifiers.next()
        let name = ObjectNames.pack(id)
        let header = try ObjectHeader(
            kind: .pack, name: name, identity: repository.identity
        ).encoded()
        state.lastOrdinal += 1
        return OpenPack(
            id: id, ordinal: state.lastOrdinal,
            object: PackObject(name, header: header, in: repository.store),
            byteCount: header.count)
    }

    private func isFull(_ pack: OpenPack) -> Bool {
        // Room for the largest frame, so that neither limit is ever passed.
        pack.byteCount + pack.table.byteCount >= targetByteCount
            || pack.table.digests.count
                >= Format.packBlockLimit - Format.frameBlockLimit(repository.blockSize)
    }

    private func finish(_ pack: OpenPack) throws {
        let table = pack.table.encoded()
        let footer = PackFooter(table: pack.table, encodedTable: table, at: pack.byteCount)
        let encodedFooter = footer.encoded()
        let byteCount = pack.byteCount + table.count + encodedFooter.count
        let check = try PackFooter(decoding: encodedFooter[...], packByteCount: byteCount)
        guard check == footer else { throw FormatError.notReproducible }
        try pack.object.finish(with: table + encodedFooter)
        state.withLock { state in
            state.unfinished.remove(pack.ordinal)
            state.unindexed.append((pack.id, UInt64(byteCount), pack.table))
            state.finished.append(pack.id)
            state.storedByteCount += UInt64(byteCount)
        }
        try indexPacks(atLeast: Self.indexedTogetherCount)
    }

    /// Gives the packs to the index that wait for it, when they hold so many blocks.
    private func indexPacks(atLeast blockCount: Int) throws {
        let packs = state.withLock { state in
            let waiting = state.unindexed
            guard waiting.reduce(0, { $0 + $1.table.digests.count }) >= blockCount else {
                return Array(waiting[..<0])
            }
            state.unindexed.removeAll()
            return waiting
        }
        guard !packs.isEmpty else { return }
        try index.addOwnPacks(packs)
        state.withLock { state in
            for pack in packs {
                for digest in pack.table.digests { state.pending[digest] = nil }
            }
        }
    }
}
