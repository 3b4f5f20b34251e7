internal import Glibc
internal import LinuxIO
internal import Repository

/// Says that a process uses an index, so that none throws it away under it.
final class IndexUse: Sendable {
    private static let attemptLimit = 50
    private let descriptor: Int32

    /// Waits for a rebuild that is under way.
    init(directory: String) throws {
        let path = directory + "/use.lock"
        descriptor = try LockFile.open(path)
        while !FileOperation.tryLock(descriptor, exclusive: false) {
            let code = errno
            guard code == EAGAIN || code == EACCES || code == EINTR, !Interruption.isRequested
            else {
                close(descriptor)
                throw SystemError(.lock, path, errno: code)
            }
            usleep(20_000)
        }
    }

    deinit { close(descriptor) }

    /// Runs `body` while no other process uses the index.
    func alone(_ body: () throws -> Void) throws {
        var attempt = 0
        while !FileOperation.tryLock(descriptor, exclusive: true) {
            attempt += 1
            guard attempt < Self.attemptLimit else {
                throw RepositoryError(
                    .locked,
                    "the index is in use by another command on this machine; wait for it to end")
            }
            usleep(20_000)
        }
        defer { _ = FileOperation.tryLock(descriptor, exclusive: false) }
        try body()
    }
}

/// Lets one process at a time change the histories of an index; readers need no lock.
private final class UpdateLock {
    private let descriptor: Int32

    init(directory: String) throws {
        let path = directory + "/update.lock"
        do {
            descriptor = try LockFile.open(path)
        } catch {
            throw IndexPlace.failure(error, in: directory)
        }
        while !FileOperation.tryLock(descriptor, exclusive: true) {
            guard errno == EAGAIN || errno == EACCES || errno == EINTR else {
                let error = SystemError(.lock, path)
                close(descriptor)
                throw IndexPlace.failure(error, in: directory)
            }
            usleep(10_000)
        }
    }

    deinit { close(descriptor) }
}

extension Index {
    /// Runs `body` while no other process changes this index.
    func withUpdateLock<Result>(_ body: () throws -> Result) throws -> Result {
        try Self.withUpdateLock(directory, body)
    }

    static func withUpdateLock<Result>(
        _ directory: String,
        _ body: () throws -> Result
    ) throws -> Result {
        let lock = try UpdateLock(directory: directory)
        return try withExtendedLifetime(lock) { try body() }
    }
}

enum LockFile {
    static func open(_ path: String) throws(SystemError) -> Int32 {
        let descriptor: Int32 = unsafe Glibc.open(
            path.systemBytes, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw SystemError(.open, path) }
        return descriptor
    }
}
