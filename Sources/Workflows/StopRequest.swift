internal import LinuxIO

/// The wish that this process stops what it does, which a signal tells.
package enum StopRequest {
    /// Takes SIGINT, SIGTERM and SIGHUP for the wish; a second one ends the process.
    package static func listen() { Interruption.install() }

    package static var isMade: Bool { Interruption.isRequested }

    /// Makes it, as a signal would.
    package static func make() { Interruption.request() }
}
