package import BlockModel
internal import LinuxIO
internal import RepositoryFormat

/// The clocks that work on a repository goes by.
package struct RepositoryClock {
    /// The time of day: of snapshots, and for retention.
    package var now: () -> Timestamp
    /// A time that nobody sets, by which holds grow old.
    package var steady: () -> Timestamp
    /// Nanoseconds of a clock that only goes forward.
    package var monotonicNanoseconds: () -> UInt64
    /// Waits for so many milliseconds.
    package var sleep: (UInt32) -> Void

    package init(
        now: @escaping () -> Timestamp,
        steady: @escaping () -> Timestamp,
        monotonicNanoseconds: @escaping () -> UInt64,
        sleep: @escaping (UInt32) -> Void
    ) {
        self.now = now
        self.steady = steady
        self.monotonicNanoseconds = monotonicNanoseconds
        self.sleep = sleep
    }

    /// Those of this machine.
    package static var system: RepositoryClock {
        RepositoryClock(
            now: Moment.now, steady: Moment.steady,
            monotonicNanoseconds: Moment.monotonicNanoseconds,
            sleep: { SystemClock.sleep(milliseconds: $0) })
    }
}

/// How large what is written to a repository is to be.
package struct ObjectSizes: Sendable {
    /// Bytes of blocks of a pack.
    package var packByteTarget = Format.packByteTarget
    /// Bytes of one part of a delta.
    package var partByteLimit = Format.partByteLimit
    /// Bytes that a backup compares of what is said not to have changed.
    package var sampleByteTarget: UInt64 = 64 << 20
    /// Bytes of packs that a prune writes again at once.
    package var repackByteTarget: UInt64 = 256 << 20

    package init() {}
}
