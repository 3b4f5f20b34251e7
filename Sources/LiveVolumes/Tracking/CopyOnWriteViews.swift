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
    /// Bytes that a new store has, where it can grow.
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

    func prepareLayer() throws {
        if try layer.real() == nil { _ = try layer.prepare() }
    }

    func cancelLayer() { layer.cancel() }

    // MARK: Views

    func canBegin(_ number: UInt64) -> Bool { true }

    func prepare(_ number: UInt64, ending old: UInt64?) throws -> [PreparedCall] {
        guard let real = try MappedDevice(name: names.real) else {
            throw VolumeError(.failed, "\(names.real) is gone")
        }
        remove(number)
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
        "\(directory)/\(device.name).\(number % 2).varve-store"
    }

    private func makeStore(_ number: UInt64) throws -> CopyStore {
        let full = CopyStore.fullByteCount(ofVolume: device.byteCount)
        switch place {
        case .directory(let directory):
            return try CopyStore.make(
                names.store(number), file: file(number, in: directory),
                byteCount: min(max(storeByteCount, 4 * CopyStore.chunkByteCount), full))
        case .device(let path):
            let size = try StorePlace.byteCount(ofDevice: path)
            let half =
                (size - StorePlace.labelByteCount) / 2 / CopyStore.chunkByteCount
                * CopyStore.chunkByteCount
            let start = StorePlace.labelByteCount + (number % 2) * half
            return try CopyStore.open(
                names.store(number), device: path, bytes: start..<start + half, isNew: true)
        case nil: throw VolumeError(.failed, "it is not known where the stores are")
        }
    }

    func fill(_ number: UInt64) throws -> StoreFill? {
        guard try isLive(number) else { return nil }
        return try OriginLayer.status(of: names.view(number)).map(StoreFill.init)
    }

    func keepAhead(_ number: UInt64) throws -> StoreFill.Growth {
        guard let fill = try fill(number), case .active(let used, let total) = fill else {
            return .none
        }
        let full = CopyStore.fullByteCount(ofVolume: device.byteCount)
        guard used > total / 2, total < full else { return .none }
        let warning = "the store of \(device.path) is more than half full: "
        guard case .directory(let directory) = place else {
            return .impossible(warning + "\(place?.path ?? "it") is a device, which does not grow")
        }
        do {
            let store = CopyStore(name: names.store(number))
            try store.grow(file: file(number, in: directory), to: min(total * 2, full))
            return .grown
        } catch {
            return .impossible(warning + "\(error)")
        }
    }
}
