package import BlockModel
internal import DiskContents
package import FileModel
internal import Glibc
internal import LinuxIO
package import Repository
package import RepositoryModel

/// A file as it was in some snapshots in a row.
package struct FileVersion: Sendable {
    package enum State: Sendable {
        case absent
        case present(Inode)
        case unreadable(String)

        /// Whether a user would call them the same.
        func isSame(as other: State) -> Bool {
            switch (self, other) {
            case (.absent, .absent): true
            case (.unreadable, .unreadable): true
            case (.present(let a), .present(let b)):
                a.number == b.number && a.mode == b.mode && a.user == b.user
                    && a.group == b.group && a.byteCount == b.byteCount
                    && a.modified == b.modified && a.changed == b.changed
            default: false
            }
        }
    }

    package let path: ByteString
    /// Number of the partition; nil for a disk without a table.
    package let partition: Int?
    package let state: State
    package let first: Snapshot
    package fileprivate(set) var last: Snapshot
    package fileprivate(set) var snapshotCount: Int
    /// Place of `last` among the snapshots that were looked at.
    fileprivate var position: Int
}

/// What was found of files in the snapshots of a volume.
package struct FileVersions: Sendable {
    /// In the order of paths and partitions, and then of time.
    package fileprivate(set) var versions: [FileVersion] = []
    /// What could not be looked at, in words.
    package fileprivate(set) var problems: [String] = []
    /// Whether more than one partition was searched.
    package fileprivate(set) var hasSeveralPartitions = false
}

/// What could not be searched, and in which snapshots in a row.
private struct Unsearched {
    private var parts: [String: (first: Generation, last: Generation)] = [:]

    mutating func add(_ words: String, in generation: Generation) {
        parts[words] = (parts[words]?.first ?? generation, generation)
    }

    func words(_ volume: VolumeName) -> [String] {
        parts.sorted { $0.key < $1.key }.map { words, range in
            let generations =
                range.first == range.last ? "\(range.first)" : "\(range.first)…\(range.last)"
            return
                "\(volume)@\(generations): \(words) was not searched because it cannot be read "
                + "here; 'varve mount --files' mounts what the system supports"
        }
    }
}

extension OpenRepository {
    /// How a file was in each of a volume's snapshots, oldest first, on each partition that ever had it.
    ///
    /// - Throws: ``ServiceError`` when there is no such volume; ``Interrupted``.
    package func history(
        of path: ByteString,
        in volume: VolumeName,
        partition: Int?
    ) throws -> FileVersions {
        try withReadingHold(purpose: "history") { hold in
            guard let timeline = try timelines(volume).first else {
                throw ServiceError(.failed, "the repository has no volume '\(volume)'")
            }
            let search = try DiskSearch(self, timeline, partition: partition)
            var unsearched = Unsearched()
            /// By number of the partition; what concerns them all is told of each.
            var histories: [Int: [FileVersion]] = [:]
            let snapshots = timeline.snapshots
            for (position, snapshot) in snapshots.enumerated() {
                if Interruption.isRequested { throw Interrupted() }
                try? hold?.renew(now: clock.steady())
                var states: [Int: FileVersion.State] = [:]
                do {
                    for place in try search.go(to: snapshot) {
                        switch place {
                        case .unread(let words): unsearched.add(words, in: snapshot.generation)
                        case .files(let number, let series):
                            states[number ?? 0] = Self.state(of: path, series)
                        }
                    }
                } catch {
                    let keys = histories.isEmpty ? [partition ?? 0] : Array(histories.keys)
                    for key in keys { states[key] = .unreadable("\(error)") }
                }
                for key in Set(histories.keys).union(states.keys) {
                    if histories[key] == nil, let first = snapshots.first, position > 0 {
                        // It was not there before.
                        histories[key] = [
                            FileVersion(
                                path: path, partition: key == 0 ? nil : key, state: .absent,
                                first: first, last: snapshots[position - 1],
                                snapshotCount: position,
                                position: position - 1)
                        ]
                    }
                    Self.add(
                        states[key] ?? .absent, (path, key == 0 ? nil : key), snapshot, position,
                        to: &histories[key, default: []])
                }
            }
            var found = FileVersions()
            found.hasSeveralPartitions = histories.count > 1
            found.problems = unsearched.words(volume)
            found.versions = histories.sorted { $0.key < $1.key }.map(\.value).filter { versions in
                versions.contains { if case .absent = $0.state { false } else { true } }
            }.flatMap(\.self)
            return found
        }
    }

