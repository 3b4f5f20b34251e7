import LinuxIO
import ObjectStore
import TestKit
import Testing

/// The stores that must all behave the same.
enum StoreKind: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case directory = "a directory on disk"
    case memoryDirectory = "a directory in memory"
    case walkedDirectory = "a directory without openat2"

    var testDescription: String { rawValue }

    private var parent: String {
        switch self {
        case .directory, .walkedDirectory: "/tmp"
        case .memoryDirectory: "/dev/shm"
        }
    }

    /// Those that this machine has.
    static let available = allCases.filter {
        (try? FileStatus(path: $0.parent))??.kind == .directory
    }

    /// An empty store.
    func make() throws -> TemporaryStore {
        TemporaryStore(
            directory: try TemporaryDirectory(below: parent),
            walksByComponent: self == .walkedDirectory)
    }
}

/// A store that goes when the test ends.
final class TemporaryStore: Sendable {
    let directory: TemporaryDirectory
    let store: any ObjectStore

    init(directory: TemporaryDirectory, walksByComponent: Bool) {
        self.directory = directory
        store = DirectoryStore(path: directory.path, walksByComponent: walksByComponent)
    }
}
