internal import DeviceMapper
internal import LinuxIO
internal import VolumeAccess

/// An origin layer under a device that may be in use: every write first lets the views of the device
/// keep what was there.
///
/// ```
/// before                    with the layer
/// device: its table         device: snapshot-origin → varve-real-device: its table
///                                                      ↑ views: snapshot of it, with a store each
/// ```
struct OriginLayer {
    /// Tables of these may be there twice for a moment, under two names: the sectors are the same.
    private static let copyableTargets: Set<String> = ["linear", "striped", "crypt"]

    let device: MappedDevice
    private var names: LayerNames { LayerNames(device.name) }

    init(_ device: MappedDevice) { self.device = device }

    /// The device that has the table of before; nil when there is no layer.
    func real() throws -> MappedDevice? {
        guard let real = try MappedDevice(name: names.real), try isInPlace(over: real) else {
            return nil
        }
        return real
    }

    /// The device that has the table of before under an origin layer of another program, such as that which
    /// LVM makes for its snapshots; nil when there is none.
    func foreignReal() throws -> MappedDevice? {
        let table = try DeviceMapper.table(device.name)
        guard table.count == 1, let line = table.first, line.target == "snapshot-origin",
            let number = DeviceNumber.parse(line.parameters),
            let below = try MappedDevice(number: number),
            below.name != names.real
        else { return nil }
        return below
    }

    private func isInPlace(over real: MappedDevice) throws -> Bool {
        let table = try DeviceMapper.table(device.name)
        guard table.count == 1, let line = table.first else { return false }
        let below = line.parameters.split(separator: " ").first.map(String.init)
        return line.target == "snapshot-origin" && below == real.tableName
            && line.sectorCount == real.sectorCount
    }

    /// Makes the device below and loads the layer, which counts when the device goes on.
    ///
    /// What an interrupted command left is used again.
    func prepare() throws -> MappedDevice {
        let table = try DeviceMapper.table(device.name)
        for line in table where !Self.copyableTargets.contains(line.target) {
            throw VolumeError(
                .unsuitable,
                "\(device.path) is a device-mapper device of type '\(line.target)', which cannot "
                    + "take a layer; linear, striped and encrypted devices can")
        }
        try device.dropLoadedTable()
        if let old = try DeviceMapper.information(of: names.real) {
            guard old.openCount == 0 else {
                throw VolumeError(
                    .busy, "\(names.real) is in use; run 'dmsetup ls --tree' to see what uses it")
            }
            try DeviceMapper.remove(names.real)
        }
        try refuseHiddenKey(table)
        try DeviceMapper.create(names.real, table, isPrivate: true)
        guard let real = try MappedDevice(name: names.real) else {
            throw VolumeError(.failed, "\(names.real) disappeared")
        }
        try DeviceMapper.load(
            device.name, [.snapshotOrigin(real.tableName, sectorCount: real.sectorCount)])
        return real
    }

    /// A key in the kernel's keyring (`:BYTES:TYPE:NAME` in the table) is not found by the process of
    /// another session, and is gone once it was used: the table cannot be there twice.
    private func refuseHiddenKey(_ table: [TableLine]) throws {
        let isHidden = table.contains { line in
            let fields = line.parameters.split(separator: " ")
            return line.target == "crypt" && fields.count > 1 && fields[1].hasPrefix(":")
        }
        guard isHidden else { return }
        throw VolumeError(
            .unsuitable,
            "\(device.path) has its key in the kernel keyring, where varve cannot read it; open "
                + "it with 'cryptsetup open --disable-keyring'")
    }

    /// Undoes ``prepare()`` when the device never went on with the layer.
    func cancel() {
        try? PreparedCall(.clear, device.name).run()
        try? DeviceMapper.remove(names.real)
    }

    /// Loads the table of before, which counts when the device goes on.
    func prepareRemoval() throws {
        try DeviceMapper.load(device.name, DeviceMapper.table(names.real))
    }

    /// Takes the device below away, when the layer is gone.
    func finishRemoval() throws {
        if try DeviceMapper.information(of: names.real) != nil {
            try DeviceMapper.remove(names.real)
        }
    }

    /// Makes a view of what the device holds when the view's first resume runs, which is to be in a
    /// window; gives that call.
    func prepareView(
        _ name: String,
        uuid: String? = nil,
        of real: MappedDevice,
        store: CopyStore
    ) throws -> PreparedCall {
        guard let place = try MappedDevice(name: store.name) else {
            throw VolumeError(.failed, "the store \(store.name) disappeared")
        }
        try DeviceMapper.create(name, [], isReadOnly: true, uuid: uuid)
        try DeviceMapper.load(
            name,
            [
                .snapshot(
                    of: real.tableName, store: place.tableName,
                    chunkSectorCount: CopyStore.chunkSectorCount, sectorCount: real.sectorCount)
            ], isReadOnly: true)
        return try PreparedCall(.resume, name, isPrivate: true)
    }

    /// Prepares to end a view in a window, even while somebody has it open: its list is closed then,
    /// and whoever still reads it gets errors.
    func prepareEnd(of view: String) throws -> PreparedCall {
        try DeviceMapper.load(
            view,
            [
                TableLine(
                    firstSector: 0, sectorCount: device.sectorCount, target: "error", parameters: ""
                )
            ],
            isReadOnly: true)
        return try PreparedCall(.resume, view, isPrivate: true)
    }

    /// What the view's store is used for.
    static func status(of view: String) throws -> SnapshotStatus? {
        guard try DeviceMapper.information(of: view)?.hasLiveTable == true,
            let line = try DeviceMapper.status(view).first, line.target == "snapshot"
        else { return nil }
        return SnapshotStatus(line.parameters)
    }
}
