package import BlockModel
package import DiskContents
internal import Glibc
internal import LinuxIO
package import Repository

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

    package let path: [UInt8]
    package let state: State
    package let first: Timeline.Snapshot
    package fileprivate(set) var last: Timeline.Snapshot
    package fileprivate(set) var snapshotCount: Int
    /// Place of `last` among the snapshots that were looked at.
    fileprivate var position: Int
}

extension SnapshotService {
    /// How a file was in each of a volume's snapshots, oldest first.
    ///
    /// - Throws: ``ServiceError`` when there is no such volume; ``ExtractionInterrupted``.
    package func history(
        of path: String,
        in volume: VolumeName,
        partition: Int?
    ) throws -> [FileVersion] {
        let hold = try holdForReading(purpose: "history")
        defer { withExtendedLifetime(hold) {} }
        guard let timeline = try timelines(volume).first else {
            throw ServiceError(.failed, "the repository has no volume '\(volume)'")
        }
        let series = try FileSeries(self, timeline, partition: partition)
        var versions: [FileVersion] = []
        for (position, snapshot) in timeline.snapshots.enumerated() {
            if Interruption.isRequested { throw ExtractionInterrupted() }
            try? hold?.renew(now: Moment.now())
            let state: FileVersion.State
            do {
                try series.go(to: snapshot)
                state = try series.file(at: path).map { .present($0) } ?? .absent
            } catch {
                state = .unreadable("\(error)")
            }
            Self.add(state, Array(path.utf8), snapshot, position, to: &versions)
        }
        return versions
    }

    /// Files whose name matches a pattern, in snapshots of a volume.
    ///
    /// - Parameters:
    ///   - pattern: as shells have them; one with a slash is matched with the whole path.
    ///   - timeline: the volume.
    ///   - snapshots: those to look in, oldest first.
    ///   - partition: number of the partition; nil for the only one with files.
    ///   - ignoresCase: whether small and large letters are alike.
    /// - Returns: versions, in the order of paths and then of time; and what could not be looked at.
    /// - Throws: ``ExtractionInterrupted``; what the repository throws.
    package func find(
        _ pattern: String,
        in timeline: Timeline,
        _ snapshots: [Timeline.Snapshot],
        partition: Int?,
        ignoresCase: Bool
    ) throws -> (versions: [FileVersion], problems: [String]) {
        let hold = try holdForReading(purpose: "find")
        defer { withExtendedLifetime(hold) {} }
        let series = try FileSeries(self, timeline, partition: partition)
        let matcher = NamePattern(pattern, ignoresCase: ignoresCase)
        var versions: [[UInt8]: [FileVersion]] = [:]
        var problems: [String] = []
        for (position, snapshot) in snapshots.enumerated() {
            try? hold?.renew(now: Moment.now())
            var damage: (count: Int, first: String)?
            do {
                try series.go(to: snapshot)
                try Self.walk(series) { path, entry in
                    guard matcher.matches(name: entry.name, path: path) else { return }
                    let state: FileVersion.State
                    do {
                        guard let inode = try series.inode(entry.inode) else { return }
                        state = .present(inode)
                    } catch {
                        state = .unreadable("\(error)")
                    }
                    Self.add(state, path, snapshot, position, to: &versions[path, default: []])
                } onDamage: { error in
                    damage = ((damage?.count ?? 0) + 1, damage?.first ?? "\(error)")
                }
            } catch let error as ExtractionInterrupted {
                throw error
            } catch {
                damage = (1, "\(error)")
            }
            if let damage {
                problems.append(
                    "\(timeline.volume)@\(snapshot.generation): \(damage.first)"
                        + (damage.count > 1 ? ", and \(damage.count - 1) more" : ""))
            }
        }
        return (
            versions.sorted { $0.key.lexicographicallyPrecedes($1.key) }.flatMap(\.value), problems
        )
    }

    private static func add(
        _ state: FileVersion.State,
        _ path: [UInt8],
        _ snapshot: Timeline.Snapshot,
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
                    path: path, state: state, first: snapshot, last: snapshot, snapshotCount: 1,
                    position: position))
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
            if Interruption.isRequested { throw ExtractionInterrupted() }
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
    private let pattern: String
    private let isOfPath: Bool
    private let flags: Int32

    init(_ pattern: String, ignoresCase: Bool) {
        self.pattern = pattern
        isOfPath = pattern.utf8.contains(0x2F)
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
