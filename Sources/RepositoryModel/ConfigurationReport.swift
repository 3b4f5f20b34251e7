package import BlockModel

/// The `config` of a repository that was written again, and what it was written from.
package struct ConfigurationReport: Hashable, Sendable {
    package let repository: ObjectID
    package let blockByteCount: Int
    /// Objects that say so.
    package let objectCount: Int
    /// Objects of other repositories, which were passed over.
    package let foreignCount: Int

    package init(
        repository: ObjectID,
        blockByteCount: Int,
        objectCount: Int,
        foreignCount: Int
    ) {
        self.repository = repository
        self.blockByteCount = blockByteCount
        self.objectCount = objectCount
        self.foreignCount = foreignCount
    }
}
