internal import LinuxIO

/// Files that this program lives by, which no restore may write: told by what they are, whatever name or link
/// leads to them.
struct OwnFiles {
    private static let depthLimit = 16

    /// The directory of the repository; nil where it is in none.
    let repository: String?
    /// The directory of the index; nil where none is kept.
    let index: String?
    /// Of the configuration and of what is kept on volumes: files, and directories of such.
    let others: [String]

    /// Why the file must not be written; nil for one that is none of these.
    func reason(against file: FileStatus) throws -> String? {
        if let repository, try contains(repository, file) {
            return "is a file of the repository at \(repository)"
        }
        if let index, try contains(index, file) { return "is a file of the index at \(index)" }
        for path in others {
            guard let found = try FileStatus(path: path) else { continue }
            if found.isSameFile(as: file) { return "is \(path), which varve itself needs" }
            if found.kind == .directory, try contains(path, file) {
                return "is a file in \(path), which varve itself needs"
            }
        }
        return nil
    }

    /// Why no file may be made in the directory `path`.
    func reason(againstFileIn path: String) throws -> String? {
        guard let repository, let root = try FileStatus(path: repository) else { return nil }
        var directory = try FileStatus(path: path)
        var above = path
        for _ in 0..<Self.aboveLimit {
            guard let current = directory else { return nil }
            if current.isSameFile(as: root) { return "is inside the repository at \(repository)" }
            above += "/.."
            directory = try FileStatus(path: above)
            if directory?.isSameFile(as: current) == true { return nil }
        }
        return nil
    }

    private static let aboveLimit = 256

    private func contains(_ directory: String, _ file: FileStatus) throws -> Bool {
        do {
            guard try FileStatus(path: directory)?.kind == .directory else { return false }
            return try contains(RootDirectory(directory), "", file, depth: 0)
        } catch let error as SystemError where error.isDenied {
            // What this user may not even list, nobody's restore of his reaches.
            return false
        }
    }

    private func contains(
        _ root: RootDirectory,
        _ name: String,
        _ file: FileStatus,
        depth: Int
    ) throws -> Bool {
        guard depth < Self.depthLimit, let directory = try root.directory(name) else {
            return false
        }
        for (entry, status) in try directory.entries(where: { _ in true }) {
            if status.isSameFile(as: file) { return true }
            guard status.kind == .directory else { continue }
            let below = name.isEmpty ? entry : name + "/" + entry
            if try contains(root, below, file, depth: depth + 1) { return true }
        }
        return false
    }
}
