internal import BlockModel
internal import LinuxIO
internal import VolumeAccess

/// A physical volume of LVM.
enum PhysicalVolume {
    /// LVM looks for its label in the first four sectors.
    private static let labelSectorLimit = 4

    /// Refuses a device that is a physical volume of LVM: the views and what lies below would be found as
    /// the same physical volume, and LVM works with none that is there twice.
    static func refuse(_ device: MappedDevice) throws {
        // One that a killed command left standing still would not be read.
        try device.dropLoadedTable()
        try device.resumeIfSuspended()
        let path = MappedDevice.node(of: device.number)
        guard let direct = FileOperation.openDirect(path) else { throw SystemError(.open, path) }
        let handle = FileHandle(adopting: direct)
        let buffer = try AlignedBuffer(byteCount: 4096)
        let count = try PositionedIO.read(
            handle.descriptor, into: buffer, range: 0..<buffer.byteCount, at: 0, subject: path)
        guard hasLabel([UInt8](copying: buffer.bytes.extracting(0..<count))) else { return }
        throw VolumeError(
            .unsuitable,
            "\(device.path) is an LVM physical volume, and with a layer LVM would find it twice; "
                + "track the logical volumes on it instead")
    }

    /// Whether a device that begins with `bytes` is one.
    ///
    /// Source: `lib/format_text/layout.h` and `lib/label/label.h` of LVM2.
    static func hasLabel(_ bytes: [UInt8]) -> Bool {
        (0..<labelSectorLimit).contains { number in
            let sector = bytes.dropFirst(number * 512).prefix(512)
            return sector.starts(with: "LABELONE".utf8)
                && sector.dropFirst(24).starts(with: "LVM2 001".utf8)
        }
    }
}
