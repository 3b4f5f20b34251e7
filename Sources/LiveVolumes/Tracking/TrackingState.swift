package import BlockModel
internal import ChangeTracking
internal import DeviceMapper
internal import LinuxIO
package import RepositoryModel

/// What the next command has to know about a tracked volume.
package struct TrackingState: Hashable, Sendable {
    /// Snapshots of how many volumes, in whichever repositories, changes are kept for.
    static let bindingLimit = 8
    /// Views that a snapshot may lie behind before it is forgotten.
    static let viewLimit: UInt64 = 256
    private static let kind = "varve_tracking"

    /// Name of the device.
    package let device: String
    package internal(set) var sectorCount: UInt64
    /// The plain device under a layer of ours; nil where the device was one of device-mapper before.
    package let plainDevice: String?
    package internal(set) var mechanism: Mechanism
    /// When tracking began, in seconds since 1970.
    package let began: Int64

    /// The run of the machine in which this holds.
    package var bootID: String
    /// Number of the frozen view that is there now; of a dm-era target the era that the last backup
    /// drained.
    package var view: UInt64
    /// Numbers of all views that are there, or may be when a command is killed.
    var ownViews: [UInt64] = []
    /// When that view began, in seconds since 1970.
    package var viewBegan: Int64
    package var bindings: [Binding] = []

    /// What follows the writes.
    package enum Mechanism: Hashable, Sendable {
        /// An origin layer under the device, and copy-on-write stores of each of which `byteCount` bytes
        /// are set aside at once.
        case stores(StorePlace, byteCount: UInt64)
        /// Snapshots of the thin device `deviceID` in the pool that it is in.
        case thinPool(identity: String, deviceID: UInt32)
        /// The device's own dm-era target: there are no views. `diskSequence` tells the device from
        /// others that had its name, where the kernel gives it.
        case era(diskSequence: UInt64?)

        /// What a snapshot says of changes that were found this way.
        package var method: DetectionMethod {
            switch self {
            case .stores: .snapshotStore
            case .thinPool: .thinDelta
            case .era: .era
            }
        }
    }

    /// A snapshot, and that since it nothing was written but what lists tell.
    package struct Binding: Hashable, Sendable {
        package let repository: ObjectID
        package let volume: VolumeName
        package let snapshot: SnapshotID
        /// Number of the view that the snapshot was captured from.
        package let view: UInt64
    }

    init(
        device: MappedDevice,
        plainDevice: String?,
        mechanism: Mechanism,
        now: Int64
    ) {
        self.device = device.name
        sectorCount = device.sectorCount
        self.plainDevice = plainDevice
        self.mechanism = mechanism
        began = now
        bootID = Boot.id
        view = 0
        viewBegan = now
    }

    /// Whether `path` is the device, the plain one below it, or where one of them is mounted; told without
    /// opening any.
    func isOf(_ path: String) -> Bool {
        if LayerNames.names(ofDevice: path).first == device, path.hasPrefix("/dev/mapper/") {
            return true
        }
        let resolved = Directory.resolve(path) ?? path
        if let plainDevice, resolved == Directory.resolve(plainDevice) ?? plainDevice {
            return true
        }
        guard let number = try? MappedDevice.deviceNumber(path) else {
            return LayerNames.names(ofDevice: path).contains(device)
        }
        let name = Directory.text(of: MappedDevice.system(number) + "/dm/name") ?? ""
        return name.prefix { $0 != "\n" } == device
    }

    // MARK: Views

    /// A number for the first view of many.
    ///
    /// It is chosen at random, so that none of them is taken for one that an older state tells of, or
    /// another pool.
    static func freshView() -> UInt64 { .random(in: 1..<1 << 40) }

    // MARK: Bindings

    /// The claim of what was written since a snapshot was captured, of which `written` tells by the
    /// view that it was captured from.
    func evidence(
        of volume: VolumeName,
        in repository: ObjectID,
        _ blockSize: BlockSize,
        written: (UInt64) -> WrittenExtents?
    ) -> Result<ChangeEvidence, MissingEvidence> {
        guard let binding = binding(of: volume, in: repository) else {
            return .failure(
                MissingEvidence(
                    reason: "no backup of this volume was taken while it was tracked",
                    isExpected: true))
        }
        guard let written = written(binding.view) else {
            return .failure(MissingEvidence(reason: "the record of what was written is lost"))
        }
        return .success(
            ChangeEvidence(
                method: mechanism.method, since: binding.snapshot,
                volumeByteCount: sectorCount * UInt64(TableLine.sectorByteCount),
                candidates: written.blocks(of: blockSize)))
    }

    func binding(of volume: VolumeName, in repository: ObjectID) -> Binding? {
        bindings.first { $0.repository == repository && $0.volume == volume }
    }

    /// Keeps that `snapshot` was captured from the view that is there now.
    mutating func bind(_ snapshot: SnapshotID, of volume: VolumeName, in repository: ObjectID) {
        bindings.removeAll { $0.repository == repository && $0.volume == volume }
        bindings.append(
            Binding(repository: repository, volume: volume, snapshot: snapshot, view: view))
        if bindings.count > Self.bindingLimit { bindings.removeFirst() }
    }

    // MARK: Text

    var text: String {
        var text = StateText(kind: Self.kind)
        text.add("device", device)
        text.add("sectors", sectorCount)
        if let plainDevice { text.add("plain", plainDevice) }
        mechanism.add(to: &text)
        text.add("began", began)
        text.add("boot", bootID)
        text.add("view", view)
        text.add("view_began", viewBegan)
        for view in ownViews { text.add("own_view", view) }
        for binding in bindings {
            text.add(
                "binding",
                "\(binding.repository.hexadecimal) \(binding.volume) "
                    + "\(binding.snapshot.hexadecimal) \(binding.view)")
        }
        return text.text
    }

    init?(text: String) {
        guard let lines = StateText(text, kind: Self.kind), let device = lines["device"],
            let sectors = lines.number("sectors", as: UInt64.self),
            let mechanism = Mechanism(lines),
            let began = lines.number("began", as: Int64.self), let boot = lines["boot"],
            let view = lines.number("view", as: UInt64.self),
            let viewBegan = lines.number("view_began", as: Int64.self)
        else { return nil }
        self.device = device
        sectorCount = sectors
        plainDevice = lines["plain"]
        self.mechanism = mechanism
        self.began = began
        bootID = boot
        self.view = view
        self.viewBegan = viewBegan
        for value in lines.values(of: "own_view") {
            guard let view = UInt64(value) else { return nil }
            ownViews.append(view)
        }
        for value in lines.values(of: "binding") {
            guard let binding = Binding(text: value) else { return nil }
            bindings.append(binding)
        }
    }
}

