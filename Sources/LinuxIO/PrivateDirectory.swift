internal import CShims
internal import Glibc

/// A directory that only this user reaches, for as long as this is kept: for sockets.
package final class PrivateDirectory {
    package let path: String

    /// Makes it where the system keeps what lives until it stops.
    package init() throws(SystemError) {
        func setting(_ name: String) -> String? {
            unsafe getenv(name).map { unsafe String(cString: $0) }
        }
        // A unit of systemd may write to the one that it was given only.
        let ofUnit = setting("RUNTIME_DIRECTORY").map { String($0.prefix { $0 != ":" }) }
        let base =
            ofUnit ?? (geteuid() == 0 ? "/run" : setting("XDG_RUNTIME_DIR") ?? "/tmp")
        let template = unsafe strdup("\(base)/varve-XXXXXX")
        defer { unsafe free(template) }
        guard let template = unsafe template, unsafe mkdtemp(template) != nil else {
            throw SystemError(.makeDirectory, base)
        }
        path = unsafe String(cString: template)
    }

    deinit {
        for name in ((try? Directory.names(in: path)) ?? nil) ?? [] {
            unsafe unlink("\(path)/\(name)")
        }
        unsafe rmdir(path)
    }
}
