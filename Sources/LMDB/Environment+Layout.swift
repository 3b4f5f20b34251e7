internal import Glibc
internal import LinuxIO

extension Environment {
    /// Whether the file ends before the pages that its header counts: LMDB would crash on it.
    ///
    /// A file that cannot be opened, or is empty, counts as whole: LMDB says what is wrong with it. Source: `MDB_meta` in mdb.c of 0.9.
    package static func isCutShort(_ path: String) -> Bool {
        guard let handle = try? FileHandle(path, .read),
            let status = try? handle.status(path), status.byteCount > 0
        else { return false }
        let pageByteCount = Int(sysconf(Int32(_SC_PAGESIZE)))
        var bytes = [UInt8](repeating: 0, count: 2 * pageByteCount)
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        guard
            let count = try? PositionedIO.read(handle.descriptor, into: &raw, at: 0, subject: path),
            count == bytes.count
        else { return true }
        // Both meta pages of LMDB 0.9 on a 64-bit machine: a page header of 16 bytes, then magic,
        // version, address, map size, two tables of 48 bytes, and the last page in use.
        let words = unsafe bytes.span.bytes
        // Safe: `bytes` has two pages, and any bits are an integer; LMDB writes those of the processor.
        let lastPages = [0, pageByteCount].map {
            unsafe words.unsafeLoadUnaligned(fromByteOffset: $0 + 16 + 24 + 96, as: UInt64.self)
        }
        let transactions = [0, pageByteCount].map {
            unsafe words.unsafeLoadUnaligned(fromByteOffset: $0 + 16 + 24 + 104, as: UInt64.self)
        }
        let newest = transactions[1] > transactions[0] ? lastPages[1] : lastPages[0]
        return newest >= 1 << 40 || (newest + 1) * UInt64(pageByteCount) > status.byteCount
    }
}
