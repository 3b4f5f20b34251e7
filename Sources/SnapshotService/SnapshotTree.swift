internal import BlockModel
package import Fuse
internal import LinuxIO
package import Logging
internal import Repository
internal import RepositoryFormat
internal import RepositoryIndex
internal import RepositoryModel
internal import Serving
internal import Synchronization

/// The snapshots of a repository as files: `VOLUME/TIME.img`, and `VOLUME/latest.img`, which leads to
/// the newest.
///
/// Snapshots that come while it is there are seen within a second. One that is damaged is not shown.
package final class SnapshotTree: MountedTree {
    private struct State {
        /// By volume, and by name of the file; the newest of each.
        var files: [String: [String: Snapshot]] = [:]
        var latest: [String: (name: String, seconds: Int64)] = [:]
        var timelines: [String: Timeline] = [:]
        var lookTime: UInt64?
        var open: [Int64: SnapshotID] = [:]
        var readers: [SnapshotID: (reader: OpenSnapshot, count: Int)] = [:]
        var dataByteCounts: [SnapshotID: UInt64] = [:]
        /// The newest snapshot of each volume that the index is known to have.
        var indexed: [String: SnapshotID] = [:]
        var lastFile: Int64 = 0
    }

    private static let lookNanoseconds: UInt64 = 1_000_000_000
    static let latestName = "latest.img"

    private let service: Mutex<OpenRepository>
    private let options: SnapshotReader.Options
    private let logger: Logger
    private let state = Mutex(State())

    /// Several may be open at once.
    private static let cacheByteCount = 256 << 20

    private let hold: Hold?

    /// Shows the snapshots of a repository, which is kept from being pruned as long as this is kept.
    package init(
        _ service: sending OpenRepository,
        cacheByteCount: Int?,
        logger: Logger
    ) throws {
        hold = try service.holdForReading(purpose: "mount")
        self.service = Mutex(service)
        self.logger = logger
        var options = SnapshotReader.Options()
        options.cacheByteCount = cacheByteCount ?? Self.cacheByteCount
        self.options = options
    }

    /// What the file of a snapshot is called: no colon, which other programs take for more than a name.
    private static func name(of snapshot: Snapshot) -> String {
        let text = Timestamp(seconds: snapshot.facts.time.seconds).rfc3339
        return String(text.filter { $0 != ":" }) + ".img"
    }

    /// Looks at the repository again, when that is due.
    private func look() throws {
        let now = Moment.monotonicNanoseconds()
        let isDue = state.withLock { state in
            guard let last = state.lookTime, now - last < Self.lookNanoseconds else {
                state.lookTime = now
                return true
            }
            return false
        }
        guard isDue else { return }
        var files: [String: [String: Snapshot]] = [:]
        var latest: [String: (name: String, seconds: Int64)] = [:]
        var timelines: [String: Timeline] = [:]
        for timeline in try service.withLock({ try $0.timelines() }) {
            timelines[timeline.volume.rawValue] = timeline
            var names: [String: Snapshot] = [:]
            for snapshot in timeline.snapshots {
                var name = Self.name(of: snapshot)
                if names[name] != nil { name = "\(name.dropLast(4))-\(snapshot.generation).img" }
                names[name] = snapshot
                latest[timeline.volume.rawValue] = (name, snapshot.facts.time.seconds)
            }
            files[timeline.volume.rawValue] = names
        }
        state.withLock { state in
            state.files = files
            state.latest = latest
            state.timelines = timelines
        }
    }

    private enum Item {
        case root
        /// With the time of the newest snapshot.
        case volume(String, seconds: Int64)
        case latest(volume: String, name: String, seconds: Int64)
        case snapshot(Snapshot, of: Timeline)
    }

    private func item(_ path: String) throws -> Item? {
        try look()
        let parts = path.split(separator: "/").map(String.init)
        return state.withLock { state in
            guard let volume = parts.first else { return .root }
            guard let files = state.files[volume], parts.count < 3 else { return nil }
            let latest = state.latest[volume]
            guard parts.count == 2 else {
                return .volume(volume, seconds: latest?.seconds ?? 0)
            }
            if parts[1] == Self.latestName {
                return latest.map { .latest(volume: volume, name: $0.name, seconds: $0.seconds) }
            }
            guard let snapshot = files[parts[1]], let timeline = state.timelines[volume] else {
                return nil
            }
            return .snapshot(snapshot, of: timeline)
        }
    }

    // MARK: What the system asks

    package func status(of path: String) throws -> MountedStatus? {
        switch try item(path) {
        case nil: nil
        case .root:
            MountedStatus(
                kind: .directory, inode: 1,
                seconds: state.withLock { $0.latest.values.map(\.seconds).max() ?? 0 })
        case .volume(let volume, let seconds):
            MountedStatus(kind: .directory, inode: Self.inode(of: volume), seconds: seconds)
        case .latest(let volume, let name, let seconds):
            MountedStatus(
                kind: .link, inode: Self.inode(of: volume) ^ 1, byteCount: UInt64(name.utf8.count),
                seconds: seconds)
        case .snapshot(let snapshot, let timeline):
            MountedStatus(
                kind: .file, inode: snapshot.id.inode, byteCount: snapshot.facts.byteCount,
                allocatedByteCount: try dataByteCount(snapshot, timeline),
                seconds: snapshot.facts.time.seconds)
        }
    }

    /// FNV-1a.
    private static func inode(of text: String) -> UInt64 {
        text.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 } | 2
    }

    private func dataByteCount(
        _ snapshot: Snapshot,
        _ timeline: Timeline
    ) throws -> UInt64 {
        if let known = state.withLock({ $0.dataByteCounts[snapshot.id] }) { return known }
        let newest = timeline.snapshots.last?.id
        let isNew = state.withLock { $0.indexed[timeline.volume.rawValue] != newest }
        let count = try service.withLock {
            try $0.dataByteCount(of: snapshot, timeline, bringsForward: isNew)
        }
        state.withLock { state in
            state.dataByteCounts[snapshot.id] = count
            state.indexed[timeline.volume.rawValue] = newest
        }
        return count
    }

    package func names(in path: String) throws -> [String] {
        switch try item(path) {
        case .root: state.withLock { $0.files.keys.sorted() }
        case .volume(let volume, _):
            state.withLock { state in
                (state.files[volume].map { $0.keys.sorted() } ?? [])
                    + (state.latest[volume] == nil ? [] : [Self.latestName])
            }
        default: []
        }
    }

    package func linkTarget(of path: String) throws -> String? {
        guard case .latest(_, let name, _) = try item(path) else { return nil }
        return name
    }

    package func open(_ path: String) throws -> Int64? {
        guard case .snapshot(let snapshot, _) = try item(path) else { return nil }
        // One that two open at once is opened once.
        return try service.withLock { service in
            let known = state.withLock { $0.readers[snapshot.id]?.reader }
            let reader =
                try known
                ?? service.open(
                    SnapshotSelector(snapshot.id.hexadecimal), purpose: "mount",
                    options: options)
            return state.withLock { state in
                state.readers[snapshot.id, default: (reader, 0)].count += 1
                state.lastFile += 1
                state.open[state.lastFile] = snapshot.id
                return state.lastFile
            }
        }
    }

    private func reader(_ file: Int64) -> SnapshotReader? {
        state.withLock { state in
            state.open[file].flatMap { state.readers[$0]?.reader.reader }
        }
    }

    @unsafe
    package func read(
        _ file: Int64,
        into target: UnsafeMutableRawBufferPointer,
        at offset: UInt64
    ) throws -> Int {
        guard let reader = reader(file) else { return 0 }
        return try unsafe reader.readWhatThereIs(into: target, at: offset)
    }

    package func next(_ file: Int64, from offset: UInt64, withContent: Bool) throws -> UInt64? {
        try reader(file)?.next(from: offset, withContent: withContent)
    }

    package func close(_ file: Int64) {
        // Not while the lock is held: it may remove a hold.
        _ = state.withLock { state -> OpenSnapshot? in
            guard let id = state.open.removeValue(forKey: file),
                let (reader, count) = state.readers[id]
            else { return nil }
            state.readers[id] = count > 1 ? (reader, count - 1) : nil
            return reader
        }
    }

    package func failed(_ error: any Error) { logger.error("\(error)") }

    /// Renews the holds of what is open.
    package func renew() {
        for reader in state.withLock({ $0.readers.values.map(\.reader) }) { reader.renew() }
    }
}

extension SnapshotID {
    fileprivate var inode: UInt64 {
        hexadecimal.utf8.prefix(15).reduce(0) { $0 << 4 | UInt64($1 & 0x0f) } | 2
    }
}

extension OpenRepository {
    /// Bytes of the blocks that hold anything but zeros.
    fileprivate func dataByteCount(
        of snapshot: Snapshot,
        _ timeline: Timeline,
        bringsForward: Bool
    ) throws -> UInt64 {
        try retryingWithFreshIndex {
            let index = try index()
            if bringsForward { try index.bringForward(timeline, with: repository) }
            return try index.mapWhenCurrent(of: snapshot, in: timeline, with: repository)
                .dataByteCount()
        }
    }
}
