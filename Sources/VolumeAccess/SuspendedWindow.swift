package import DeviceMapper
internal import Glibc
internal import LinuxIO

/// A moment at which devices stand still, in which calls are made that take effect together.
///
/// The root of this very system may be among the devices: then nothing that lies on it can be read
/// until it goes on. So everything is prepared before, all memory of the process is locked, and
/// between the first suspend and the last resume there is nothing but the calls. Whatever fails, all
/// devices go on.
///
/// Locking takes every mapping that the process has, so that this is to be done before an index is
/// open.
package struct SuspendedWindow {
    private let suspends: [PreparedCall]
    private let resumes: [PreparedCall]
    /// Drop tables that were loaded, so that devices go on as they were.
    private let clears: [PreparedCall]
    private let steps: [PreparedCall]
    /// Made before the devices go on as they were, when something failed.
    private let undo: [PreparedCall]

    /// Prepares to suspend `devices`, in this order, and then to make the calls of `steps`; when
    /// something fails, those of `undo`.
    package init(
        _ devices: [String],
        steps: [PreparedCall],
        undo: [PreparedCall] = []
    ) throws(DeviceMapperError) {
        var suspends: [PreparedCall] = []
        var resumes: [PreparedCall] = []
        var clears: [PreparedCall] = []
        for device in devices {
            suspends.append(try PreparedCall(.suspend, device))
            resumes.append(try PreparedCall(.resume, device))
            clears.append(try PreparedCall(.clear, device))
        }
        self.suspends = suspends
        self.resumes = resumes
        self.clears = clears
        self.steps = steps
        self.undo = undo
    }

    /// Opens the window, makes the calls, and closes it again; gives the nanoseconds for which the
    /// first device stood still.
    ///
    /// Tables that were loaded take effect as the devices go on. When something failed they are
    /// dropped, and the devices go on with those that they had.
    ///
    /// - Throws: ``DeviceMapperError`` of the first call that failed. Of what the steps before it did,
    ///   only that is undone which `undo` undoes.
    package func run() throws -> UInt64 {
        guard mlockall(MCL_CURRENT | MCL_FUTURE) == 0 else {
            let error = SystemError(.lock, "memory")
            for clear in clears { try? clear.run() }
            throw error
        }
        defer { munlockall() }
        // A signal that ends or stops the process now would leave devices as they are.
        var all = sigset_t()
        var before = sigset_t()
        unsafe sigfillset(&all)
        unsafe pthread_sigmask(SIG_BLOCK, &all, &before)
        defer { _ = unsafe pthread_sigmask(SIG_SETMASK, &before, nil) }
        // The first call of each kind touches what later ones use.
        _ = SystemClock.monotonicNanoseconds()
        var failure: DeviceMapperError?
        var suspendedCount = 0
        let start = SystemClock.monotonicNanoseconds()
        for call in suspends where failure == nil {
            do throws(DeviceMapperError) {
                try call.run()
                suspendedCount += 1
            } catch {
                failure = error
            }
        }
        for call in steps where failure == nil {
            do throws(DeviceMapperError) { try call.run() } catch { failure = error }
        }
        if failure != nil { takeBack() }
        // What was loaded into a device that never stood still must not count when it does.
        for clear in clears[suspendedCount...] { try? clear.run() }
        for number in (0..<suspendedCount).reversed() {
            if failure == nil {
                do throws(DeviceMapperError) { try resumes[number].run() } catch { failure = error }
                if failure == nil { continue }
                takeBack()
            }
            try? clears[number].run()
            try? resumes[number].run()
        }
        let duration = SystemClock.monotonicNanoseconds() - start
        for call in steps + undo + resumes { call.settle() }
        DeviceMapper.updateNodes()
        if let failure { throw failure }
        return duration
    }

    /// A loaded table may stand in the way of it.
    private func takeBack() {
        guard !undo.isEmpty else { return }
        for clear in clears { try? clear.run() }
        for call in undo { try? call.run() }
    }
}
