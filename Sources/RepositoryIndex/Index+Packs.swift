package import BlockModel
internal import LMDB
package import Repository
package import RepositoryFormat

/// Keeping the index's packs in step with those of the repository.
extension Index {
    /// New blocks that one transaction adds at most.
    ///
    /// Each may dirty a page of digests of its own, 4 KiB. While there are few such pages, as for
    /// volumes up to some 20 GiB, many blocks share them: then fewer transactions leave fewer old
    /// pages behind, and a smaller file.
    private func blocksPerTransaction() throws -> Int {
        let known = try environment.read { try $0.entryCount(of: tables.digests) }
        return known <= 400_000 ? 1 << 16 : 1 << 12
    }

    /// Adds the packs that the index does not know and drops those that are gone; those that
    /// cannot be read are given to `damaged` and left out.
    package func synchronizePacks(
        with repository: Repository,
        damaged: (ObjectID, RepositoryError) -> Void = { _, _ in }
    ) throws {
        try withUpdateLock {
            try loadPacks()
            var known: [ObjectID: PackRecord] = [:]
            for record in knownPacks { known[record.id] = record }
            var new: [(id: ObjectID, byteCount: UInt64)] = []
            for (id, byteCount) in try repository.listPacks() {
                if known[id]?.byteCount == byteCount {
                    known[id] = nil
                } else {
                    new.append((id, byteCount))
                }
            }
            // What is gone goes first: what takes its place then comes first where blocks are looked for.
            for record in known.values { try drop(record) }
            var batch = try PackBatch(self)
            for (id, byteCount) in new {
                do {
                    let table = try repository.readPackTable(id, byteCount: byteCount)
                    try batch.add(id, byteCount: byteCount, table: table, isOwn: false)
                } catch let error as RepositoryError where error.kind == .damaged {
                    damaged(id, error)
                }
            }
            try batch.flush()
        }
    }

    /// Adds packs that this process has just made durable.
    package func addOwnPacks(
        _ packs: [(id: ObjectID, byteCount: UInt64, table: PackTable)]
    ) throws {
        try withUpdateLock {
            // Another process may have listed them meanwhile.
            try loadPacks()
            let known = Set(knownPacks.map(\.id))
            var batch = try PackBatch(self)
            for pack in packs where !known.contains(pack.id) {
                try batch.add(pack.id, byteCount: pack.byteCount, table: pack.table, isOwn: true)
            }
            try batch.flush()
        }
    }

    /// What could not be read for want of another block may be read now.
    private func packsCame() {
        failures.forgetPatches()
        failuresOfWholeFrames.forgetPatches()
    }

    /// Counts a pack as gone.
    func drop(_ record: PackRecord) throws {
        try environment.write { transaction in
            try putPack(
                PackRecord(number: record.number, id: record.id, byteCount: 0, isOwn: false),
                transaction)
            try noteLoss(transaction)
        }
        forgetPack(record.number)
    }

    /// Packs that go into the index together, so that a thousand small ones need few commits.
    private struct PackBatch {
        private struct Item {
            let id: ObjectID
            let byteCount: UInt64
            let table: PackTable
            let isOwn: Bool
        }

        private let index: Index
        private var items: [Item] = []
        private var blockCount = 0
        private var limit: Int

        init(_ index: Index) throws {
            self.index = index
            limit = try index.blocksPerTransaction()
        }

        mutating func add(
            _ id: ObjectID,
            byteCount: UInt64,
            table: PackTable,
            isOwn: Bool
        ) throws {
            items.append(Item(id: id, byteCount: byteCount, table: table, isOwn: isOwn))
            blockCount += table.digests.count
            if blockCount >= limit { try flush() }
        }

