internal import CShims
internal import Glibc

/// How much of the machine this process takes from others.
package struct Priority {
    private let nice: Int32
    private let ioClass: Int32

    /// What it is now.
    package static var current: Priority {
        Priority(
            nice: getpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0),
            ioClass: varve_io_priority())
    }

    /// Lets others go first, as far as the system allows it to be said.
    package static func lower(nice: Int, isIdle: Bool) {
        if nice > 0 { setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, Int32(nice)) }
        if isIdle { _ = varve_set_idle_io() }
    }

    /// Takes it back for what comes next in this process; only root may become more important again.
    package func restore() {
        setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, nice)
        if ioClass >= 0 { _ = varve_set_io_priority(ioClass) }
    }
}
