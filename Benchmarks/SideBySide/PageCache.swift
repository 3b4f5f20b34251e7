import Glibc
import LinuxIO

/// The kernel's cached pages of files.
///
/// Whoever measures a warm run has to look at them, for the machine drops pages by itself.
/// Source: `mincore(2)`.
enum PageCache {
    /// Share of the file's pages that are in memory.
    static func residentShare(of path: String) throws -> Double {
        let handle = try FileHandle(path, .read)
        let byteCount = Int(try handle.status(path).byteCount)
        guard byteCount > 0 else { return 1 }
        guard let map = mmap(nil, byteCount, PROT_READ, MAP_SHARED, handle.descriptor, 0),
            map != MAP_FAILED
        else { throw SystemError(.map, path) }
        defer { munmap(map, byteCount) }
        let pageByteCount = Int(sysconf(Int32(_SC_PAGESIZE)))
        var flags = [UInt8](repeating: 0, count: (byteCount + pageByteCount - 1) / pageByteCount)
        guard mincore(map, byteCount, &flags) == 0 else { throw SystemError(.status, path) }
        var resident = 0
        for flag in flags { resident += Int(flag & 1) }
        return Double(resident) / Double(flags.count)
    }

    /// Reads the file until it stays in memory; gives the share that did.
    static func warm(_ path: String) throws -> Double {
        var share = try residentShare(of: path)
        for _ in 0..<5 where share < 0.9995 {
            try readThrough(path)
            share = try residentShare(of: path)
        }
        return share
    }

    /// The same for every file below a directory; gives the smallest share.
    static func warm(filesBelow directory: String) throws -> Double {
        var least = 1.0
        for name in try Directory.names(in: directory) ?? [] {
            let path = directory + "/" + name
            let isDirectory = try FileStatus(path: path)?.kind == .directory
            least = min(least, try isDirectory ? warm(filesBelow: path) : warm(path))
        }
        return least
    }

    /// Makes everything written so far durable, so that no run pays for the one before it.
    static func settle() { sync() }

    private static func readThrough(_ path: String) throws {
        let handle = try FileHandle(path, .read)
        let buffer = try AlignedBuffer(byteCount: 1 << 20)
        var offset: UInt64 = 0
        while true {
            let count = try PositionedIO.read(
                handle.descriptor, into: buffer, range: 0..<buffer.byteCount, at: offset,
                subject: path)
            if count == 0 { return }
            offset += UInt64(count)
        }
    }
}