extension TrackingState.Mechanism {
    fileprivate func add(to text: inout StateText) {
        switch self {
        case .stores(let place, let byteCount):
            text.add("store", place.text)
            text.add("store_bytes", byteCount)
        case .thinPool(let identity, let deviceID):
            text.add("thin_pool", identity)
            text.add("thin_device", deviceID)
        case .era(let sequence): text.add("era", sequence.map { "\($0)" } ?? "")
        }
    }

    fileprivate init?(_ lines: StateText) {
        if let place = lines["store"].flatMap(StorePlace.init(text:)),
            let byteCount = lines.number("store_bytes", as: UInt64.self)
        {
            self = .stores(place, byteCount: byteCount)
        } else if let identity = lines["thin_pool"],
            let device = lines.number("thin_device", as: UInt32.self), device < ThinPool.idLimit
        {
            self = .thinPool(identity: identity, deviceID: device)
        } else if let sequence = lines["era"] {
            self = .era(diskSequence: UInt64(sequence))
        } else {
            return nil
        }
    }

    /// Whether what is known outlives a restart of the machine.
    var outlivesRestart: Bool {
        if case .thinPool = self { true } else { false }
    }

    package var name: String {
        switch self {
        case .stores: "snapshot-store"
        case .thinPool: "thin-snapshot"
        case .era: "era"
        }
    }

    /// Where stores are; nil where the device needs none.
    package var place: StorePlace? {
        if case .stores(let place, _) = self { place } else { nil }
    }
}

extension TrackingState.Binding {
    fileprivate init?(text: String) {
        let fields = text.split(separator: " ")
        guard fields.count == 4, let repository = ObjectID(hexadecimal: String(fields[0])),
            let volume = VolumeName(String(fields[1])),
            let digest = Digest(hexadecimal: String(fields[2])), let view = UInt64(fields[3])
        else { return nil }
        self.init(
            repository: repository, volume: volume, snapshot: SnapshotID(digest), view: view)
    }
}
