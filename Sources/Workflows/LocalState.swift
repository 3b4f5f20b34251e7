package import LiveVolumes

/// Where this machine keeps what it knows of its disks in use.
package enum LocalState {
    /// The directory that the environment names, else the system's.
    package static func directory(_ environment: [String: String]) -> StateDirectory {
        StateDirectory(environment: environment)
    }
}