        mutating func flush() throws {
            let isAny = !items.isEmpty
            defer { if isAny { index.packsCame() } }
            var start = 0
            while start < items.count {
                var end = start + 1
                var blocks = items[start].table.digests.count
                while end < items.count,
                    blocks + items[end].table.digests.count <= limit
                {
                    blocks += items[end].table.digests.count
                    end += 1
                }
                if end == start + 1, blocks > limit {
                    try addLarge(items[start])
                } else {
                    try addTogether(items[start..<end])
                }
                start = end
            }
            items.removeAll()
            blockCount = 0
            limit = try index.blocksPerTransaction()
        }

        private func addTogether(_ items: ArraySlice<Item>) throws {
            var records: [PackRecord] = []
            do {
                try index.environment.write { transaction in
                    for item in items {
                        let record = try index.newRecord(
                            item.id, item.byteCount, item.isOwn, transaction)
                        // A block that a later pack of these has too keeps both places.
                        index.remember(record)
                        records.append(record)
                        let places = index.places(of: item.table, in: record.number)
                        try index.add(places[...], transaction)
                        try index.putPack(record, transaction)
                    }
                }
            } catch {
                for record in records { index.forgetPack(record.number) }
                throw error
            }
        }

        /// A pack of many blocks goes in by several commits; its record, which makes it count, is
        /// in the last.
        private func addLarge(_ item: Item) throws {
            let record = try index.environment.write {
                try index.newRecord(item.id, item.byteCount, item.isOwn, $0)
            }
            let places = index.places(of: item.table, in: record.number)
            for start in stride(from: 0, to: places.count, by: limit) {
                let end = min(start + limit, places.count)
                try index.environment.write { transaction in
                    try index.add(places[start..<end], transaction)
                    if end == places.count { try index.putPack(record, transaction) }
                }
            }
            index.remember(record)
        }
    }

    private func newRecord(
        _ id: ObjectID,
        _ byteCount: UInt64,
        _ isOwn: Bool,
        _ transaction: borrowing Transaction
    ) throws -> PackRecord {
        let number =
            try transaction.value(in: tables.meta, for: Self.nextPackKey) {
                try Self.number($0, as: UInt32.self)
            } ?? Place.missingPack + 1
        var writer = ByteWriter()
        writer.append(number + 1)
        try transaction.put(writer.bytes.rawSpan, in: tables.meta, for: Self.nextPackKey)
        return PackRecord(number: number, id: id, byteCount: byteCount, isOwn: isOwn)
    }

    /// Every block of a pack with its place, in the order of the pack.
    func places(of table: PackTable, in pack: UInt32) -> [(digest: Digest, place: Place)] {
        var places: [(digest: Digest, place: Place)] = []
        places.reserveCapacity(table.digests.count)
        for frame in table.frames {
            for slot in 0..<frame.header.blockCount {
                places.append(
                    (table.digests[places.count], Place(pack: pack, frame: frame, slot: slot)))
            }
        }
        return places
    }

    /// Adds blocks in one transaction: looked up in order of digest, numbered in order of the pack.
    private func add(
        _ blocks: ArraySlice<(digest: Digest, place: Place)>,
        _ transaction: borrowing Transaction
    ) throws {
        let order = rowOrder(of: blocks.map(\.digest)).map { blocks.startIndex + $0 }
        var known: [Int: BlockNumber] = [:]
        try transaction.withCursor(over: tables.digests) { cursor in
            for position in order {
                known[position] = try number(of: blocks[position].digest, cursor, transaction)
            }
        }
        // The adder keeps a page of numbers in memory, so that changes to old ones come first.
        for (position, number) in known {
            try addPlace(blocks[position].place, to: number, transaction)
        }
        var adder = try Adder(self, transaction)
        var added: [Digest: BlockNumber] = [:]
        var again: [(number: BlockNumber, place: Place)] = []
        for position in blocks.indices where known[position] == nil {
            let (digest, place) = blocks[position]
            if let number = added[digest] {
                again.append((number, place))
            } else {
                added[digest] = try adder.add(digest, place, transaction)
            }
        }
        try adder.flush(transaction)
        // A pack may hold a block twice, as a patch and in full.
        for (number, place) in again { try addPlace(place, to: number, transaction) }
    }
}
