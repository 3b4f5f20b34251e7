internal import BlockModel
internal import DeviceMapper
internal import LinuxIO
internal import VolumeAccess

/// Frozen views of a thin device by snapshots in its pool: nothing is put under the device, nothing is
/// copied, and discards go through.
///
/// What was written while a view was there is the difference between it and the next one, as the
/// pool's own metadata has it. That metadata is the only way to the blocks, so that it holds also
/// across restarts and crashes.
struct ThinViews: FrozenViews {
    /// A pool that is fuller than this has to be heard of.
    private static let warningPercent: UInt64 = 90

    let device: MappedDevice
    let poolName: String
    let deviceID: UInt32
    let firstID: UInt32
    let states: StateDirectory

    private var names: LayerNames { LayerNames(device.name) }

    private func pool() throws -> ThinPool {
        guard let pool = try poolInPlace() else {
            throw VolumeError(
                .failed,
                "\(device.path) is not the thin device that it was; run 'varve track stop' and 'track begin'"
            )
        }
        return pool
    }

    /// Nil when the device is another one now: numbers of another pool are not ours.
    private func poolInPlace() throws -> ThinPool? {
        guard let (pool, id) = try ThinPool.of(device), id == deviceID, pool.name == poolName else {
            return nil
        }
        return pool
    }

    private func id(_ number: UInt64) -> UInt32 { firstID + UInt32(number % 2) }

    // MARK: Layer

    var isInPlace: Bool { get throws { try poolInPlace() != nil } }

    var outliveRestart: Bool { true }

    func prepareLayer() {}

    func cancelLayer() {}

    // MARK: Views

    func prepare(_ number: UInt64, ending old: UInt64?) throws -> [PreparedCall] {
        remove(number)
        return [try pool().prepareSnapshot(id(number), of: deviceID)]
    }

    /// A snapshot goes on until it is removed.
    func cancelEnd(of number: UInt64) {}

    func open(_ number: UInt64) throws {
        let name = names.view(number)
        let line = try pool().table(id(number), sectorCount: device.sectorCount)
        if try DeviceMapper.information(of: name) != nil {
            guard try DeviceMapper.table(name) != [line] else { return }
            try DeviceMapper.removePatiently(name)
        }
        try DeviceMapper.create(name, [line], isReadOnly: true, isPrivate: true)
    }

    func isLive(_ number: UInt64) throws -> Bool { (try? open(number)) != nil }

    func canTell(_ number: UInt64) throws -> Bool { try isLive(number) }

    func written(_ number: UInt64) throws -> WrittenExtents {
        try pool().differences(
            id(number), id(number + 1), volumeByteCount: device.byteCount, states: states)
    }

    func path(_ number: UInt64) -> String { "/dev/mapper/" + names.view(number) }

    func remove(_ number: UInt64) { try? removeSurely(number) }

    private func removeSurely(_ number: UInt64) throws {
        let name = names.view(number)
        if try DeviceMapper.information(of: name) != nil {
            try DeviceMapper.removePatiently(name)
        }
        // The numbers are ours in this pool, whatever the device is now: LVM gives
        // it another number when it merges a snapshot of its own.
        if let pool = try ThinPool.of(device)?.pool, pool.name == poolName {
            try pool.delete(id(number))
        }
    }

    func takeAway() throws {
        for number in 0..<2 as Range<UInt64> { try removeSurely(number) }
    }

    // MARK: Room

    func fill(_ number: UInt64) throws -> StoreFill? {
        guard try isLive(number) else { return nil }
        let pool = try pool()
        guard let status = try pool.status() else { return .lost }
        let block = try pool.blockByteCount()
        return .active(
            usedByteCount: status.usedDataBlockCount * block,
            byteCount: status.dataBlockCount * block)
    }

    func keepAhead(_ number: UInt64) throws -> StoreFill.Growth {
        let pool = try pool()
        guard let status = try pool.status(), status.dataBlockCount > 0 else { return .none }
        let percent = status.usedDataBlockCount * 100 / status.dataBlockCount
        guard percent >= Self.warningPercent else { return .none }
        return .impossible(
            "the thin pool \(pool.name) of \(device.path) is more than \(Self.warningPercent) % full; "
                + "extend it")
    }
}
