extension ObjectStore {
    /// Deletes an object that is of no use any more, where the store lets this user delete.
    ///
    /// A store that is there to be added to only refuses every deletion; nobody but its owner needs
    /// one.
    ///
    /// - Parameters:
    ///   - name: the object; one that is not there is no error.
    ///   - durability: what a crash may do to the deletion.
    /// - Returns: whether the object is gone; false where the store refused.
    /// - Throws: every other failure of the store.
    @discardableResult
    package func deleteIfAllowed(
        _ name: String,
        _ durability: DeletionDurability
    ) throws(ObjectStoreError) -> Bool {
        do throws(ObjectStoreError) {
            try delete(name, durability)
            return true
        } catch {
            guard error.reason == .denied else { throw error }
            return false
        }
    }
}
