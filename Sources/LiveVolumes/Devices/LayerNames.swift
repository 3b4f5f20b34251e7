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

    /// The device that is put over a plain one.
    package static func layer(over name: String) -> String { "varve-\(name)" }
}
