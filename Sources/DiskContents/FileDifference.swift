package import FileModel

/// Which files differ between two states of an ext file system, found from the bytes that differ: from
/// the inodes that lie there, the directories that name them, and, for content that changed without its
/// inode, whose it is.
///
/// No tree is walked. What is read is in proportion to what changed, but for names: a file that was
/// changed in place is looked for in the directories near it, then in those farther off.
package struct FileDifference {
    private struct State {
        let system: ExtFileSystem
        let layout: ExtLayout
        /// Inodes of which a byte that matters changed, as they are in this state.
        var inodes: [UInt64: ExtLayout.RawInode] = [:]

        init(_ system: ExtFileSystem) throws {
            self.system = system
            layout = try ExtLayout(system)
        }
    }

    private var older: State
    private var newer: State
    /// What else changed of files that have another name.
    private var renamedKinds: [[UInt8]: FileChange.Kind] = [:]
    /// Bytes of the image that differ, in order.
    private let changed: [Range<UInt64>]

    /// Compares two states of which the bytes at `changed` of the image differ, and maybe others near them.
    ///
    /// - Throws: ``ContentsError`` when they are not of one file system.
    package init(
        from older: ExtFileSystem,
        to newer: ExtFileSystem,
        changed: [Range<UInt64>]
    ) throws {
        self.older = try State(older)
        self.newer = try State(newer)
        self.changed = Ranges.ordered(changed)
        let (a, b) = (self.older.layout, self.newer.layout)
        guard a.id == b.id, a.inodesPerGroup == b.inodesPerGroup,
            a.inodeByteCount == b.inodeByteCount, older.blockByteCount == newer.blockByteCount
        else {
            throw ContentsError(
                .unsuitable,
                "the file system was recreated between the two, so all files are different; "
                    + "'varve ls -R' lists those of each")
        }
    }

    /// Finds the files.
    ///
    /// - Throws: ``ContentsError`` when the file system is damaged; what the image throws.
    package mutating func find() throws -> FileChanges {
        try findInodes()
        let rewritten = try findRewritten()
        try findRenamed()
        var found = FileChanges()
        let oldNames = try names(of: older)
        let newNames = try names(of: newer)
        for number in Set(older.inodes.keys).union(newer.inodes.keys) {
            let before = older.inodes[number].flatMap { $0.isUsed ? $0 : nil }
            let after = newer.inodes[number].flatMap { $0.isUsed ? $0 : nil }
            let old = before == nil ? [] : oldNames[number] ?? []
            let new = after == nil ? [] : newNames[number] ?? []
            if before != nil, old.isEmpty { found.namelessCount += 1 }
            if after != nil, new.isEmpty { found.namelessCount += 1 }
            if let before, let after, before.use == after.use, before.kind == after.kind {
                let kind = try change(number, before, after, rewritten)
                compare(number, after.kind, kind, old, new, &found)
            } else {
                if let before { found.changes += old.map { Self.removed($0, before, number) } }
                if let after { found.changes += new.map { Self.added($0, after, number) } }
            }
        }
        found.changes = Self.merged(ownRenames(found.changes))
        return found
    }

    // MARK: Inodes

    /// Bytes of an inode that change without the file: when it was read, its checksum, and a counter.
    private static let quiet: [Range<Int>] = [
        8..<12, 36..<40, 124..<126, 130..<132, 140..<144, 152..<156,
    ]

    private mutating func findInodes() throws {
        let count = max(older.layout.groups.count, newer.layout.groups.count)
        for group in 0..<count {
            let a = group < older.layout.groups.count ? older.layout.groups[group] : nil
            let b = group < newer.layout.groups.count ? newer.layout.groups[group] : nil
            guard let table = b?.inodes ?? a?.inodes else { continue }
            let isMoved = a?.inodes != b?.inodes
            guard !isMoved else {
                try compareInodes(of: group, at: nil)
                continue
            }
            for part in Ranges.parts(of: changed, in: table) {
                try compareInodes(of: group, at: part)
            }
        }
    }

    /// Compares the inodes of a part of a group's table; all of them without a part.
    private mutating func compareInodes(of group: Int, at part: Range<UInt64>?) throws {
        func inodes(_ state: State) throws -> [UInt64: ExtLayout.RawInode] {
            guard group < state.layout.groups.count else { return [:] }
            let used = state.layout.groups[group].usedInodes
            let bytes = part?.clamped(to: used) ?? used
            var inodes: [UInt64: ExtLayout.RawInode] = [:]
            if !bytes.isEmpty {
                try state.layout.forEachInode(of: group, at: bytes, in: state.system) {
                    inodes[$0] = $1
                }
            }
            return inodes
        }
        let (old, new) = (try inodes(older), try inodes(newer))
        let own = Set(newer.layout.ownInodes)
        for number in Set(old.keys).union(new.keys) where !own.contains(number) {
            let (a, b) = (old[number], new[number])
            guard a?.isUsed == true || b?.isUsed == true else { continue }
            if let a, let b, Self.loud(a) == Self.loud(b) { continue }
            older.inodes[number] = a
            newer.inodes[number] = b
        }
    }

    private static func loud(_ inode: ExtLayout.RawInode) -> [UInt8] {
        var bytes = inode.bytes
        for range in quiet where range.upperBound <= bytes.count {
            for position in range { bytes[position] = 0 }
        }
        return bytes
    }

    // MARK: Content that changed alone

    /// Inodes of files whose content changed and that themselves did not: where times have whole seconds,
    /// or are written late.
    ///
    /// What changed is first explained by what is no content, by the inodes that changed, and by what
    /// is not in use; only where some of it is left are the other inodes gone through.
    private mutating func findRewritten() throws -> Set<UInt64> {
        let state = newer
        var explained: [Range<UInt64>] = [
            state.system.imageRange.lowerBound..<state.system.imageRange.lowerBound
                + min(UInt64(state.system.imageRange.count), max(state.system.blockByteCount, 2048))
        ]
        for group in state.layout.groups { explained += group.fixed }
        if let block = state.layout.guardBlock { explained.append(block) }
        // One that is not in use, or damaged, explains nothing. What an inode had before may be shared
        // with others, and say how many they are.
        for number in state.layout.ownInodes + Array(state.inodes.keys) {
            explained += (try? state.system.places(of: number)) ?? []
            explained += (try? older.system.places(of: number)) ?? []
        }
        let left = Ranges.subtract(
            Ranges.ordered(explained),
            from: Ranges.parts(of: changed, in: state.system.imageRange))
        let rest = try different(state.layout.inUse(left, in: state.system))
        guard !rest.isEmpty else { return [] }
        var found: Set<UInt64> = []
        for group in state.layout.groups.indices {
            try state.layout.forEachInode(
                of: group, at: state.layout.groups[group].usedInodes, in: state.system
            ) { number, inode in
                guard inode.isUsed, state.inodes[number] == nil,
                    let places = try? state.system.places(of: number),
                    places.contains(where: { !Ranges.parts(of: rest, in: $0).isEmpty })
                else { return }
                found.insert(number)
                newer.inodes[number] = inode
                older.inodes[number] = try older.layout.inode(number, in: older.system)
            }
        }
        return found
    }

    /// The blocks of the file system in `ranges` that do differ: what is told of may be coarser.
    private func different(_ ranges: [Range<UInt64>]) throws -> [Range<UInt64>] {
        let size = newer.system.blockByteCount
        var found: [Range<UInt64>] = []
        for range in ranges {
            var position = range.lowerBound
            while position < range.upperBound {
                let end = min(range.upperBound, position + size)
                let count = Int(end - position)
                let before =
                    older.system.imageRange.contains(end - 1)
                    ? try older.system.bytes(at: position, count: count) : []
                if try newer.system.bytes(at: position, count: count) != before {
                    Ranges.append(position..<end, to: &found)
                }
                position = end
            }
        }
        return found
    }

    // MARK: Names that changed alone

    /// Adds the inodes whose names changed and that themselves did not: where times have whole seconds.
    private mutating func findRenamed() throws {
        let directories = Set(older.inodes.keys).union(newer.inodes.keys).filter {
            older.inodes[$0]?.kind == .directory || newer.inodes[$0]?.kind == .directory
        }
        for directory in directories {
            let before = Self.entries(of: directory, in: older)
            let after = Self.entries(of: directory, in: newer)
            for number in before.symmetricDifference(after).map(\.inode)
            where older.inodes[number] == nil && newer.inodes[number] == nil {
                older.inodes[number] = try older.layout.inode(number, in: older.system)
                newer.inodes[number] = try newer.layout.inode(number, in: newer.system)
            }
        }
    }

    /// None of one that is no directory there, or a damaged one.
    private static func entries(
        of directory: UInt64,
        in state: State
    ) -> Set<DirectoryEntry> {
        guard let inode = state.inodes[directory], inode.isUsed, inode.kind == .directory else {
            return []
        }
        return Set((try? state.system.entries(of: directory)) ?? [])
    }

    // MARK: Kinds

    private func change(
        _ number: UInt64,
        _ before: ExtLayout.RawInode,
        _ after: ExtLayout.RawInode,
        _ rewritten: Set<UInt64>
    ) throws -> FileChange.Kind? {
        // What is in a directory is told of what is in it.
        let isDirectory = after.kind == .directory
        if !isDirectory, rewritten.contains(number) || before.content != after.content {
            return .modified
        }
        if before.properties != after.properties { return .metadata }
        guard before.linkCount == after.linkCount else { return nil }
        let a = try older.system.attributes(of: older.system.inode(number))
        let b = try newer.system.attributes(of: newer.system.inode(number))
        return a.elementsEqual(b, by: ==) ? nil : .metadata
    }

    // MARK: Names

    private func names(of state: State) throws -> [UInt64: [[UInt8]]] {
        var search = NameSearch(state.system, state.layout)
        return try search.names(of: state.inodes.filter(\.value.isUsed))
    }

    private mutating func compare(
        _ number: UInt64,
        _ fileKind: FileKind,
        _ kind: FileChange.Kind?,
        _ old: [[UInt8]],
        _ new: [[UInt8]],
        _ found: inout FileChanges
    ) {
        let (before, after) = (Set(old), Set(new))
        if let kind {
            for path in new where before.contains(path) {
                found.changes.append(
                    FileChange(
                        kind: kind, path: path, oldPath: nil, fileKind: fileKind, inode: number))
            }
        }
        let lost = old.filter { !after.contains($0) }
        let won = new.filter { !before.contains($0) }
        for (position, path) in won.enumerated() {
            let isRenamed = position < lost.count
            found.changes.append(
                FileChange(
                    kind: isRenamed ? .renamed : .added, path: path,
                    oldPath: isRenamed ? lost[position] : nil, fileKind: fileKind, inode: number))
            if isRenamed { renamedKinds[path] = kind }
        }
        for path in lost.dropFirst(won.count) {
            found.changes.append(
                FileChange(
                    kind: .removed, path: path, oldPath: nil, fileKind: fileKind, inode: number))
        }
    }

    private static func removed(
        _ path: [UInt8],
        _ inode: ExtLayout.RawInode,
        _ number: UInt64
    ) -> FileChange {
        FileChange(
            kind: .removed, path: path, oldPath: nil, fileKind: inode.kind, inode: number)
    }

    private static func added(
        _ path: [UInt8],
        _ inode: ExtLayout.RawInode,
        _ number: UInt64
    ) -> FileChange {
        FileChange(kind: .added, path: path, oldPath: nil, fileKind: inode.kind, inode: number)
    }

    /// Without the new names that files have only because a directory above them has one.
    private func ownRenames(_ changes: [FileChange]) -> [FileChange] {
        var directories: [[UInt8]: [UInt8]] = [:]
        for change in changes where change.kind == .renamed && change.fileKind == .directory {
            directories[change.oldPath ?? []] = change.path
        }
        return changes.compactMap { change in
            guard change.kind == .renamed, let oldPath = change.oldPath else { return change }
            let (oldParent, oldName) = Self.divided(oldPath)
            let (parent, name) = Self.divided(change.path)
            guard oldName == name, directories[oldParent] == parent else { return change }
            return renamedKinds[change.path].map {
                FileChange(
                    kind: $0, path: change.path, oldPath: nil, fileKind: change.fileKind,
                    inode: change.inode)
            }
        }
    }

    private static func divided(_ path: [UInt8]) -> (parent: [UInt8], name: [UInt8]) {
        let slash = path.lastIndex(of: 0x2F) ?? 0
        return (Array(path[..<slash]), Array(path[slash...]))
    }

    /// In order; what was removed and added under one name is modified.
    private static func merged(_ changes: [FileChange]) -> [FileChange] {
        let lost = Set(changes.filter { $0.kind == .removed }.map(\.path))
        let replaced = Set(
            changes.filter { $0.kind == .added && lost.contains($0.path) }.map(\.path))
        return changes.compactMap { change in
            guard replaced.contains(change.path) else { return change }
            guard change.kind == .added else { return change.kind == .removed ? nil : change }
            return FileChange(
                kind: .modified, path: change.path, oldPath: nil, fileKind: change.fileKind,
                inode: change.inode)
        }.sorted { ($0.path, $0.kind.rawValue) < ($1.path, $1.kind.rawValue) }
    }
}

/// Arrays in the order of their bytes.
private func < (left: ([UInt8], String), right: ([UInt8], String)) -> Bool {
    left.0 == right.0 ? left.1 < right.1 : left.0.lexicographicallyPrecedes(right.0)
}
