internal import BlockModel
internal import LMDB

extension Index {
    /// Whether a delta, or a patch that is needed, names a block that no sound place gives.
    func lacksNeededBlocks() throws -> Bool {
        try environment.write { transaction in
            var update = try AccountUpdate(self, transaction)
            return try transaction.withCursor(over: tables.numbers) { cursor in
                var more = try cursor.first { self.withoutFirstPlace($0, $1).map(\.number) }
                while let numbers = more {
                    for number in numbers
                    where try update.count(of: number, transaction) > 0
                        && !places(of: number, transaction).contains(where: {
                            pack($0.pack)?.isRotten($0) == false
                        })
                    {
                        return true
                    }
                    more = try cursor.next { self.withoutFirstPlace($0, $1).map(\.number) }
                }
                return false
            }
        }
    }
}
