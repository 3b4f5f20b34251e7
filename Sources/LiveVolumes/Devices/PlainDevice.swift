internal import DeviceMapper
internal import LinuxIO
internal import VolumeAccess

/// A plain disk or partition that nothing uses, and the layer that is put over it.
enum PlainDevice {
    /// The device of device-mapper that `path` names; a plain one gets a layer.
    static func mapped(_ path: String) throws -> (device: MappedDevice, plain: String?) {
        if let device = try MappedDevice(path: path) { return (device, nil) }
        let number = try MappedDevice.deviceNumber(path)
        if let reason = DeviceUse.reason(forDevice: number, path: path) {
            throw VolumeError(
                .busy,
                "\(path) is a plain device in use (\(reason)), under which no layer can be put; "
                    + "free it first, or, for the root of the system, see 'varve layer install'")
        }
        let name = LayerNames.layer(over: Directory.baseName(of: MappedDevice.node(of: number)))
        let byteCount = try TargetVolume.byteCount(ofIdleDevice: path)
        try DeviceMapper.create(
            name,
            [
                .linear(
                    MappedDevice.tableName(number),
                    sectorCount: byteCount / UInt64(TableLine.sectorByteCount))
            ], uuid: "VARVE-LAYER-\(name)")
        guard let device = try MappedDevice(name: name) else {
            throw VolumeError(.failed, "the layer over \(path) vanished")
        }
        return (device, path)
    }

    /// Takes a layer away; false when it is in use.
    static func removeLayer(_ name: String) -> Bool {
        (try? DeviceMapper.removePatiently(name)) != nil
    }
}
