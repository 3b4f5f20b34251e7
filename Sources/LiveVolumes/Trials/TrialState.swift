internal import LinuxIO

/// Where the trial of a volume keeps what is needed to throw it away.
package struct TrialState: Hashable, Sendable {
    private static let kind = "varve_trial_place"

    package let device: String
    /// The plain device under a layer of ours; nil where the device was one of device-mapper before.
    package let plainDevice: String?
    package let place: StorePlace
    package let began: Int64
    var bootID: String

    /// Whether it is the root of the system, under which the start of the machine put the layer.
    package var isRoot: Bool { device == BootLayer.deviceName }

    /// The file or device with label and store.
    var storePath: String {
        switch place {
        case .directory(let directory): "\(directory)/\(device).trial.varve-store"
        case .device(let path): path
        }
    }

    /// The file that goes when the trial ends; nil where the store is a device.
    var storeFile: String? {
        if case .directory = place { storePath } else { nil }
    }

    init(device: String, plainDevice: String?, place: StorePlace, began: Int64) {
        self.device = device
        self.plainDevice = plainDevice
        self.place = place
        self.began = began
        bootID = Boot.id
    }

    var text: String {
        var text = StateText(kind: Self.kind)
        text.add("device", device)
        if let plainDevice { text.add("plain", plainDevice) }
        text.add("store", place.text)
        text.add("began", began)
        text.add("boot", bootID)
        return text.text
    }

    init?(text: String) {
        guard let lines = StateText(text, kind: Self.kind), let device = lines["device"],
            let place = lines["store"].flatMap(StorePlace.init(text:)),
            let began = lines.number("began", as: Int64.self), let boot = lines["boot"]
        else { return nil }
        self.device = device
        plainDevice = lines["plain"]
        self.place = place
        self.began = began
        bootID = boot
    }
}
