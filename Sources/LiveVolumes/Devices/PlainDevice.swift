internal import DeviceMapper
internal import LinuxIO
internal import VolumeAccess

/// A plain disk or partition that nothing uses, and the layer that is put over it.
enum PlainDevice {
    /// The device of device-mapper that `path` names; a plain one gets a layer, if it has none.
    ///
    /// - Returns: the device, the plain one below it, and whether its layer was made now.
    static func mapped(
        _ path: String
    ) throws -> (device: MappedDevice, plain: String?, isNew: Bool) {
        if let device = try MappedDevice(path: path) { return (device, nil, false) }
        if let layer = try layered(path) { return (layer, path, false) }
        let number = try MappedDevice.deviceNumber(path)
        let name = layerName(over: number)
        if let reason = DeviceUse.wideReason(forDevice: number) {
            throw VolumeError(
                .busy,
                "\(path) is a plain device in use (\(reason)), so it cannot take a layer; "
                    + "free it first, or for the root file system see 'varve layer install'")
        }
        let byteCount = try TargetVolume.byteCount(ofIdleDevice: path)
        try DeviceMapper.create(
            name,
            [
                .linear(
                    MappedDevice.tableName(number),
                    sectorCount: byteCount / UInt64(TableLine.sectorByteCount))
            ], uuid: "VARVE-LAYER-\(name)")
        guard let device = try MappedDevice(name: name) else {
            throw VolumeError(.failed, "the layer over \(path) disappeared")
        }
        return (device, path, true)
    }

    private static func layerName(over number: UInt64) -> String {
        LayerNames.layer(over: Directory.baseName(of: MappedDevice.node(of: number)))
    }

    /// The device that `path` names, or the layer over the plain one that it names; nil when a plain
    /// one has none.
    static func layered(_ path: String) throws -> MappedDevice? {
        if let device = try MappedDevice(path: path) { return device }
        let number = try MappedDevice.deviceNumber(path)
        // Where nothing of device-mapper holds it, that need not be there at all.
        let holders = "\(MappedDevice.system(number))/holders"
        if let names = (try? Directory.names(in: holders)) ?? nil,
            !names.contains(where: { $0.hasPrefix("dm-") })
        {
            return nil
        }
        let name = layerName(over: number)
        let below = MappedDevice.tableName(number) + " 0"
        for lowest in [LayerNames(name).real, name] {
            guard try DeviceMapper.information(of: lowest)?.hasLiveTable == true,
                let line = try DeviceMapper.table(lowest).first, line.target == "linear",
                line.parameters == below
            else { continue }
            return try MappedDevice(name: name)
        }
        return nil
    }

    /// Takes a layer away; false when it is in use.
    static func removeLayer(_ name: String) -> Bool {
        (try? DeviceMapper.removePatiently(name)) != nil
    }
}
