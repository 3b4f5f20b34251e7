internal import DeviceMapper
internal import LinuxIO
internal import VolumeAccess

/// Keeps the kernel from letting a trial's view go, whatever removes devices that nothing uses: the end
/// of the machine, LVM, a command by hand.
///
/// ```
/// varve-hold-device → delay: loop over a block of the view
///                          → loop over the first block of varve-hold-device itself, for writes
///                   → loop over a block of the device, which its volume group would remove else
/// ```
///
/// None of them is free as long as the others are there, so none can be removed or detached; only another
/// table for the first lets all go. It is read-only, so nothing ever comes to the loop over itself: who
/// reads the device would wait for his own read.
struct TrialHold {
    let device: MappedDevice

    private static let uuidPrefix = "VARVE-HOLD-"
    /// Where nothing looks for a file system.
    private static let heldBytes: Range<UInt64> = 4096..<8192
    private static let ownBytes: Range<UInt64> = 0..<4096

    private var name: String { LayerNames(device.name).hold }

    init(_ device: MappedDevice) { self.device = device }

    /// Whether it is there as it should be.
    var isTaken: Bool {
        get throws {
            guard let information = try DeviceMapper.information(of: name),
                information.hasLiveTable, information.openCount > 0
            else { return false }
            let table = try DeviceMapper.table(name)
            return table.first?.target == "delay"
        }
    }

    /// Holds the view, if nothing does yet.
    ///
    /// The root of the system is mounted, and needs no loop.
    func take() throws {
        guard try !isTaken else { return }
        try release()
        guard let held = try MappedDevice(name: LayerNames(device.name).trialView) else {
            throw VolumeError(.failed, "the frozen view of \(device.path) is gone")
        }
        let overView = try LoopDevice(over: MappedDevice.node(of: held.number), Self.heldBytes)
        let view = MappedDevice.tableName(try overView.number()) + " 0"
        do {
            try DeviceMapper.create(
                name, [Self.line(0, "linear", view)], isReadOnly: true,
                uuid: Self.uuidPrefix + device.name, isPrivate: true)
            guard let own = try MappedDevice(name: name) else {
                throw VolumeError(.failed, "\(name) disappeared")
            }
            let overOwn = try LoopDevice(over: MappedDevice.node(of: own.number), Self.ownBytes)
            let itself = MappedDevice.tableName(try overOwn.number()) + " 0"
            var lines = [Self.line(0, "delay", "\(view) 0 \(itself) 0")]
            guard device.name != BootLayer.deviceName else {
                return try start(lines)
            }
            let overDevice = try LoopDevice(
                over: MappedDevice.node(of: device.number), Self.heldBytes)
            lines.append(
                Self.line(1, "linear", MappedDevice.tableName(try overDevice.number()) + " 0"))
            try start(lines)
        } catch {
            try? release()
            throw error
        }
    }

    private func start(_ lines: [TableLine]) throws {
        try DeviceMapper.load(name, lines, isReadOnly: true)
        try DeviceMapper.resume(name, isPrivate: true)
    }

    /// Lets everything go.
    func release() throws {
        guard try DeviceMapper.information(of: name) != nil else { return }
        try DeviceMapper.load(
            name, [TableLine(firstSector: 0, sectorCount: 1, target: "error", parameters: "")],
            isReadOnly: true)
        // The loops detach themselves when the table that needs them is gone.
        try DeviceMapper.resume(name, isPrivate: true)
        try DeviceMapper.removePatiently(name)
    }

    private static func line(_ block: UInt64, _ target: String, _ parameters: String) -> TableLine {
        TableLine(
            firstSector: block * 8, sectorCount: 8, target: target, parameters: parameters)
    }
}
