import LinuxIO
import ObjectStore
import TestKit
import Testing

/// The stores that must all behave the same.
enum StoreKind: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case directory = "a directory on disk"
    case memoryDirectory = "a directory in memory"

    var testDescription: String { rawValue }

    private var parent: String {
        switch self {
        case .directory: "/tmp"
        case .memoryDirectory: "/dev/shm"
        }
    }

    /// Those that this machine has.
    static let available = allCases.filter {
        (try? FileStatus(path: $0.parent))??.kind == .directory
    }

    /// An empty store.
    func make() throws -> TemporaryStore {
        TemporaryStore(directory: try TemporaryDirectory(below: parent))
    }
}

/// A store that goes when the test ends.
final class TemporaryStore: Sendable {
    let directory: TemporaryDirectory
    let store: any ObjectStore

    init(directory: TemporaryDirectory) {
        self.directory = directory
        store = DirectoryStore(path: directory.path)
    }
}
