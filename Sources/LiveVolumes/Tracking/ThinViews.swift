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
    let device: MappedDevice
    let poolIdentity: String
    let deviceID: UInt32
    /// Numbers of the views that are there, or may be.
    let own: [UInt64]
    let states: StateDirectory

    private var names: LayerNames { LayerNames(device.name) }

    private func pool() throws -> ThinPool {
        guard let pool = try poolInPlace() else {
            throw VolumeError(
                .failed,
                "\(device.path) is no longer the same thin device; run 'varve track end' and "
                    + "'track begin'"
            )
        }
        return pool
    }

    /// Nil when the device is another one now: numbers of another pool are not ours.
    private func poolInPlace() throws -> ThinPool? {
        guard let (pool, id) = try ThinPool.of(device), id == deviceID else { return nil }
        return pool.identity == poolIdentity ? pool : nil
    }

    /// The snapshot's number in the pool: in the upper half, for LVM counts from the beginning.
    private static func id(_ number: UInt64) -> UInt32 {
        let half = ThinPool.idLimit / 2
        return half + UInt32(number % UInt64(half))
    }

    // MARK: Layer

    var isInPlace: Bool { get throws { try poolInPlace() != nil } }

    func names(_ device: String) -> Bool { (try? pool().name) == device }

    func prepareLayer() {}

    func cancelLayer() {}

    // MARK: Views

    func canBegin(_ number: UInt64) throws -> Bool {
        try own.contains(number) || pool().isFree(Self.id(number))
    }

    func prepare(_ number: UInt64, ending old: UInt64?) throws -> [PreparedCall] {
        remove(number)
        return [try pool().prepareSnapshot(Self.id(number), of: deviceID)]
    }

    /// A snapshot goes on until it is removed.
    func cancelEnd(of number: UInt64) {}

    func open(_ number: UInt64) throws {
        let name = names.view(number)
        let line = try pool().table(Self.id(number), sectorCount: device.sectorCount)
        if try DeviceMapper.information(of: name) != nil {
            guard try DeviceMapper.table(name) != [line] else { return }
            try close(name)
        }
        try DeviceMapper.create(
            name, [line], isReadOnly: true, uuid: names.uuid(ofView: number), isPrivate: true)
    }

    func isLive(_ number: UInt64) throws -> Bool { (try? open(number)) != nil }

    func canTell(_ number: UInt64) throws -> Bool { try isLive(number) }

    func written(_ number: UInt64) throws -> WrittenExtents {
        try pool().differences(
            Self.id(number), Self.id(number + 1), volumeByteCount: device.byteCount, states: states)
    }

    func path(_ number: UInt64) -> String { "/dev/mapper/" + names.view(number) }

    func remove(_ number: UInt64) { try? removeSurely(number) }

    private func removeSurely(_ number: UInt64) throws {
        try close(names.view(number))
        // The numbers are ours in this pool, whatever the device is now: LVM gives
        // it another number when it merges a snapshot of its own.
        guard own.contains(number), let pool = try ThinPool.of(device)?.pool,
            pool.identity == poolIdentity
        else { return }
        try pool.delete(Self.id(number))
    }

    /// Takes a device away that shows a view, and the snapshot, of which a state that was set back
    /// to an earlier day does not know.
    private func close(_ name: String) throws {
        guard try DeviceMapper.information(of: name) != nil else { return }
        let pool = try ThinPool.of(device)?.pool
        let shown = try pool?.id(shownBy: name)
        try DeviceMapper.removePatiently(name)
        if let shown { try pool?.delete(shown) }
    }

    func takeAway() throws {
        for number in own { try removeSurely(number) }
        for number in 0..<2 as Range<UInt64> { try close(names.view(number)) }
    }

    // MARK: Room

    func fill(_ number: UInt64) throws -> StoreFill? {
        // A view that nobody opened since a restart is none that is lost.
        if try DeviceMapper.information(of: names.view(number)) != nil {
            guard try isLive(number) else { return nil }
        }
        let pool = try pool()
        guard let status = try pool.status() else { return .lost }
        let block = try pool.blockByteCount()
        return .active(
            usedByteCount: status.usedDataBlockCount * block,
            byteCount: status.dataBlockCount * block)
    }

    // MARK: A device that is gone

    /// Deletes the snapshots of a device that was removed from its pool, where that is there.
    static func removeLeftovers(of device: String, identity: String, own: [UInt64]) throws {
        let names = LayerNames(device)
        for number in 0..<2 as Range<UInt64>
        where try DeviceMapper.information(of: names.view(number)) != nil {
            try DeviceMapper.removePatiently(names.view(number))
        }
        guard let pool = try ThinPool.of(identity: identity) else { return }
        for number in own { try pool.delete(id(number)) }
    }
}
