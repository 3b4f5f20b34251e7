package import BlockModel
internal import LinuxIO

/// What has to be known again of a volume that is tracked, by whoever goes on with it.
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
    /// Where the stores are.
    package let place: StorePlace
    /// Bytes that each store begins with.
    package let storeByteCount: UInt64
    /// When tracking began, in seconds since 1970.
    package let began: Int64

    /// The run of the machine in which this holds.
    package var bootID: String
    /// Number of the frozen view that is there now.
    package var view: UInt64
    /// When that view began, in seconds since 1970.
    package var viewBegan: Int64
    package var bindings: [Binding] = []

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
        place: StorePlace,
        storeByteCount: UInt64,
        now: Int64
    ) {
        self.device = device.name
        sectorCount = device.sectorCount
        self.plainDevice = plainDevice
        self.place = place
        self.storeByteCount = storeByteCount
        began = now
        bootID = Boot.id
        view = 0
        viewBegan = now
    }

    var text: String {
        var text = StateText(kind: Self.kind)
        text.add("device", device)
        text.add("sectors", sectorCount)
        if let plainDevice { text.add("plain", plainDevice) }
        text.add("store", place.text)
        text.add("store_bytes", storeByteCount)
        text.add("began", began)
        text.add("boot", bootID)
        text.add("view", view)
        text.add("view_began", viewBegan)
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
            let place = lines["store"].flatMap(StorePlace.init(text:)),
            let store = lines.number("store_bytes", as: UInt64.self),
            let began = lines.number("began", as: Int64.self), let boot = lines["boot"],
            let view = lines.number("view", as: UInt64.self),
            let viewBegan = lines.number("view_began", as: Int64.self)
        else { return nil }
        self.device = device
        sectorCount = sectors
        plainDevice = lines["plain"]
        self.place = place
        storeByteCount = store
        self.began = began
        bootID = boot
        self.view = view
        self.viewBegan = viewBegan
        for value in lines.values(of: "binding") {
            guard let binding = Binding(text: value) else { return nil }
            bindings.append(binding)
        }
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
