internal import Glibc
internal import LinuxIO
internal import Synchronization

/// Objects as files below one directory.
///
/// An object is written to a file without a name (`O_TMPFILE`), synced, and then linked under its
/// name, which fails when the name exists; then its directory is synced. A process that dies in
/// between leaves nothing. File systems without unnamed files get a `.tmp-` file and an exclusive
/// rename instead; such files are no objects, and one that a killed process left may be deleted.
///
/// The directory may be reached through symbolic links. Below it none is followed: what one stands for is
/// listed as no object, and neither read, written nor deleted.
package final class DirectoryStore: ObjectStore {
    package let location: String

    private struct OpenFile {
        let handle: SharedDescriptor
        var lastUse: UInt64
    }
    private struct Cache {
        var files: [String: OpenFile] = [:]
        var clock: UInt64 = 0
        /// Grows with every deletion: a file that was opened before one is not kept after it.
        var deletionCount: UInt64 = 0
    }
    private static let openFileLimit = 64
    private let cache = Mutex(Cache())
    private let openRoot = Mutex<RootDirectory?>(nil)
    private let walksByComponent: Bool
    private let creation: FileCreation

    /// Uses the directory at `path`, which must exist.
    ///
    /// - Parameters:
    ///   - path: the directory, or a symbolic link to it.
    ///   - walksByComponent: whether to do without `openat2`.
    ///   - creation: the first way to try of those in which objects are created.
    package init(
        path: String,
        walksByComponent: Bool = false,
        creation: FileCreation = .unnamed
    ) {
        location = path
        self.walksByComponent = walksByComponent
        self.creation = creation
    }

    /// The directory, opened by the first call that finds it.
    private func root() throws(SystemError) -> RootDirectory {
        if let root = openRoot.withLock({ $0 }) { return root }
        let opened = try RootDirectory(location, walksByComponent: walksByComponent)
        return openRoot.withLock { root in
            if root == nil { root = opened }
            return root ?? opened
        }
    }

    /// The directory in which the object's file is; nil when there is none.
    private func directory(of name: String) throws(SystemError) -> OpenDirectory? {
        try root().directory(RootDirectory.parent(of: name))
    }

    package func begin(_ name: String) throws(ObjectStoreError) -> any ObjectWriter {
        try requireAllowed(name, .create)
        return try Self.translate(.create, name) { () throws(SystemError) in
            try beginFile(name)
        }
    }

    private func beginFile(_ name: String) throws(SystemError) -> DirectoryObjectWriter {
        let directory = try root().makeDirectory(RootDirectory.parent(of: name))
        return try DirectoryObjectWriter(in: directory, name: name, creation: creation)
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

    package func dropCached(_ name: String) {
        guard ObjectNameRule.allows(name), let file = try? open(name) else { return }
        FileOperation.dropCache(file.descriptor)
    }

    package func byteCount(of name: String) throws(ObjectStoreError) -> UInt64 {
        try requireAllowed(name, .read)
        return try Self.translate(.read, name) { () throws(SystemError) in
            guard let directory = try directory(of: name),
                let status = try directory.status(Directory.baseName(of: name))
            else { throw SystemError(.open, path(of: name), errno: ENOENT) }
            switch status.kind {
            case .regular: return status.byteCount
            case .directory: throw SystemError(.open, path(of: name), errno: ENOENT)
            case .symbolicLink:
                throw SystemError(.open, path(of: name), errno: SystemError.symbolicLink)
            case .blockDevice, .socket, .other:
                throw SystemError(.open, path(of: name), errno: SystemError.notAFile)
            }
        }
    }

    package func list(_ prefix: String) throws(ObjectStoreError) -> [ObjectEntry] {
        var entries: [ObjectEntry] = []
        let directory = prefix.hasSuffix("/") ? String(prefix.dropLast()) : prefix
        // No object has a name that begins like that.
        guard prefix.isEmpty || ObjectNameRule.allows(directory) else { return [] }
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
        try Self.translate(.delete, name) { () throws(SystemError) in
            guard let directory = try directory(of: name) else { return }
            try remove(name, in: directory)
            // What was deleted before, and is not there any more, may not be gone for good yet.
            if durability == .durable { try directory.synchronize() }
        }
    }

    private func remove(_ name: String, in directory: OpenDirectory) throws(SystemError) {
        let last = Directory.baseName(of: name)
        guard let status = try directory.status(last) else { return }
        // What only somebody else can have put there is not ours to delete.
        switch status.kind {
        case .regular, .directory: break
        case .symbolicLink:
            throw SystemError(.remove, path(of: name), errno: SystemError.symbolicLink)
        case .blockDevice, .socket, .other:
            throw SystemError(.remove, path(of: name), errno: SystemError.notAFile)
        }
        try directory.remove(last)
        cache.withLock { cache in
            cache.files.removeValue(forKey: name)
            cache.deletionCount += 1
        }
    }

    package func createLocked(
        _ name: String,
        _ bytes: [UInt8]
    ) throws(ObjectStoreError) -> any ObjectLock {
        try requireAllowed(name, .lock)
        return try Self.translate(.lock, name) { () throws(SystemError) in
            try beginFile(name).finishLocked(bytes)
        }
    }

    package func isLocked(_ name: String) -> Bool? {
        guard ObjectNameRule.allows(name), let handle = try? root().openFile(name) else {
            return nil
        }
        return FileOperation.isWriteLocked(handle.descriptor)
    }

    // MARK: Reserve

    private static let reserveName = "reserve"
    private static let reserveByteCount = 16 << 20
    /// So much stays free beside it.
    private static let freeByteCount = 64 << 20

    package func fillReserve() {
        guard let root = try? root(), let directory = try? root.directory(""),
            (try? directory.status(Self.reserveName)) == .some(nil),
            root.freeByteCount().map({ $0 >= Self.reserveByteCount + Self.freeByteCount }) == true,
            let file = try? directory.createFile(Self.reserveName)
        else { return }
        guard posix_fallocate(file.descriptor, 0, off_t(Self.reserveByteCount)) == 0 else {
            _ = try? directory.remove(Self.reserveName)
            return
        }
    }

    package func releaseReserve() -> Bool {
        guard let root = try? root(), let directory = try? root.directory(""),
            root.freeByteCount().map({ $0 < Self.reserveByteCount }) != false,
            // Whatever else has that name is somebody else's.
            let status = (try? directory.status(Self.reserveName)) ?? nil,
            status.kind == .regular, status.byteCount <= UInt64(Self.reserveByteCount)
        else { return false }
        return (try? directory.remove(Self.reserveName)) ?? false
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

    private func open(_ name: String) throws(SystemError) -> SharedDescriptor {
        let (known, deletionCount) = cache.withLock { cache -> (SharedDescriptor?, UInt64) in
            cache.clock += 1
            cache.files[name]?.lastUse = cache.clock
            return (cache.files[name]?.handle, cache.deletionCount)
        }
        if let known { return known }
        let handle = try SharedDescriptor(root().openFile(name))
        cache.withLock { cache in
            // It may have been deleted between.
            guard cache.deletionCount == deletionCount else { return }
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
            let found = try listed(directory)?.entries(where: ObjectNameRule.allows)
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
            case .symbolicLink, .blockDevice, .socket, .other:
                entries.append(ObjectEntry(name: full, byteCount: 0, isObject: false))
            }
        }
    }

    private func listed(_ directory: String) throws(SystemError) -> OpenDirectory? {
        do throws(SystemError) {
            return try root().directory(directory)
        } catch {
            if error.errno == SystemError.notFound { return nil }
            throw error
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
            case SystemError.symbolicLink:
                .notAnObject(
                    "it is a symbolic link, and links inside a repository are not followed; "
                        + "replace it with its target, or mount the target there")
            case SystemError.notAFile: .notAnObject("it is not a regular file")
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
