/// The names of the devices that are made for a volume whose device is called `device`.
package struct LayerNames: Hashable, Sendable {
    package let device: String

    package init(_ device: String) { self.device = device }

    /// What the device was before: the same table, under an origin layer.
    package var real: String { "varve-real-\(device)" }

    /// The frozen view of that number, and the store of what it keeps: two of each take turns.
    package func view(_ number: UInt64) -> String { "varve-view\(number % 2)-\(device)" }
    package func store(_ number: UInt64) -> String { "varve-store\(number % 2)-\(device)" }
    /// What tells a view from all others that had its name.
    package func uuid(ofView number: UInt64) -> String { "varve-view-\(number)-\(device)" }

    /// What the device showed when the trial began, and where that is kept.
    package var trialView: String { "varve-trial-\(device)" }
    package var trialStore: String { "varve-trialstore-\(device)" }
    /// What holds the trial's view.
    package var hold: String { "varve-hold-\(device)" }

    /// What a device may be called of which only a path is known, because it is gone.
    static func names(ofDevice path: String) -> [String] {
        let parts = path.split(separator: "/").map(String.init)
        guard let last = parts.last else { return [] }
        if parts.count == 1 || path.hasPrefix("/dev/mapper/") { return [last] }
        // LVM doubles the hyphens in the names of group and volume.
        let escaped = parts.suffix(2).map { part in
            part.map { $0 == "-" ? "--" : String($0) }.joined()
        }
        return [escaped.joined(separator: "-"), layer(over: last)]
    }

    /// The device that is put over a plain one.
    package static func layer(over name: String) -> String { "varve-\(name)" }
}