    private static func state(of path: ByteString, _ series: FileSeries) -> FileVersion.State {
        do {
            return try series.file(at: path).map { .present($0) } ?? .absent
        } catch {
            return .unreadable("\(error)")
        }
    }

    /// Files whose name matches a pattern.
    ///
    /// - Parameters:
    ///   - pattern: as shells have them; one with a slash is matched with the whole path.
    ///   - words: snapshots to look in, as ``SnapshotSelector`` has them, or volumes for all of theirs.
    ///   - partition: number of the partition; nil for all.
    ///   - ignoresCase: whether small and large letters are alike.
    /// - Returns: versions by volume, and what could not be looked at.
    /// - Throws: ``ServiceError`` where there is no such snapshot; ``Interrupted``.
    package func find(
        _ pattern: ByteString,
        in words: [String],
        partition: Int?,
        ignoresCase: Bool
    ) throws -> [(volume: VolumeName, found: FileVersions)] {
        var chosen: [VolumeName: (timeline: Timeline, ids: Set<SnapshotID>)] = [:]
        for word in words {
            if let volume = VolumeName(word), let timeline = try timelines(volume).first {
                chosen[volume] = (timeline, Set(timeline.snapshots.map(\.id)))
            } else {
                let (timeline, snapshot) = try find(SnapshotSelector(word))
                chosen[timeline.volume, default: (timeline, [])].ids.insert(snapshot.id)
            }
        }
        return try chosen.sorted { $0.key.rawValue < $1.key.rawValue }.map { volume, choice in
            let snapshots = choice.timeline.snapshots.filter { choice.ids.contains($0.id) }
            return (
                volume,
                try find(
                    pattern, in: choice.timeline, snapshots, partition: partition,
                    ignoresCase: ignoresCase)
            )
        }
    }

    /// Files whose name matches a pattern, in snapshots of a volume.
    ///
    /// - Parameters:
    ///   - pattern: as shells have them; one with a slash is matched with the whole path.
    ///   - timeline: the volume.
    ///   - snapshots: those to look in, oldest first.
    ///   - partition: number of the partition; nil for all.
    ///   - ignoresCase: whether small and large letters are alike.
    /// - Returns: versions, and what could not be looked at.
    /// - Throws: ``Interrupted``; what the repository throws.
    package func find(
        _ pattern: ByteString,
        in timeline: Timeline,
        _ snapshots: [Snapshot],
        partition: Int?,
        ignoresCase: Bool
    ) throws -> FileVersions {
        try withReadingHold(purpose: "find") { hold in
            let search = try DiskSearch(self, timeline, partition: partition)
            let matcher = NamePattern(pattern, ignoresCase: ignoresCase)
            var versions: [ByteString: [Int: [FileVersion]]] = [:]
            var found = FileVersions()
            var unsearched = Unsearched()
            var numbers: Set<Int> = []
            for (position, snapshot) in snapshots.enumerated() {
                try? hold?.renew(now: clock.steady())
                var damage: (count: Int, first: String)?
                do {
                    for place in try search.go(to: snapshot) {
                        guard case .files(let number, let series) = place else {
                            if case .unread(let words) = place {
                                unsearched.add(words, in: snapshot.generation)
                            }
                            continue
                        }
                        numbers.insert(number ?? 0)
                        do {
                            try Self.walk(series) { path, entry in
                                guard matcher.matches(name: entry.name, path: path),
                                    let state = try Self.state(of: entry, series)
                                else { return }
                                let path = ByteString(bytes: path)
                                Self.add(
                                    state, (path, number), snapshot, position,
                                    to: &versions[path, default: [:]][number ?? 0, default: []])
                            } onDamage: { error in
                                damage = ((damage?.count ?? 0) + 1, damage?.first ?? "\(error)")
                            }
                        } catch let error where !(error is Interrupted) {
                            damage = ((damage?.count ?? 0) + 1, damage?.first ?? "\(error)")
                        }
                    }
                } catch let error as Interrupted {
                    throw error
                } catch {
                    damage = (1, "\(error)")
                }
                if let damage {
                    found.problems.append(
                        "\(timeline.volume)@\(snapshot.generation): \(damage.first)"
                            + (damage.count > 1 ? ", and \(damage.count - 1) more" : ""))
                }
            }
            found.problems += unsearched.words(timeline.volume)
            found.hasSeveralPartitions = numbers.count > 1
            found.versions = versions.sorted { $0.key < $1.key }.flatMap { _, places in
                places.sorted { $0.key < $1.key }.flatMap(\.value)
            }
            return found
        }
    }

