internal import CShims
internal import Glibc

/// A directory that only this user reaches, for as long as this is kept: for sockets.
package final class PrivateDirectory {
    package let path: String

    /// Makes it where the system keeps what lives until it stops.
    package init() throws(SystemError) {
        let runtime = unsafe getenv("XDG_RUNTIME_DIR").map { unsafe String(cString: $0) }
        let base = geteuid() == 0 ? "/run" : runtime ?? "/tmp"
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
