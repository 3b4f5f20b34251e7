internal import Glibc
internal import LinuxIO

/// A new, empty directory that goes with its last reference, and everything in it too.
package final class TemporaryDirectory: Sendable {
    package let path: String

    package init(below parent: String = "/tmp") throws {
        var template = Array((parent + "/varve-test-XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemError(.makeDirectory, parent) }
        path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    deinit { Self.remove(path) }

    /// The names of all files below the directory, in order.
    package func files() throws -> [String] { try Self.files(below: path, prefix: "").sorted() }

    private static func files(below path: String, prefix: String) throws -> [String] {
        var found: [String] = []
        for name in try Directory.names(in: path) ?? [] {
            let below = path + "/" + name
            if isDirectory(below) {
                found += try files(below: below, prefix: prefix + name + "/")
            } else {
                found.append(prefix + name)
            }
        }
        return found
    }

    private static func remove(_ path: String) {
        for name in ((try? Directory.names(in: path)) ?? nil) ?? [] {
            let below = path + "/" + name
            if isDirectory(below) { remove(below) } else { unlink(below) }
        }
        rmdir(path)
    }

    /// Does not follow symbolic links, so that nothing outside is ever removed.
    private static func isDirectory(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }
}
