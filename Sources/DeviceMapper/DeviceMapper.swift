internal import CDeviceMapper
internal import Glibc
internal import Synchronization

/// Calls to the kernel's device-mapper through libdevmapper, each one ioctl.
///
/// Each call returns when its node below `/dev/mapper` is there, or gone: made by the library where
/// udev does not do it. ``PreparedCall`` leaves that for later.
///
/// Source: <https://sourceware.org/git/?p=lvm2.git;a=tree;f=libdm>, version 1.02.185.
package enum DeviceMapper {
    /// What is asked of the kernel.
    package enum Operation: String, Sendable {
        case create, load, suspend, resume, remove, message
        case clear = "drop the loaded table of"
        case wait = "wait for"
        case status = "ask for the status of"
        case table = "ask for the table of"
        case information = "ask for"

        var task: Int32 {
            let type =
                switch self {
                case .create: DM_DEVICE_CREATE
                case .load: DM_DEVICE_RELOAD
                case .suspend: DM_DEVICE_SUSPEND
                case .resume: DM_DEVICE_RESUME
                case .remove: DM_DEVICE_REMOVE
                case .clear: DM_DEVICE_CLEAR
                case .message: DM_DEVICE_TARGET_MSG
                case .wait: DM_DEVICE_WAITEVENT
                case .status: DM_DEVICE_STATUS
                case .table: DM_DEVICE_TABLE
                case .information: DM_DEVICE_INFO
                }
            return Int32(type)
        }
    }

    /// What the kernel tells of a device.
    package struct Information: Hashable, Sendable {
        package let isSuspended: Bool
        package let hasLiveTable: Bool
        package let hasLoadedTable: Bool
        package let openCount: Int
        package let eventNumber: UInt32
        package let major: UInt32
        package let minor: UInt32
        package let isReadOnly: Bool
        /// Its permanent name, as its creator chose it; empty if there is none.
        package let uuid: String
    }

    /// Makes a device and starts it with `table`; udev leaves one alone that `isPrivate`.
    package static func create(
        _ name: String,
        _ table: [TableLine],
        isReadOnly: Bool = false,
        uuid: String? = nil,
        isPrivate: Bool = false
    ) throws(DeviceMapperError) {
        let call = try PreparedCall(.create, name, isPrivate: isPrivate)
        try call.set(table, isReadOnly: isReadOnly)
        if let uuid { try call.set(uuid: uuid) }
        defer { call.settle() }
        try call.run()
        updateNodes()
    }

    /// Makes and removes the nodes that prepared calls left to do.
    package static func updateNodes() {
        Library.lock.withLock { _ in dm_task_update_nodes() }
    }

    /// Gives a device another table, which counts from the next resume on.
    package static func load(
        _ name: String,
        _ table: [TableLine],
        isReadOnly: Bool = false
    ) throws(DeviceMapperError) {
        let call = try PreparedCall(.load, name)
        try call.set(table, isReadOnly: isReadOnly)
        try call.run()
    }

    /// Holds back what is written from now on; a mounted file system is frozen first, so that what
    /// lies on the device is consistent.
    package static func suspend(_ name: String) throws(DeviceMapperError) {
        try PreparedCall(.suspend, name).run()
    }

    /// Lets a device go on, with the table that was loaded last.
    package static func resume(
        _ name: String,
        isPrivate: Bool = false
    ) throws(DeviceMapperError) {
        let call = try PreparedCall(.resume, name, isPrivate: isPrivate)
        defer { call.settle() }
        try call.run()
        updateNodes()
    }

    package static func remove(_ name: String) throws(DeviceMapperError) {
        let call = try PreparedCall(.remove, name)
        defer { call.settle() }
        try call.run()
        updateNodes()
    }

    /// Removes a device, trying again for some seconds while somebody looks at it, as udev does.
    package static func removePatiently(_ name: String) throws(DeviceMapperError) {
        let call = try PreparedCall(.remove, name)
        try call.setRetrying()
        defer { call.settle() }
        try call.run()
        updateNodes()
    }

    /// Sends `text` to the target at `sector`.
    package static func message(
        _ name: String,
        _ text: String,
        sector: UInt64 = 0
    ) throws(DeviceMapperError) {
        let call = try PreparedCall(.message, name)
        try call.set(message: text, sector: sector)
        try call.run()
    }

    /// Waits until the device has had more events than `eventNumber`; gives their number.
    package static func wait(
        _ name: String,
        after eventNumber: UInt32
    ) throws(DeviceMapperError) -> UInt32 {
        let call = try PreparedCall(.wait, name)
        try call.set(eventNumber: eventNumber)
        try call.run()
        return try call.information()?.eventNumber ?? eventNumber
    }

    /// What each target says of itself.
    package static func status(_ name: String) throws(DeviceMapperError) -> [TableLine] {
        try lines(.status, name)
    }

    /// The table that is live.
    package static func table(_ name: String) throws(DeviceMapperError) -> [TableLine] {
        try lines(.table, name)
    }

    /// What the kernel tells of a device; nil when there is none of that name.
    package static func information(
        of name: String
    ) throws(DeviceMapperError) -> Information? {
        let call = try PreparedCall(.information, name)
        try call.run()
        return try call.information()
    }

    private static func lines(
        _ operation: Operation,
        _ name: String
    ) throws(DeviceMapperError) -> [TableLine] {
        let call = try PreparedCall(operation, name)
        try call.run()
        return call.lines()
    }
}
