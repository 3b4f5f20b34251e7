internal import BlockModel
internal import ChangeTracking
internal import DeviceMapper
internal import LinuxIO
internal import VolumeAccess

/// The place where device-mapper keeps what an origin held before it was written: a linear device over
/// a sparse file, or over part of a device.
package struct CopyStore {
    /// Chunks of 32 KiB; the page of documentation `Tracking` has the measurement.
    static let chunkSectorCount: UInt32 = 64
    package static var chunkByteCount: UInt64 {
        UInt64(chunkSectorCount) * UInt64(TableLine.sectorByteCount)
    }
    private static let sector = UInt64(TableLine.sectorByteCount)

    /// The device's name.
    let name: String

    /// Room for a copy of every chunk of a volume, and the list of them: more is never needed.
    static func fullByteCount(ofVolume byteCount: UInt64) -> UInt64 {
        let chunks = (byteCount + chunkByteCount - 1) / chunkByteCount
        let perArea = chunkByteCount / 16
        return (2 + chunks + chunks / perArea + 1) * chunkByteCount
    }

    /// Makes a store in a new sparse file, with room for a copy of all of a volume where the file system
    /// has it: the disk is used only as far as something is kept.
    ///
    /// - Parameters:
    ///   - name: the device's name.
    ///   - file: the file, which is removed first when it is there.
    ///   - volumeByteCount: size of the volume.
    ///   - reservedByteCount: bytes that are set aside on the disk at once, where it has them.
    ///   - freedByteCount: bytes that become free on the file system before the store is filled.
    ///   - labelByteCount: bytes at the beginning that are left to the caller.
    /// - Returns: the store.
    /// - Throws: ``VolumeError`` when the file system has too little room, or no sparse files.
    static func make(
        _ name: String,
        file: String,
        volumeByteCount: UInt64,
        reservedByteCount: UInt64 = 0,
        freedByteCount: UInt64 = 0,
        labelByteCount: UInt64 = 0
    ) throws -> CopyStore {
        try FileOperation.remove(file)
        let room = StoreRoom(directory: Directory.parent(of: file), volumeByteCount)
        let byteCount = try room.byteCount(freedByteCount: freedByteCount)
        do {
            let handle = try FileHandle(file, .create, mode: 0o600)
            try room.enlarge(
                handle.descriptor, file, to: labelByteCount + byteCount,
                reserved: reservedByteCount == 0
                    ? 0 : labelByteCount + min(reservedByteCount, byteCount))
            try FileOperation.synchronize(handle.descriptor, subject: file)
            try FileOperation.synchronizeDirectory(Directory.parent(of: file))
            return try open(name, file: file, labelByteCount: labelByteCount)
        } catch {
            try? FileOperation.remove(file)
            throw error
        }
    }

    /// Opens a store in a file that is there.
    static func open(
        _ name: String,
        file: String,
        labelByteCount: UInt64 = 0
    ) throws -> CopyStore {
        let loop = try LoopDevice(over: file)
        guard let status = try FileStatus(path: file) else { throw SystemError(.open, file) }
        try DeviceMapper.create(
            name,
            [
                .linear(
                    MappedDevice.tableName(try loop.number()),
                    sectorCount: (status.byteCount - labelByteCount) / sector,
                    firstSector: labelByteCount / sector)
            ], isPrivate: true)
        return CopyStore(name: name)
    }

    /// Makes a store in a part of a device, or opens one that is there.
    static func open(
        _ name: String,
        device: String,
        bytes: Range<UInt64>,
        isNew: Bool
    ) throws -> CopyStore {
        guard let status = try FileStatus(path: device), status.kind == .blockDevice else {
            throw VolumeError(.missing, "there is no device at \(device)")
        }
        try DeviceMapper.create(
            name,
            [
                .linear(
                    MappedDevice.tableName(status.representedDevice),
                    sectorCount: UInt64(bytes.count) / sector,
                    firstSector: bytes.lowerBound / sector)
            ], isPrivate: true)
        let store = CopyStore(name: name)
        do {
            if isNew { try store.clear() }
        } catch {
            store.remove()
            throw error
        }
        return store
    }

    /// Makes the kernel take the store for a new one.
    private func clear() throws {
        guard let device = try MappedDevice(name: name) else { throw SystemError(.open, name) }
        let path = MappedDevice.node(of: device.number)
        let handle = try FileHandle(path, .readWrite)
        let zeros = [UInt8](repeating: 0, count: Int(Self.chunkByteCount))
        try PositionedIO.write(handle.descriptor, zeros.rawSpan, at: 0, subject: path)
        try FileOperation.synchronize(handle.descriptor, subject: path)
        BlockDevice.dropCache(handle.descriptor)
    }

    /// Takes the device away; the file stays.
    func remove() { try? DeviceMapper.remove(name) }

    /// Proves that the list in the store is one that can be gone by, before the kernel does so: it
    /// believes what it reads.
    ///
    /// - Throws: ``NothingKnown`` when the list was lost or damaged.
    func requireSound(volumeByteCount: UInt64) throws {
        do {
            _ = try written(volumeByteCount: volumeByteCount)
        } catch let refusal as ExceptionStore.Refusal {
            throw NothingKnown(description: "\(refusal)")
        }
    }

    /// What was written since the view of this store began, of a volume of so many bytes.
    ///
    /// Reads past the page cache, which the kernel's own writes go around.
    func written(volumeByteCount: UInt64) throws -> WrittenExtents {
        guard let device = try MappedDevice(name: name) else {
            throw VolumeError(.failed, "the store \(name) is gone")
        }
        let path = MappedDevice.node(of: device.number)
        guard let direct = FileOperation.openDirect(path) else { throw SystemError(.open, path) }
        let handle = FileHandle(adopting: direct)
        let descriptor = handle.descriptor
        let extents = try ExceptionStore.changes(
            storeByteCount: device.byteCount, originByteCount: volumeByteCount,
            blockSize: .minimum
        ) { offset, count in
            let buffer = try AlignedBuffer(byteCount: count)
            let received = try PositionedIO.read(
                descriptor, into: buffer, range: 0..<buffer.byteCount, at: offset, subject: path)
            return [UInt8](copying: buffer.bytes.extracting(0..<min(received, count)))
        }
        return WrittenExtents(extents)
    }
}
