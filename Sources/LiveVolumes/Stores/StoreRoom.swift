internal import BlockModel
internal import LinuxIO
internal import VolumeAccess

/// How large a store in a directory may become.
///
/// A store is a sparse file: it takes what it needs and no more. But it never takes the last tenth of
/// what is free when it is made, so that it does not fill a file system which others need too. A store
/// that is used up costs a full comparison, and nobody a write.
struct StoreRoom {
    /// Less than this is no store: 1 MiB.
    static var minimumByteCount: UInt64 { 32 * CopyStore.chunkByteCount }

    let directory: String
    private let fullByteCount: UInt64

    init(directory: String, _ volumeByteCount: UInt64) {
        self.directory = directory
        fullByteCount = CopyStore.fullByteCount(ofVolume: volumeByteCount)
    }

    /// Bytes of a store that is made now.
    ///
    /// - Parameter freedByteCount: what becomes free on the file system before the store is filled.
    /// - Returns: its size.
    /// - Throws: ``VolumeError`` when there is too little room, or no directory.
    func byteCount(freedByteCount: UInt64 = 0) throws -> UInt64 {
        guard let status = try FileStatus(path: directory), status.kind == .directory else {
            throw VolumeError(
                .missing,
                "the directory \(directory) of the store is missing; mount or make it, or name "
                    + "another store")
        }
        let available = try FileSystemSpace.availableByteCount(directory)
        guard
            let byteCount = Self.byteCount(
                full: fullByteCount, available: available, freed: freedByteCount)
        else {
            throw VolumeError(
                .failed,
                "the file system of \(directory) has \(Human.bytes(available ?? 0)) free, too little "
                    + "for a store; free some space there, or name another store")
        }
        return byteCount
    }

    /// Bytes of a store that would have `full` bytes where there is room; nil where there is too little.
    static func byteCount(full: UInt64, available: UInt64?, freed: UInt64) -> UInt64? {
        guard let available else { return full }
        let (sum, overflows) = available.addingReportingOverflow(freed)
        let room = (overflows ? UInt64.max : sum) / 10 * 9
        let wanted = min(full, room) / CopyStore.chunkByteCount * CopyStore.chunkByteCount
        return wanted >= min(full, minimumByteCount) ? wanted : nil
    }

    /// Gives a new file its size, without taking that from the disk; sets the first bytes aside there
    /// when they are to be had.
    ///
    /// - Throws: ``VolumeError`` when the file system has no sparse files, or none of that size.
    func enlarge(
        _ descriptor: Int32,
        _ file: String,
        to byteCount: UInt64,
        reserved: UInt64
    ) throws {
        // What would be written out as zeros is tried with little.
        let probe = min(byteCount, 8 << 20)
        try FileOperation.truncate(descriptor, to: probe, subject: file)
        let taken = try FileStatus(descriptor: descriptor, subject: file).allocatedByteCount
        guard taken <= probe / 2 else {
            throw VolumeError(
                .unsuitable,
                "the file system of \(directory) has no sparse files, but a store needs them; name "
                    + "a directory on ext4, XFS or btrfs")
        }
        do {
            try FileOperation.truncate(descriptor, to: byteCount, subject: file)
        } catch {
            throw VolumeError(
                .unsuitable,
                "the file system of \(directory) cannot hold a file of \(Human.bytes(byteCount)) "
                    + "for the store (\(error.reason)); name another store")
        }
        guard reserved > 0 else { return }
        do {
            try FileOperation.allocate(descriptor, byteCount: reserved, subject: file)
        } catch {
            // What was set aside so far goes back.
            try FileOperation.truncate(descriptor, to: 0, subject: file)
            try FileOperation.truncate(descriptor, to: byteCount, subject: file)
        }
    }
}
