internal import BlockModel
internal import ChangeTracking
internal import DeviceMapper
internal import LinuxIO
internal import VolumeAccess

/// Frozen views of a device by an origin layer under it, each with a copy-on-write store.
struct CopyOnWriteViews: FrozenViews {
    let device: MappedDevice
    /// Where the stores are; nil when that is not known any more.
    let place: StorePlace?
    /// Bytes of a store in a directory that are set aside on the disk at once.
    let storeByteCount: UInt64

    init(device: MappedDevice, place: StorePlace? = nil, storeByteCount: UInt64 = 0) {
        self.device = device
        self.place = place
        self.storeByteCount = storeByteCount
    }

    private var names: LayerNames { LayerNames(device.name) }
    private var layer: OriginLayer { OriginLayer(device) }

    // MARK: Layer

    var isInPlace: Bool { get throws { try layer.real() != nil } }

    var isForOnce: Bool { get throws { try layer.foreignReal() != nil } }

    func prepareLayer() throws {
        if try layer.real() == nil, try !isForOnce { _ = try layer.prepare() }
    }

    func cancelLayer() { layer.cancel() }

    // MARK: Views

    func canBegin(_ number: UInt64) -> Bool { true }

    func prepare(_ number: UInt64, ending old: UInt64?) throws -> [PreparedCall] {
        // Another program's layer comes first: ours may be left from before, with no write through it.
        guard let real = try layer.foreignReal() ?? MappedDevice(name: names.real) else {
            throw VolumeError(.failed, "\(names.real) is gone")
        }
        remove(number)
        // After a restart the name may be that of another disk.
        if old == nil { try place?.requireEmpty() }
        let store = try makeStore(number)
        do {
            var calls = [
                try layer.prepareView(
                    names.view(number), uuid: names.uuid(ofView: number), of: real, store: store)
            ]
            if let old { calls.append(try layer.prepareEnd(of: names.view(old))) }
            return calls
        } catch {
            remove(number)
            throw error
        }
    }

    func cancelEnd(of number: UInt64) {
        try? PreparedCall(.clear, names.view(number)).run()
    }

    /// The window began it, and it is readable.
    func open(_ number: UInt64) {}

    func isLive(_ number: UInt64) throws -> Bool {
        let name = names.view(number)
        return try DeviceMapper.information(of: name)?.uuid == names.uuid(ofView: number)
            && OriginLayer.status(of: name) != nil
    }

    func path(_ number: UInt64) -> String { "/dev/mapper/" + names.view(number) }

    /// The view must have ended.
    func written(_ number: UInt64) throws -> WrittenExtents {
        do {
            return try CopyStore(name: names.store(number))
                .written(volumeByteCount: device.byteCount)
        } catch {
            throw NothingKnown(description: "\(error)")
        }
    }

    func canTell(_ number: UInt64) throws -> Bool {
        try DeviceMapper.information(of: names.store(number)) != nil
    }

    /// The store and its file go with the view.
    func remove(_ number: UInt64) {
        for name in [names.view(number), names.store(number)] {
            if (try? DeviceMapper.information(of: name)) ?? nil != nil {
                try? DeviceMapper.removePatiently(name)
            }
        }
        if case .directory(let directory) = place {
            try? FileOperation.remove(file(number, in: directory))
        }
    }

    func takeAway() throws {
        try device.dropLoadedTable()
        let views = (0..<2).filter {
            (try? DeviceMapper.information(of: names.view($0))) ?? nil != nil
        }
        let hasTrial = try DeviceMapper.information(of: names.trialView) != nil
        if try layer.real() != nil {
            let ends = try views.map { try layer.prepareEnd(of: names.view($0)) }
            if !hasTrial { try layer.prepareRemoval() }
            _ = try SuspendedWindow([device.name], steps: ends).run()
        }
        for view in views { try DeviceMapper.removePatiently(names.view(view)) }
        for number in 0..<2 as Range<UInt64>
        where try DeviceMapper.information(of: names.store(number)) != nil {
            try DeviceMapper.removePatiently(names.store(number))
        }
        if !hasTrial { try layer.finishRemoval() }
        for number in 0..<2 as Range<UInt64> { remove(number) }
    }

    // MARK: Stores

    private func file(_ number: UInt64, in directory: String) -> String {
        Self.file(number, of: device.name, in: directory)
    }

    private static func file(_ number: UInt64, of device: String, in directory: String) -> String {
        "\(directory)/\(device).\(number % 2).varve-store"
    }

    private func makeStore(_ number: UInt64) throws -> CopyStore {
        switch place {
        case .directory(let directory):
            // The store of the view before goes when this one has begun.
            let other = (try? FileStatus(path: file(number + 1, in: directory))) ?? nil
            return try CopyStore.make(
                names.store(number), file: file(number, in: directory),
                volumeByteCount: device.byteCount, reservedByteCount: storeByteCount,
                freedByteCount: other?.allocatedByteCount ?? 0)
        case .device(let path):
            let size = try StorePlace.byteCount(ofDevice: path)
            let half =
                (size - StorePlace.labelByteCount) / 2 / CopyStore.chunkByteCount
                * CopyStore.chunkByteCount
            let start = StorePlace.labelByteCount + (number % 2) * half
            return try CopyStore.open(
                names.store(number), device: path, bytes: start..<start + half, isNew: true)
        case nil: throw VolumeError(.failed, "the location of the stores is unknown")
        }
    }

    func fill(_ number: UInt64) throws -> StoreFill? {
        guard try isLive(number) else { return nil }
        return try OriginLayer.status(of: names.view(number)).map(StoreFill.init)
    }

    // MARK: A device that is gone

    /// Takes away what is left of a device that was removed, or has another name now.
    static func removeLeftovers(of device: String, place: StorePlace?) throws {
        let names = LayerNames(device)
        for number in 0..<2 as Range<UInt64> {
            for name in [names.view(number), names.store(number)]
            where try DeviceMapper.information(of: name) != nil {
                try DeviceMapper.removePatiently(name)
            }
            if case .directory(let directory) = place {
                try FileOperation.remove(file(number, of: device, in: directory))
            }
        }
        // A trial needs what lies below.
        guard try DeviceMapper.information(of: names.trialView) == nil,
            let real = try MappedDevice(name: names.real)
        else { return }
        try giveBack(real)
        try DeviceMapper.removePatiently(names.real)
    }

    /// Lets a device that is our layer on `real`, under whatever name, have its table of before.
    private static func giveBack(_ real: MappedDevice) throws {
        let directory = MappedDevice.system(real.number) + "/holders"
        for holder in try Directory.names(in: directory) ?? [] {
            guard let text = Directory.text(of: "\(directory)/\(holder)/dm/name") else { continue }
            let name = String(text.prefix { $0 != "\n" })
            guard let line = try DeviceMapper.table(name).first, line.target == "snapshot-origin",
                line.parameters == real.tableName
            else { continue }
            try DeviceMapper.load(name, DeviceMapper.table(real.name))
            _ = try SuspendedWindow([name], steps: []).run()
        }
    }
}
