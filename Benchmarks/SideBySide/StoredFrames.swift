import Logging
import Repository
import RepositoryFormat
import SnapshotService

/// What the packs of a repository hold: blocks as patches of their earlier versions, and in full.
struct StoredFrames {
    private(set) var patchCount = 0
    private(set) var patchByteCount: UInt64 = 0
    private(set) var fullCount = 0
    private(set) var fullByteCount: UInt64 = 0

    /// Reads the tables of all packs.
    init(in repository: VarveRepository) throws {
        let service = try OpenRepository(
            location: repository.path, environment: ["VARVE_CACHE_DIR": repository.cache],
            logger: Logger(label: "varve-benchmark"))
        for (id, byteCount) in try service.repository.listPacks() {
            for frame in try service.repository.readPackTable(id, byteCount: byteCount).frames {
                let payload = UInt64(frame.header.payloadByteCount)
                if frame.header.kind.isPatch {
                    patchCount += frame.header.blockCount
                    patchByteCount += payload
                } else {
                    fullCount += frame.header.blockCount
                    fullByteCount += payload
                }
            }
        }
    }

    /// What came since `earlier`.
    func subtracting(_ earlier: StoredFrames) -> StoredFrames {
        var rest = self
        rest.patchCount -= earlier.patchCount
        rest.patchByteCount -= earlier.patchByteCount
        rest.fullCount -= earlier.fullCount
        rest.fullByteCount -= earlier.fullByteCount
        return rest
    }
}
