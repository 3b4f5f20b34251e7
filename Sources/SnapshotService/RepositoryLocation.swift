internal import BlockModel
internal import Glibc
internal import LinuxIO
package import ObjectStore

/// Where a repository and its index are: the only place that names concrete stores.
package enum RepositoryLocation {
    /// What the environment names: VARVE_REPOSITORY, or the first line of VARVE_REPOSITORY_FILE.
    ///
    /// - Throws: ``ServiceError`` where that file cannot be read; `Trust.Refusal` where others can change it.
    package static func named(in environment: [String: String]) throws -> String? {
        if let location = environment["VARVE_REPOSITORY"], !location.isEmpty { return location }
        guard let file = environment["VARVE_REPOSITORY_FILE"], !file.isEmpty else { return nil }
        try Trust.require(file, as: "the file")
        guard let text = Directory.text(of: file) else {
            throw ServiceError(
                .usage, "VARVE_REPOSITORY_FILE names \(file), which cannot be read")
        }
        return text.systemLines.first
    }

    /// Opens the store that `text` names, a directory's path; makes the directory when `creating`.
    package static func store(_ text: String, creating: Bool) throws -> any ObjectStore {
        var path = text
        while path.utf8.count > 1, path.utf8.last == UInt8(ascii: "/") {
            path.unicodeScalars.removeLast()
        }
        guard !path.isEmpty else {
            throw ServiceError(.usage, "the repository's path is empty; give one with --repo")
        }
        if path.contains("://") {
            throw ServiceError(
                .usage, "\(path): only directories can hold repositories in this version")
        }
        if creating {
            try Directory.makeAll(path)
        } else if try FileStatus(path: path) == nil {
            throw ServiceError(
                .noRepository,
                "there is no repository at \(path); create one with 'varve init'")
        }
        return DirectoryStore(path: path)
    }

    /// The directory that a store's objects are in; nil where they are in none.
    static func directory(of store: any ObjectStore) -> String? {
        ((try? FileStatus(path: store.location)) ?? nil)?.kind == .directory
            ? store.location : nil
    }

    /// The directory of a repository's index: `$VARVE_CACHE_DIR`, the system's cache for root, else
    /// the user's own.
    package static func indexDirectory(
        of id: String,
        environment: [String: String],
        isRoot: Bool = geteuid() == 0
    ) throws -> String {
        if let directory = environment["VARVE_CACHE_DIR"], !directory.isEmpty {
            return directory + "/" + id
        }
        if isRoot { return "/var/cache/varve/" + id }
        if let directory = environment["XDG_CACHE_HOME"],
            directory.utf8.first == UInt8(ascii: "/")
        {
            return directory + "/varve/" + id
        }
        guard let home = environment["HOME"], !home.isEmpty else {
            throw ServiceError(
                .failed, "neither HOME nor VARVE_CACHE_DIR is set; set one of them for the index")
        }
        return home + "/.cache/varve/" + id
    }
}
