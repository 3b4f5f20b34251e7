internal import CDeviceMapper
internal import Glibc
internal import Synchronization

/// libdevmapper keeps lists of its own without a lock: one thread at a time may be in it.
enum Library {
    static let lock = Mutex(())
}

/// A call that is set up and can be made later.
///
/// libdevmapper packs the ioctl when it runs the call, and keeps the control device open. With all
/// memory locked (`mlockall`) that needs nothing from any disk, which is what the time between a
/// suspend and the resume demands.
@safe
package final class PreparedCall {
    private let operation: DeviceMapper.Operation
    private let device: String
    /// Whether udev is to leave the device alone: neither look for what is on it nor link to it.
    private let isPrivate: Bool
    private let task: OpaquePointer
    /// What udev answers to when it has seen the call; 0 where nothing waits for it.
    private var cookie: UInt32 = 0
    private var hasTable = false

    package init(
        _ operation: DeviceMapper.Operation,
        _ device: String,
        isPrivate: Bool = false
    ) throws(DeviceMapperError) {
        let created = unsafe Library.lock.withLock { _ in
            varve_dm_begin()
            dm_hold_control_dev(1)
            return unsafe dm_task_create(operation.task)
        }
        guard let task = unsafe created else { throw Self.error(operation, device, errno: 0) }
        self.operation = operation
        self.device = device
        self.isPrivate = isPrivate
        unsafe self.task = task
        try require(unsafe dm_task_set_name(task, device))
        // A table may hold the key of an encrypted device: the library wipes its buffers then.
        try require(unsafe dm_task_secure_data(task))
    }

    deinit { unsafe dm_task_destroy(task) }

    /// Gives a create or a load its table; a device that is created without one has none yet.
    package func set(_ table: [TableLine], isReadOnly: Bool) throws(DeviceMapperError) {
        hasTable = !table.isEmpty
        for line in table {
            try require(
                unsafe dm_task_add_target(
                    task, line.firstSector, line.sectorCount, line.target, line.parameters))
        }
        if isReadOnly { try require(unsafe dm_task_set_ro(task)) }
        if operation == .create {
            try require(unsafe dm_task_set_add_node(task, DM_ADD_NODE_ON_CREATE))
        }
    }

    func set(uuid: String) throws(DeviceMapperError) {
        try require(unsafe dm_task_set_uuid(task, uuid))
    }

    /// Gives a message its text, for the target at `sector`.
    package func set(message: String, sector: UInt64) throws(DeviceMapperError) {
        try require(unsafe dm_task_set_sector(task, sector))
        try require(unsafe dm_task_set_message(task, message))
    }

    func setRetrying() throws(DeviceMapperError) {
        try require(unsafe dm_task_retry_remove(task))
    }

    func set(eventNumber: UInt32) throws(DeviceMapperError) {
        try require(unsafe dm_task_set_event_nr(task, eventNumber))
    }

    /// Makes the call.
    package func run() throws(DeviceMapperError) {
        // Waiting for an event touches none of the library's lists, and may take for ever.
        let isDone =
            operation == .wait
            ? runUnlocked() : Library.lock.withLock { _ in runUnlocked() }
        guard isDone else {
            throw Self.error(operation, device, errno: unsafe dm_task_get_errno(task))
        }
    }

    /// Whether the call makes udev look at the device: it has to know then that the call is ours.
    private var isSeenByUdev: Bool {
        switch operation {
        case .resume, .remove: true
        case .create: hasTable
        default: false
        }
    }

    /// Waits until udev has done what the call lets it do; to be called after each run that is not in
    /// a window, and after a window for all in it.
    package func settle() {
        guard cookie != 0 else { return }
        Library.lock.withLock { _ in _ = dm_udev_wait(cookie) }
        cookie = 0
    }

    private func runUnlocked() -> Bool {
        varve_dm_begin()
        // Without udev, or the semaphores it needs, there is no cookie, and nothing to wait for.
        if isSeenByUdev {
            let flags =
                isPrivate
                ? DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG | DM_UDEV_DISABLE_DISK_RULES_FLAG
                    | DM_UDEV_DISABLE_OTHER_RULES_FLAG : 0
            _ = unsafe dm_task_set_cookie(task, &cookie, UInt16(flags))
        }
        return unsafe dm_task_run(task) == 1
    }

    /// What the last call told of the device; nil when there is none.
    func information() throws(DeviceMapperError) -> DeviceMapper.Information? {
        var information = dm_info()
        try require(unsafe dm_task_get_info(task, &information))
        guard information.exists != 0 else { return nil }
        return DeviceMapper.Information(
            isSuspended: information.suspended != 0, hasLiveTable: information.live_table != 0,
            hasLoadedTable: information.inactive_table != 0,
            openCount: Int(information.open_count), eventNumber: information.event_nr,
            major: information.major, minor: information.minor,
            isReadOnly: information.read_only != 0,
            uuid: unsafe dm_task_get_uuid(task).map { unsafe String(cString: $0) } ?? "")
    }

    /// The lines that the last call gave.
    func lines() -> [TableLine] {
        var lines: [TableLine] = []
        var next: UnsafeMutableRawPointer?
        repeat {
            var first: UInt64 = 0
            var count: UInt64 = 0
            var target: UnsafeMutablePointer<CChar>?
            var parameters: UnsafeMutablePointer<CChar>?
            unsafe next = dm_get_next_target(task, next, &first, &count, &target, &parameters)
            guard let target = unsafe target else { break }
            lines.append(
                TableLine(
                    firstSector: first, sectorCount: count,
                    target: unsafe String(cString: target),
                    parameters: unsafe parameters.map { unsafe String(cString: $0) } ?? ""))
        } while unsafe next != nil
        return lines
    }

    private func require(_ result: Int32) throws(DeviceMapperError) {
        guard result == 1 else { throw Self.error(operation, device, errno: 0) }
    }

    private static func error(
        _ operation: DeviceMapper.Operation,
        _ device: String,
        errno: Int32
    ) -> DeviceMapperError {
        let said = unsafe String(cString: varve_dm_end())
        let kernel = errno == 0 ? "" : unsafe String(cString: strerror(errno))
        let reason = [said, said.contains(kernel) ? "" : kernel].filter { !$0.isEmpty }
            .joined(separator: ": ")
        return DeviceMapperError(
            operation: operation, device: device, errno: errno,
            reason: reason.isEmpty ? "the library gave no reason" : reason)
    }
}
