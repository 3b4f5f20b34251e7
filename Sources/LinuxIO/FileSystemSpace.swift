internal import Glibc

/// How much room a file system has.
package enum FileSystemSpace {
    /// Bytes that a program without special rights may still write to the file system of `path`; nil
    /// where the file system does not tell.
    ///
    /// Source: `statvfs(3)`.
    package static func availableByteCount(_ path: String) throws(SystemError) -> UInt64? {
        var facts = Glibc.statvfs()
        guard unsafe statvfs(path.systemBytes, &facts) == 0 else {
            throw SystemError(.status, path)
        }
        guard facts.f_blocks > 0 else { return nil }
        let (count, overflows) = UInt64(facts.f_bavail)
            .multipliedReportingOverflow(by: UInt64(facts.f_frsize))
        return overflows ? .max : count
    }
}
