internal import BlockModel
package import ObjectStore
internal import RepositoryFormat

/// Something among a repository's objects that is not its own, and is kept, whatever becomes of the rest.
package struct ForeignObject: Hashable, Sendable {
    package let name: String
    /// Why it is none of this repository's, in words.
    package let reason: String
    /// Whether it is known to be of no use here, for it carries the id of another repository.
    ///
    /// What else is foreign may stand where an object of this repository was.
    package let isUseless: Bool
}

extension Repository {
    /// What an object is if it is not this repository's own, which is told by its header; nil for its own
    /// ones, also when they are damaged.
    ///
    /// Nothing that this gives may be deleted: it was moved there by hand, or a link leads to it, or a newer
    /// version wrote it.
    ///
    /// - Parameter name: the object.
    /// - Returns: what it is.
    /// - Throws: ``ObjectStoreError`` where the store cannot tell now.
    package func foreign(_ name: String) throws(ObjectStoreError) -> ForeignObject? {
        let bytes: [UInt8]
        do throws(ObjectStoreError) {
            bytes = try store.read(name, at: 0, byteCount: ObjectHeader.byteLimit)
        } catch {
            if case .notAnObject(let text) = error.reason {
                return ForeignObject(name: name, reason: text, isUseless: false)
            }
            guard error.isDamage else { throw error }
            return nil
        }
        guard let origin = ObjectOrigin(bytes) else { return nil }
        if origin.repository != identity.id {
            return ForeignObject(
                name: name,
                reason: "it belongs to another repository (\(origin.repository.hexadecimal))",
                isUseless: true)
        }
        guard !origin.isKnown || origin.identity != identity else { return nil }
        return ForeignObject(
            name: name, reason: "another version of varve wrote it", isUseless: false)
    }

    /// Those of `names` that may be deleted where nothing needs them, and those that are not this
    /// repository's own.
    package func parted(
        _ names: [String]
    ) throws(ObjectStoreError) -> (own: [String], foreign: [ForeignObject]) {
        var own: [String] = []
        var foreign: [ForeignObject] = []
        for name in names {
            if let object = try self.foreign(name) {
                foreign.append(object)
            } else {
                own.append(name)
            }
        }
        return (own, foreign)
    }

    /// Refuses to delete anything where a link, or something else that is no object, stands for a directory
    /// or object of these: what there would be is not known.
    package func requireObjectsOnly(_ prefixes: [String]) throws {
        for prefix in prefixes {
            for entry in try store.list(prefix) where !entry.isObject {
                throw RepositoryError(
                    .damaged,
                    "\(entry.name) is not an object: "
                        + "\(try foreign(entry.name)?.reason ?? "a link or pipe"); nothing is "
                        + "deleted until this is fixed")
            }
        }
    }
}
