internal import BlockModel
internal import LinuxIO
internal import VolumeAccess

/// What the store of a trial says of itself, in its first 512 bytes.
///
/// That is one sector, so that it is written whole or not at all. The script that starts a machine reads and writes it too.
struct TrialLabel: Hashable {
    static let byteCount = 512
    private static let kind = "varve_trial"

    enum State: String {
        case none, active
        /// To be thrown away when the machine starts again.
        case asked
        case discarding, discarded
        /// The volume was written without the layer: what is kept does not fit any more.
        case torn
        /// The store overflowed, or could not be written.
        case failed
    }

    var state: State
    let device: String
    let sectorCount: UInt64
    let chunkSectorCount: UInt32
    /// What of the volume changes when it is mounted; `-` where nothing is known to.
    var witness: String
    /// Whether a run of the machine began in which the witness was not taken.
    var isUnwitnessed: Bool

    init(_ state: State, of device: MappedDevice, witness: String) {
        self.state = state
        self.device = device.name
        sectorCount = device.sectorCount
        chunkSectorCount = CopyStore.chunkSectorCount
        self.witness = witness
        isUnwitnessed = false
    }

    var bytes: [UInt8] {
        var text = StateText(kind: Self.kind)
        text.add("state", state.rawValue)
        text.add("device", device)
        text.add("sectors", sectorCount)
        text.add("chunk", chunkSectorCount)
        text.add("witness", witness)
        text.add("unwitnessed", isUnwitnessed ? "1" : "0")
        var bytes = Array(text.text.utf8)
        bytes += [UInt8](repeating: UInt8(ascii: "\n"), count: max(0, Self.byteCount - bytes.count))
        return bytes
    }

    init?(bytes: [UInt8]) {
        guard let lines = StateText(String(decoding: bytes, as: UTF8.self), kind: Self.kind),
            let state = lines["state"].flatMap(State.init(rawValue:)),
            let device = lines["device"], let sectors = lines.number("sectors", as: UInt64.self),
            let chunk = lines.number("chunk", as: UInt32.self), let witness = lines["witness"],
            let mark = lines["unwitnessed"], mark == "0" || mark == "1"
        else { return nil }
        self.state = state
        self.device = device
        sectorCount = sectors
        chunkSectorCount = chunk
        self.witness = witness
        isUnwitnessed = mark == "1"
    }

    /// The label at the start of a file or device; nil when there is none.
    static func read(_ path: String) throws -> TrialLabel? {
        let handle = try FileHandle(path, .read)
        BlockDevice.dropCache(handle.descriptor)
        let buffer = try AlignedBuffer(byteCount: byteCount)
        let count = try PositionedIO.read(
            handle.descriptor, into: buffer, range: 0..<byteCount, at: 0, subject: path)
        return TrialLabel(bytes: [UInt8](copying: buffer.bytes.extracting(0..<count)))
    }

    func write(_ path: String) throws {
        let handle = try FileHandle(path, .readWrite)
        try PositionedIO.write(handle.descriptor, bytes.rawSpan, at: 0, subject: path)
        try FileOperation.synchronize(handle.descriptor, subject: path)
    }
}

/// What of a file system changes whenever it is mounted to be written.
///
/// For ext2 to ext4 the time of the last mount and the number of mounts. That it is the same shows that nobody mounted it meanwhile.
///
/// Source: the kernel's `Documentation/filesystems/ext4/super.rst`.
enum MountWitness {
    static let unknown = "-"

    static func read(_ device: MappedDevice) throws -> String {
        let path = MappedDevice.node(of: device.number)
        guard let direct = FileOperation.openDirect(path) else { throw SystemError(.open, path) }
        let handle = FileHandle(adopting: direct)
        let buffer = try AlignedBuffer(byteCount: 4096)
        let count = try PositionedIO.read(
            handle.descriptor, into: buffer, range: 0..<4096, at: 0, subject: path)
        guard count == 4096 else { return unknown }
        let bytes = [UInt8](copying: buffer.bytes)
        let superblock = 1024
        guard bytes[superblock + 0x38] == 0x53, bytes[superblock + 0x39] == 0xEF else {
            return unknown
        }
        let fields =
            bytes[superblock + 0x2C..<superblock + 0x30]
            + bytes[superblock + 0x34..<superblock + 0x36]
        return fields.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
