internal import LinuxIO
internal import VolumeAccess

/// The layer that the start of the machine puts under a root that is a plain partition.
package enum BootLayer {
    /// Name of the root's device.
    package static let deviceName = "varve-root"
    package static let configurationPath = "/etc/varve/layer.conf"

    /// What the start of the machine knows.
    package struct Configuration: Hashable, Sendable {
        package let partition: String
        /// Where the store of a trial is; nil where there is none.
        package let store: String?
    }

    /// What is installed; nil when nothing is.
    package static func configuration() -> Configuration? {
        guard let text = Directory.text(of: configurationPath) else { return nil }
        var values: [Substring: String] = [:]
        for line in text.split(separator: "\n") {
            guard let equals = line.firstIndex(of: "=") else { continue }
            values[line[..<equals]] = String(line[line.index(after: equals)...])
        }
        return values["partition"].map { Configuration(partition: $0, store: values["store"]) }
    }
}
