import Glibc
import LinuxIO

/// A regular file of this machine.
struct MachineFile {
    let path: String
    let byteCount: UInt64
}

/// The real files that the disk image is made of.
enum MachineFiles {
    static let roots = ["/usr", "/opt"]

    /// All readable files below `roots`, once each, in an order that depends on their paths and on
    /// the seed alone.
    static func list(seed: UInt64, largest: UInt64) -> [MachineFile] {
        var found: [(key: UInt64, file: MachineFile)] = []
        var linked: Set<UInt64> = []
        for root in roots {
            walk(root) { path, status in
                let byteCount = UInt64(status.st_size)
                guard byteCount > 0, byteCount <= largest, access(path, R_OK) == 0 else { return }
                if status.st_nlink > 1, !linked.insert(UInt64(status.st_ino)).inserted { return }
                found.append((key(path, seed), MachineFile(path: path, byteCount: byteCount)))
            }
        }
        found.sort { $0.key != $1.key ? $0.key < $1.key : $0.file.path < $1.file.path }
        return found.map(\.file)
    }

    /// The first `limit` bytes of a file, or all of it.
    static func content(of path: String, limit: Int) throws -> [UInt8] {
        let handle = try FileHandle(path, .read)
        let byteCount = Int(try handle.status(path).byteCount)
        var bytes = [UInt8](repeating: 0, count: min(limit, byteCount))
        var span = bytes.mutableSpan
        var raw = span.mutableBytes
        let count = try PositionedIO.read(handle.descriptor, into: &raw, at: 0, subject: path)
        return count == bytes.count ? bytes : Array(bytes[..<count])
    }

    private static func walk(_ directory: String, _ body: (String, Glibc.stat) -> Void) {
        // Directories that cannot be listed are no loss: any tree will do.
        guard let names = try? Directory.names(in: directory) else { return }
        for name in names.sorted() {
            let path = directory + "/" + name
            var status = Glibc.stat()
            guard lstat(path, &status) == 0 else { continue }
            switch status.st_mode & S_IFMT {
            case S_IFDIR: walk(path, body)
            case S_IFREG: body(path, status)
            default: continue
            }
        }
    }

    /// FNV-1a of the path, mixed with the seed.
    private static func key(_ path: String, _ seed: UInt64) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in path.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        var generator = SeededGenerator(seed: hash ^ seed)
        return generator.next()
    }
}
