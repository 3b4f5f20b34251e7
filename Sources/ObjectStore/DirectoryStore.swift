internal import Glibc
internal import LinuxIO
internal import Synchronization

/// Objects as files below one directory.
///
/// An object is written to a file without a name (`O_TMPFILE`), synced, and then linked under its
/// name, which fails when the name exists; then its directory is synced. A process that dies in
/// between leaves nothing. File systems without unnamed files get a `.tmp-` file and an exclusive
/// rename instead; such files are no objects, and one that a killed process left may be deleted.
package final class DirectoryStore: ObjectStore {
    package let location: String

    private struct OpenFile {
        let handle: SharedDescriptor
        var lastUse: UInt64
    }
    private struct Cache {
        var files: [String: OpenFile] = [:]
        var clock: UInt64 = 0
    }
    private static let openFileLimit = 64
    private let cache = Mutex(Cache())

    /// Uses the directory at `path`, which must exist.
    package init(path: String) {
        location = path
    }

    package func begin(_ name: String) throws(ObjectStoreError) -> any ObjectWriter {
        try requireAllowed(name, .create)
        return try Self.translate(.create, name) { () throws(SystemError) in
            try makeParents(of: name)
            return try DirectoryObjectWriter(path: path(of: name), name: name)
        }
    }

    package func read(
        _ name: String,
        at offset: UInt64,
        into target: inout MutableRawSpan
    ) throws(ObjectStoreError) -> Int {
        try requireAllowed(name, .read)
        do throws(SystemError) {
            let file = try open(name)
            return try PositionedIO.read(
                file.descriptor, into: &target, at: offset, subject: path(of: name))
        } catch {
            throw ObjectStoreError(error, during: .read, of: name)
        }
    }

    package func byteCount(of name: String) throws(ObjectStoreError) -> UInt64 {
        try requireAllowed(name, .read)
        return try Self.translate(.read, name) { () throws(SystemError) in
            guard let status = try FileStatus(path: path(of: name)), status.kind == .regular else {
                throw SystemError(.open, path(of: name), errno: ENOENT)
            }
            return status.byteCount
        }
    }

    package func list(_ prefix: String) throws(ObjectStoreError) -> [ObjectEntry] {
        var entries: [ObjectEntry] = []
        let directory = prefix.hasSuffix("/") ? String(prefix.dropLast()) : prefix
        try Self.translate(.list, prefix) { () throws(SystemError) in
            try collect(directory, into: &entries, depth: 0)
        }
        return entries.sorted { $0.name < $1.name }
    }

    package func delete(
        _ name: String,
        _ durability: DeletionDurability
    ) throws(ObjectStoreError) {
        try requireAllowed(name, .delete)
        cache.withLock { _ = $0.files.removeValue(forKey: name) }
        try Self.translate(.delete, name) { () throws(SystemError) in
            guard unsafe unlink(path(of: name)) == 0 else {
                if errno == ENOENT || errno == ENOTDIR { return }
                throw SystemError(.remove, path(of: name))
            }
            if durability == .durable {
                try FileOperation.synchronizeDirectory(Directory.parent(of: path(of: name)))
            }
        }
    }

    package func createLocked(
        _ name: String,
        _ bytes: [UInt8]
    ) throws(ObjectStoreError) -> any ObjectLock {
        try requireAllowed(name, .lock)
        return try Self.translate(.lock, name) { () throws(SystemError) in
            try makeParents(of: name)
            let writer = try DirectoryObjectWriter(path: path(of: name), name: name)
            return try writer.finishLocked(bytes)
        }
    }

    package func isLocked(_ name: String) -> Bool? {
        guard let handle = try? FileHandle(path(of: name), .read) else { return nil }
        return FileOperation.isLocked(handle.descriptor)
    }

    // MARK: Reserve

    private static let reserveName = "reserve"
    private static let reserveByteCount = 16 << 20
    /// So much stays free beside it.
    private static let freeByteCount = 64 << 20

    package func fillReserve() {
        let path = path(of: Self.reserveName)
        guard (try? FileStatus(path: path)) == .some(nil),
            freeByteCount().map({ $0 >= Self.reserveByteCount + Self.freeByteCount }) == true,
            let file = try? FileHandle(path, .create, mode: 0o600)
        else { return }
        guard posix_fallocate(file.descriptor, 0, off_t(Self.reserveByteCount)) == 0 else {
            _ = unsafe unlink(path)
            return
        }
    }

    package func releaseReserve() -> Bool {
        guard freeByteCount().map({ $0 < Self.reserveByteCount }) != false else { return false }
        return unsafe unlink(path(of: Self.reserveName)) == 0
    }

    /// Bytes that anybody may still store there.
    private func freeByteCount() -> Int? {
        var status = statvfs()
        guard unsafe statvfs(location, &status) == 0 else { return nil }
        let (count, isTooMuch) = Int(clamping: status.f_bavail).multipliedReportingOverflow(
            by: Int(clamping: status.f_frsize))
        return isTooMuch ? .max : count
    }

    private func requireAllowed(
        _ name: String,
        _ operation: ObjectStoreError.Operation
    ) throws(ObjectStoreError) {
        guard ObjectNameRule.allows(name) else {
            throw ObjectStoreError(.badName, during: operation, of: name)
        }
    }

    private func path(of name: String) -> String { location + "/" + name }

    private func makeParents(of name: String) throws(SystemError) {
        let parent = Directory.parent(of: path(of: name))
        guard try FileStatus(path: parent) == nil else { return }
        var missing: [String] = []
        var directory = parent
        while directory != location, try FileStatus(path: directory) == nil {
            missing.append(directory)
            directory = Directory.parent(of: directory)
        }
        for directory in missing.reversed() { try Directory.make(directory) }
    }

    private func open(_ name: String) throws(SystemError) -> SharedDescriptor {
        let known = cache.withLock { cache -> SharedDescriptor? in
            cache.clock += 1
            cache.files[name]?.lastUse = cache.clock
            return cache.files[name]?.handle
        }
        if let known { return known }
        let handle = try SharedDescriptor(FileHandle(path(of: name), .read))
        cache.withLock { cache in
            if cache.files.count >= Self.openFileLimit,
                let oldest = cache.files.min(by: { $0.value.lastUse < $1.value.lastUse })
            {
                cache.files.removeValue(forKey: oldest.key)
            }
            cache.files[name] = OpenFile(handle: handle, lastUse: cache.clock)
        }
        return handle
    }

    private func collect(
        _ directory: String,
        into entries: inout [ObjectEntry],
        depth: Int
    ) throws(SystemError) {
        // What no object can be called, such as lost+found, is none of ours.
        guard depth < 8,
            let found = try Directory.entries(
                in: path(of: directory), where: ObjectNameRule.allows)
        else { return }
        for (name, status) in found {
            let full = directory.isEmpty ? name : directory + "/" + name
            switch status.kind {
            case .directory: try collect(full, into: &entries, depth: depth + 1)
            case .regular:
                entries.append(
                    ObjectEntry(
                        name: full, byteCount: status.byteCount,
                        storedSeconds: status.modifiedSeconds))
            default: break
            }
        }
    }

    private static func translate<Result>(
        _ operation: ObjectStoreError.Operation,
        _ name: String,
        _ body: () throws(SystemError) -> Result
    ) throws(ObjectStoreError) -> Result {
        do throws(SystemError) {
            return try body()
        } catch {
            throw ObjectStoreError(error, during: operation, of: name)
        }
    }
}

extension ObjectStoreError {
    /// The store's word for what the kernel said.
    init(_ error: SystemError, during operation: Operation, of name: String) {
        let reason: Reason =
            switch error.errno {
            case ENOENT, ENOTDIR: .notFound
            case EEXIST: .alreadyExists
            case EACCES, EPERM, EROFS: .denied
            case ENOSPC, EDQUOT: .noSpace
            case ETIMEDOUT: .timedOut
            default: .failed(error.reason)
            }
        self.init(reason, during: operation, of: name)
    }
}

/// A descriptor that several readers use until the last lets go of it.
final class SharedDescriptor: ObjectLock {
    private let handle: FileHandle

    init(_ handle: consuming FileHandle) { self.handle = handle }

    var descriptor: Int32 { handle.descriptor }
}
