internal import CShims
internal import Glibc

/// A directory that only this user reaches, for as long as this is kept: for sockets.
package final class PrivateDirectory {
    package let path: String

    /// Makes it where the system keeps what lives until it stops.
    package init() throws(SystemError) {
        let setting = SystemEnvironment.value(of:)
        // A unit of systemd may write to the one that it was given only.
        let ofUnit = setting("RUNTIME_DIRECTORY").map {
            String($0.unicodeScalars.prefix { $0 != ":" })
        }
        let own = geteuid() == 0 ? "/run" : setting("XDG_RUNTIME_DIR")
        // Where the system has no such place, as in a chroot, or it is of another user's session.
        let bases = ofUnit.map { [$0] } ?? [own, setting("TMPDIR"), "/tmp"].compactMap(\.self)
        var failure: SystemError?
        for base in bases {
            let template = unsafe strdup("\(base)/varve-XXXXXX".systemBytes)
            defer { unsafe free(template) }
            if let template = unsafe template, unsafe mkdtemp(template) != nil {
                path = unsafe String(fromSystem: template)
                return
            }
            failure = failure ?? SystemError(.makeDirectory, base)
        }
        throw failure ?? SystemError(.makeDirectory, "/tmp")
    }

    /// Runs `body` with a new one, which is removed with what is in it when that ends.
    package static func withNew<Result>(
        _ body: (PrivateDirectory) throws -> Result
    ) throws -> Result {
        let directory = try PrivateDirectory()
        return try withExtendedLifetime(directory) { try body(directory) }
    }

    deinit {
        for name in ((try? Directory.names(in: path)) ?? nil) ?? [] {
            unsafe unlink("\(path)/\(name)".systemBytes)
        }
        unsafe rmdir(path.systemBytes)
    }
}
