import LinuxIO
import ObjectStore
import SimulationSupport
import TestKit
import Testing

/// The stores that must all behave the same.
enum StoreKind: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case directory = "a directory on disk"
    case memoryDirectory = "a directory in memory"
    case walkedDirectory = "a directory without openat2"
    case renamedDirectory = "a directory without unnamed files"
    case linkedDirectory = "a directory without unnamed files and renames"
    case throttled = "a throttled directory"
    case watched = "a watched directory"
    case memory = "the simulation's memory"

    var testDescription: String { rawValue }

    /// Where the directory is made; nil for one that has none.
    private var parent: String? {
        switch self {
        case .memory: nil
        case .memoryDirectory: "/dev/shm"
        default: "/tmp"
        }
    }

    /// Those that this machine has.
    static let available = allCases.filter {
        guard let parent = $0.parent else { return true }
        return (try? FileStatus(path: parent))??.kind == .directory
    }

    /// Those in whose place others can put what is no object.
    static let inDirectories = available.filter { $0.parent != nil }

    /// An empty store.
    func make() throws -> TemporaryStore {
        guard let parent else { return TemporaryStore(MemoryStore()) }
        let directory = try TemporaryDirectory(below: parent)
        let path = directory.path
        let store: any ObjectStore =
            switch self {
            case .walkedDirectory: DirectoryStore(path: path, walksByComponent: true)
            case .renamedDirectory: DirectoryStore(path: path, creation: .renamed)
            case .linkedDirectory: DirectoryStore(path: path, creation: .linked)
            case .throttled:
                ThrottledStore(DirectoryStore(path: path), bytesPerSecond: 1 << 60)
            case .watched: WatchedStore(DirectoryStore(path: path))
            case .directory, .memoryDirectory, .memory: DirectoryStore(path: path)
            }
        return TemporaryStore(store, in: directory)
    }
}

/// A store that goes when the test ends.
final class TemporaryStore: Sendable {
    let store: any ObjectStore
    /// What another process has, with the same objects.
    let other: any ObjectStore
    private let place: Place

    private enum Place {
        case directory(TemporaryDirectory)
        case memory(MemoryStore)
    }

    init(_ store: any ObjectStore, in directory: TemporaryDirectory) {
        self.store = store
        other = DirectoryStore(path: directory.path)
        place = .directory(directory)
    }

    init(_ memory: MemoryStore) {
        store = memory
        other = memory
        place = .memory(memory)
    }

    /// All that is there, be it an object or not, in order.
    func files() throws -> [String] {
        switch place {
        case .directory(let directory): try directory.files()
        case .memory(let memory): memory.objects.keys.sorted()
        }
    }

    /// The directory of one that has one.
    func directory() throws -> TemporaryDirectory {
        guard case .directory(let directory) = place else {
            throw ObjectStoreError(.failed("no directory"), during: .list, of: "")
        }
        return directory
    }
}
