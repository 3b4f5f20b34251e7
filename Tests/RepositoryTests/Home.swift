import BlockModel
import ObjectStore
import Repository
import RepositoryFormat
import TestKit

/// A new repository in a directory of its own.
struct Home {
    static let volume = Chain.name("disk")
    static let blockSize = size(4096)

    static func size(_ byteCount: Int) -> BlockSize {
        guard let size = BlockSize(byteCount: byteCount) else { preconditionFailure() }
        return size
    }

    let directory: TemporaryDirectory
    let store: any ObjectStore
    let repository: Repository

    init(seed: UInt64 = 1) throws {
        directory = try TemporaryDirectory()
        store = DirectoryStore(path: directory.path)
        var generator = SeededGenerator(seed: seed)
        repository = try Repository(
            creatingIn: store, blockSize: Self.blockSize, created: Timestamp(seconds: 1_000),
            generator: &generator)
    }
}
