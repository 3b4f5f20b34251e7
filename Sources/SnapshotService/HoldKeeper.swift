package import BlockModel
internal import LinuxIO
package import Repository
internal import Synchronization

/// Renews the holds of a process while its commands work, however long a step of theirs takes.
///
/// Whoever takes part in this need not think of it: opening an index that is years behind, or the
/// proof of every map, calls nobody back.
package final class HoldKeeper: Sendable {
    /// How often it is looked whether a hold is due.
    private static let pauseSeconds: UInt32 = 20

    private struct WeakHold {
        weak var hold: Hold?
    }

    private struct State {
        var holds: [WeakHold] = []
        var isRunning = false
    }
    private let state = Mutex(State())

    package init() {}

    /// Renews `hold` from now on, for as long as somebody has it.
    package func keep(_ hold: Hold) {
        let isFirst = state.withLock { state in
            state.holds.removeAll { $0.hold == nil }
            state.holds.append(WeakHold(hold: hold))
            defer { state.isRunning = true }
            return !state.isRunning
        }
        guard isFirst else { return }
        // Without a thread holds are renewed by the steps that call back.
        try? Workers.startRepeating(everySeconds: Self.pauseSeconds) { [weak self] in
            guard let self else { return false }
            renewAll(now: Moment.steady())
            return true
        }
    }

    /// Renews what is due; what cannot be renewed shows when it is verified.
    package func renewAll(now: Timestamp) {
        for hold in state.withLock({ $0.holds.compactMap(\.hold) }) { try? hold.renew(now: now) }
    }
}
