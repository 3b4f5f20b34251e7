internal import BlockModel
internal import Fuse
internal import Repository
internal import RepositoryFormat
internal import RepositoryModel
internal import Serving

/// One snapshot as a file, for the kernel to read.
final class SnapshotImage: MountedTree {
    static let name = "image"

    private let snapshot: OpenSnapshot
    private let onFailure: @Sendable (any Error) -> Void

    init(_ snapshot: OpenSnapshot, onFailure: @escaping @Sendable (any Error) -> Void) {
        self.snapshot = snapshot
        self.onFailure = onFailure
    }

    package func status(of path: String) throws -> MountedStatus? {
        let seconds = snapshot.snapshot.facts.time.seconds
        return switch path {
        case "/": MountedStatus(kind: .directory, inode: 1, seconds: seconds)
        case "/\(Self.name)":
            MountedStatus(
                kind: .file, inode: 2, byteCount: snapshot.reader.byteCount,
                allocatedByteCount: snapshot.reader.byteCount, seconds: seconds)
        default: nil
        }
    }

    package func names(in path: String) throws -> [String] { path == "/" ? [Self.name] : [] }
    package func linkTarget(of path: String) throws -> String? { nil }
    package func open(_ path: String) throws -> Int64? { path == "/\(Self.name)" ? 1 : nil }
    package func close(_ file: Int64) {}
    package func failed(_ error: any Error) { onFailure(error) }

    @unsafe
    package func read(
        _ file: Int64,
        into target: UnsafeMutableRawBufferPointer,
        at offset: UInt64
    ) throws -> Int {
        try unsafe snapshot.reader.readWhatThereIs(into: target, at: offset)
    }

    package func next(_ file: Int64, from offset: UInt64, withContent: Bool) throws -> UInt64? {
        try snapshot.reader.next(from: offset, withContent: withContent)
    }
}

extension SnapshotReader {
    /// Reads as much as there is of what is wanted; gives the number of bytes.
    @unsafe
    func readWhatThereIs(
        into target: UnsafeMutableRawBufferPointer,
        at offset: UInt64
    ) throws -> Int {
        guard offset < byteCount else { return 0 }
        let count = Int(min(UInt64(target.count), byteCount - offset))
        unsafe try read(into: UnsafeMutableRawBufferPointer(rebasing: target[..<count]), at: offset)
        return count
    }

    /// The next offset with content, or without; nil behind the last.
    func next(from offset: UInt64, withContent: Bool) throws -> UInt64? {
        guard offset < byteCount else { return nil }
        var position = offset
        while position < byteCount {
            for extent in try extents(from: position, byteCount: byteCount - position) {
                if extent.isZero != withContent { return position }
                position += extent.byteCount
            }
        }
        // There is always a hole behind the end.
        return withContent ? nil : byteCount
    }
}
