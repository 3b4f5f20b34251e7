internal import LinuxIO
internal import VolumeAccess

/// Which tracked devices keep their stores on which others.
///
/// A device that stands still holds back every write to it. So one whose store lies upon it must have
/// come to rest before, and none may keep its store, by whatever detour, upon itself.
struct StoreOrder {
    /// By device number: the devices that below its store.
    private var below: [UInt64: Set<UInt64>] = [:]

    /// Looks where the stores of all tracked devices lie.
    init(states: StateDirectory) throws {
        for name in try states.devices(with: "tracking") {
            guard let state = try? states.tracking(name), state.bootID == Boot.id,
                let place = state.mechanism.place, let device = try MappedDevice(name: name)
            else { continue }
            add(device, place)
        }
        for name in try states.devices(with: "trial") {
            guard let state = try? states.trial(name), let device = try MappedDevice(name: name)
            else { continue }
            add(device, state.place)
        }
    }

    mutating func add(_ device: MappedDevice, _ place: StorePlace) {
        guard let status = try? FileStatus(path: place.path) else { return }
        let number =
            switch place {
            case .directory: DeviceStack.deviceBelow(status)
            case .device: status.representedDevice
            }
        below[device.number, default: []].formUnion(number.map(DeviceStack.devices(below:)) ?? [])
    }

    /// The devices that the store of `device` needs, by whatever detour.
    private func needs(of device: UInt64) -> Set<UInt64> {
        var found: Set<UInt64> = []
        var open = below[device].map(Array.init) ?? []
        while let next = open.popLast() {
            guard found.insert(next).inserted else { continue }
            open += below[next].map(Array.init) ?? []
        }
        return found
    }

    /// Refuses a store that would have to be written to write to it.
    func requireSound(_ device: MappedDevice) throws {
        guard !needs(of: device.number).contains(device.number) else {
            throw VolumeError(
                .unsuitable,
                "the store of \(device.path) would be on a device whose own store is on "
                    + "\(device.path); put it somewhere else")
        }
    }

    /// Refuses a device that is stacked on another one of `devices`: what the upper one still has to write
    /// would wait for the lower one to go on.
    static func requireApart(_ device: MappedDevice, _ devices: [MappedDevice]) throws {
        let below = DeviceStack.devices(below: device.number)
        guard let other = devices.first(where: { $0 != device && below.contains($0.number) }) else {
            return
        }
        throw VolumeError(
            .unsuitable,
            "\(device.path) is stacked on \(other.path): back them up one after the other")
    }

    /// Puts a device before those that its store needs.
    func sorted<Element>(
        _ elements: [Element],
        _ device: (Element) -> MappedDevice
    ) -> [Element] {
        var rest = elements
        var sorted: [Element] = []
        while !rest.isEmpty {
            let next =
                rest.firstIndex { candidate in
                    !rest.contains {
                        needs(of: device($0).number).contains(device(candidate).number)
                    }
                } ?? 0
            sorted.append(rest.remove(at: next))
        }
        return sorted
    }
}
