internal import FileModel

/// Finds the names of inodes without walking the tree from its root.
struct NameSearch {
    /// Deeper than any path that a system takes.
    private static let depthLimit = 2048

    private let system: ExtFileSystem
    private let layout: ExtLayout
    private var wanted: [UInt64: Int] = [:]
    /// Where names were found: in which directory, and which.
    private var found: [UInt64: [(directory: UInt64, name: [UInt8])]] = [:]
    private var searched: Set<UInt64> = []
    /// Names of what may be directories in the directories that were asked for one.
    private var directoryNames: [UInt64: [UInt64: [UInt8]]] = [:]
    /// Paths of directories; nil for one that hangs on no root.
    private var paths: [UInt64: [UInt8]?] = [ExtFileSystem.root: []]

    init(_ system: ExtFileSystem, _ layout: ExtLayout) {
        self.system = system
        self.layout = layout
    }

    /// All names of each of the inodes, from the root on, with a slash in front; none of one that has none.
    mutating func names(of inodes: [UInt64: ExtLayout.RawInode]) throws -> [UInt64: [[UInt8]]] {
        for (number, inode) in inodes {
            wanted[number] = inode.kind == .directory ? 1 : inode.linkCount
        }
        wanted[ExtFileSystem.root] = nil
        // A file that came or went has changed its directory; one that was moved has changed both.
        for (number, inode) in inodes where inode.kind == .directory { try search(number) }
        for number in inodes.keys where inodes[number]?.kind == .directory && wanted[number] != nil
        {
            if let parent = try? system.lookUp([0x2e, 0x2e], in: number) { try search(parent) }
        }
        try searchGroups()
        var names: [UInt64: [[UInt8]]] = [:]
        for (number, places) in found where inodes[number] != nil {
            names[number] = places.compactMap { place in
                path(of: place.directory, depth: 0).map { $0 + [0x2f] + place.name }
            }
        }
        if inodes[ExtFileSystem.root] != nil { names[ExtFileSystem.root] = [[0x2f]] }
        return names
    }

    /// Looks for what is wanted in a directory.
    private mutating func search(_ directory: UInt64) throws {
        guard searched.insert(directory).inserted else { return }
        // A damaged directory names nothing.
        guard let entries = try? system.entries(of: directory) else { return }
        for entry in entries {
            guard let count = wanted[entry.inode] else { continue }
            found[entry.inode, default: []].append((directory, entry.name))
            wanted[entry.inode] = count > 1 ? count - 1 : nil
        }
    }

    /// Looks in the directories of the groups that have something that is wanted, for a file is made near
    /// its directory; then in the others.
    private mutating func searchGroups() throws {
        guard !wanted.isEmpty else { return }
        let homes = Set(wanted.keys.map(layout.group(ofInode:)))
        let others = layout.groups.indices.filter { !homes.contains($0) }
        for group in homes.filter(layout.groups.indices.contains).sorted() + others {
            guard !wanted.isEmpty else { return }
            var directories: [UInt64] = []
            try layout.forEachInode(
                of: group, at: layout.groups[group].usedInodes, in: system
            ) { number, inode in
                if inode.kind == .directory, inode.isUsed { directories.append(number) }
            }
            for directory in directories where !wanted.isEmpty { try search(directory) }
        }
    }

    /// The path of a directory, by what it says leads up from it.
    private mutating func path(of directory: UInt64, depth: Int) -> [UInt8]? {
        if let known = paths[directory] { return known }
        guard depth < Self.depthLimit else { return nil }
        // One that is its own ancestor has no path.
        paths[directory] = .some(nil)
        guard let parent = try? system.lookUp([0x2e, 0x2e], in: directory),
            let above = path(of: parent, depth: depth + 1),
            let name = name(of: directory, in: parent)
        else { return nil }
        let path = above + [0x2f] + name
        paths[directory] = .some(path)
        return path
    }

    private mutating func name(of directory: UInt64, in parent: UInt64) -> [UInt8]? {
        if directoryNames[parent] == nil {
            let entries = ((try? system.entries(of: parent)) ?? []).filter(\.mayBeDirectory)
            directoryNames[parent] = Dictionary(
                entries.map { ($0.inode, $0.name) }, uniquingKeysWith: { first, _ in first })
        }
        return directoryNames[parent]?[directory]
    }
}
