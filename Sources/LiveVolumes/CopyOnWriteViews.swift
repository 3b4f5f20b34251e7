internal import BlockModel
internal import DeviceMapper
internal import LinuxIO
internal import VolumeAccess

/// Frozen views of a device by an origin layer under it, each with a copy-on-write store.
struct CopyOnWriteViews {
    let device: MappedDevice
    let place: StorePlace
    /// Bytes that a new store has, where it can grow.
    let storeByteCount: UInt64

    private var names: LayerNames { LayerNames(device.name) }
    private var layer: OriginLayer { OriginLayer(device) }

    // MARK: Layer

    var isInPlace: Bool { get throws { try layer.real() != nil } }

    /// Loads the layer into the device; it counts when the device goes on.
    func prepareLayer() throws {
        if try layer.real() == nil { _ = try layer.prepare() }
    }

    func cancelLayer() { layer.cancel() }

    // MARK: Views

    /// Makes a view of that number; the calls begin it, and end the one before, in a window.
    func prepare(_ number: UInt64, ending old: UInt64?) throws -> [PreparedCall] {
        guard let real = try MappedDevice(name: names.real) else {
            throw VolumeError(.failed, "\(names.real) is gone")
        }
        remove(number)
        let store = try makeStore(number)
        do {
            var calls = [try layer.prepareView(names.view(number), of: real, store: store)]
            if let old { calls.append(try layer.prepareEnd(of: names.view(old))) }
            return calls
        } catch {
            remove(number)
            throw error
        }
    }

    /// Undoes what was prepared to end a view that goes on.
    func cancelEnd(of number: UInt64) {
        try? PreparedCall(.clear, names.view(number)).run()
    }

    /// Whether the view of that number shows what the device held when it began.
    func isLive(_ number: UInt64) throws -> Bool {
        try OriginLayer.status(of: names.view(number)) != nil
    }

    func path(_ number: UInt64) -> String { "/dev/mapper/" + names.view(number) }

    /// What was written while the view of that number was there; it must have ended.
    func written(_ number: UInt64) throws -> WrittenExtents {
        try CopyStore(name: names.store(number)).written(volumeByteCount: device.byteCount)
    }

    func hasStore(_ number: UInt64) throws -> Bool {
        try DeviceMapper.information(of: names.store(number)) != nil
    }

    /// Takes away a view, its store and the store's file.
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
        }
    }

    /// How full the store of the view is; nil when there is no such view.
    func fill(_ number: UInt64) throws -> StoreFill? {
        try OriginLayer.status(of: names.view(number)).map(StoreFill.init)
    }

    /// Makes the store larger when half of it is used; gives what it had to do.
    func keepAhead(_ number: UInt64) throws -> StoreFill.Growth {
        guard let fill = try fill(number), case .active(let used, let total) = fill else {
            return .none
        }
        let full = CopyStore.fullByteCount(ofVolume: device.byteCount)
        guard used > total / 2, total < full else { return .none }
        guard case .directory(let directory) = place else {
            return .impossible("\(place.path) is a device, which does not grow")
        }
        do {
            let store = CopyStore(name: names.store(number))
            try store.grow(file: file(number, in: directory), to: min(total * 2, full))
            return .grown
        } catch {
            return .impossible("\(error)")
        }
    }
}

/// How full a copy-on-write store is.
package enum StoreFill: Hashable, Sendable {
    case active(usedByteCount: UInt64, byteCount: UInt64)
    /// It overflowed, or could not be written: nothing in it counts.
    case lost

    enum Growth {
        case none, grown
        case impossible(String)
    }

    init(_ status: SnapshotStatus) {
        switch status {
        case .active(let used, let total, _):
            let sector = UInt64(TableLine.sectorByteCount)
            self = .active(usedByteCount: used * sector, byteCount: total * sector)
        case .invalid, .overflow, .mergeFailed, .other: self = .lost
        }
    }
}
