internal import CShims
internal import Glibc

/// How much of the machine this process takes from others.
enum Priority {
    /// Lets others go first, as far as the system allows it to be said.
    static func lower(nice: Int, isIdle: Bool) {
        if nice > 0 { setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, Int32(nice)) }
        if isIdle { _ = varve_set_idle_io() }
    }
}
