internal import BlockModel
internal import LinuxIO
internal import VolumeAccess

/// What the store of a trial says of itself, in its first 512 bytes.
///
/// That is one sector, so that it is written whole or not at all. The script that starts a machine reads and writes it too.
struct TrialLabel: Hashable {
    static let byteCount = 512
    private static let kind = "varve_label"

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
    /// What the stamp is of, which decides what may have become of the volume since.
    enum Phase: String {
        /// Taken while the layer was there and the volume may be written.
        case running
        /// Taken when the start of the machine put the layer in; the root was not noted as mounted yet.
        case started
        /// Taken after the last write: nothing may differ.
        case stopped
    }

    var phase: Phase
    var stamp: FileSystemStamp
    /// The stamp of what the volume held when the trial began.
    var before: FileSystemStamp

    init(_ state: State, of device: MappedDevice, stamp: FileSystemStamp) {
        self.state = state
        self.device = device.name
        sectorCount = device.sectorCount
        chunkSectorCount = CopyStore.chunkSectorCount
        phase = .running
        self.stamp = stamp
        before = stamp
    }

    var bytes: [UInt8] {
        var text = StateText(kind: Self.kind)
        text.add("state", state.rawValue)
        text.add("device", device)
        text.add("sectors", sectorCount)
        text.add("chunk", chunkSectorCount)
        text.add("phase", phase.rawValue)
        text.add("stamp", stamp.text)
        text.add("before", before.text)
        var bytes = Array(text.text.utf8)
        bytes += [UInt8](repeating: UInt8(ascii: "\n"), count: max(0, Self.byteCount - bytes.count))
        return bytes
    }

    init?(bytes: [UInt8]) {
        guard let lines = StateText(String(decoding: bytes, as: UTF8.self), kind: Self.kind),
            let state = lines["state"].flatMap(State.init(rawValue:)),
            let device = lines["device"], let sectors = lines.number("sectors", as: UInt64.self),
            let chunk = lines.number("chunk", as: UInt32.self),
            let phase = lines["phase"].flatMap(Phase.init(rawValue:)),
            let stamp = lines["stamp"].flatMap(FileSystemStamp.init(text:)),
            let before = lines["before"].flatMap(FileSystemStamp.init(text:))
        else { return nil }
        self.state = state
        self.device = device
        sectorCount = sectors
        chunkSectorCount = chunk
        self.phase = phase
        self.stamp = stamp
        self.before = before
    }

    /// Why the trial cannot go on with a volume that has this size and stamp when the layer is put in
    /// again; nil when nobody wrote to it meanwhile.
    ///
    /// The script that starts a machine judges the same.
    func refusal(sectorCount: UInt64, stamp now: FileSystemStamp) -> String? {
        if sectorCount != self.sectorCount { return "the volume has a different size" }
        if state == .discarding {
            return now.isMerge(of: stamp, into: before)
                ? nil : "the volume was written without the layer during the discard"
        }
        if now.kind == .none, stamp.kind == .none {
            return "the volume has no file system that shows writes made without the "
                + "layer (as ext2 to ext4, XFS and Btrfs do)"
        }
        let isSame = phase == .stopped ? now == stamp : now.isCrash(of: stamp)
        return isSame ? nil : "the volume was written without the layer"
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