    /// nil for what is not in use.
    private static func state(
        of entry: FileSeries.Entry,
        _ series: FileSeries
    ) throws -> FileVersion.State? {
        do {
            return try series.inode(entry.inode).map { .present($0) }
        } catch {
            return .unreadable("\(error)")
        }
    }

    private static func add(
        _ state: FileVersion.State,
        _ file: (path: ByteString, partition: Int?),
        _ snapshot: Snapshot,
        _ position: Int,
        to versions: inout [FileVersion]
    ) {
        if let last = versions.indices.last, versions[last].position == position - 1,
            versions[last].state.isSame(as: state)
        {
            versions[last].last = snapshot
            versions[last].snapshotCount += 1
            versions[last].position = position
        } else {
            versions.append(
                FileVersion(
                    path: file.path, partition: file.partition, state: state, first: snapshot,
                    last: snapshot, snapshotCount: 1, position: position))
        }
    }

    private static func walk(
        _ series: FileSeries,
        _ body: (_ path: [UInt8], FileSeries.Entry) throws -> Void,
        onDamage: (any Error) -> Void
    ) throws {
        let root = try series.rootInode()
        var seen: Set<UInt64> = [root]
        var pending: [(path: [UInt8], number: UInt64)] = [([], root)]
        while let next = pending.popLast() {
            if Interruption.isRequested { throw Interrupted() }
            let entries: [FileSeries.Entry]
            do {
                entries = try series.entries(of: next.number)
            } catch {
                onDamage(error)
                continue
            }
            for entry in entries {
                let path = next.path + [0x2F] + entry.name
                try body(path, entry)
                if entry.isDirectory, seen.insert(entry.inode).inserted {
                    pending.append((path, entry.inode))
                }
            }
        }
    }
}

/// A pattern of names, as shells have them.
private struct NamePattern {
    /// With a zero behind; names are matched byte by byte.
    private let pattern: [CChar]
    private let isOfPath: Bool
    private let flags: Int32

    init(_ pattern: ByteString, ignoresCase: Bool) {
        self.pattern = pattern.bytes.map(CChar.init(bitPattern:)) + [0]
        isOfPath = pattern.bytes.contains(0x2F)
        // FNM_CASEFOLD, which the header shows to GNU sources only.
        flags = ignoresCase ? 1 << 4 : 0
    }

    func matches(name: [UInt8], path: [UInt8]) -> Bool {
        let text = (isOfPath ? path : name) + [0]
        return unsafe text.withUnsafeBytes { bytes in
            guard let start = unsafe bytes.assumingMemoryBound(to: CChar.self).baseAddress else {
                return false
            }
            return unsafe fnmatch(pattern, start, flags) == 0
        }
    }
}
