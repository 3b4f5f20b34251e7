internal import CShims
internal import Glibc

/// A block device of the kernel over a file.
///
/// It releases the file when neither this handle nor a device on it has it open any more.
///
/// Source: `loop(4)`, `linux/loop.h`.
package struct LoopDevice: ~Copyable {
    package let path: String
    private let handle: FileHandle

    /// Attaches the file at `file`, past the page cache where its file system can.
    package init(over file: String) throws(SystemError) {
        let (number, descriptor) = try Self.attach(file)
        path = "/dev/loop\(number)"
        handle = FileHandle(adopting: descriptor)
    }

    /// Attaches a part of a file, read-only, and keeps udev from looking at it as long as this is kept.
    ///
    /// Source: "Locking Block Device Access" of systemd.
    package init(over file: String, _ bytes: Range<UInt64>) throws(SystemError) {
        let backing = try FileHandle(file, .read)
        var number: Int32 = 0
        let descriptor = unsafe varve_loop_attach_part(
            backing.descriptor, bytes.lowerBound, UInt64(bytes.count), &number)
        guard descriptor >= 0 else { throw SystemError(.attach, file) }
        path = "/dev/loop\(number)"
        handle = FileHandle(adopting: descriptor)
    }

    private static func attach(
        _ file: String
    ) throws(SystemError) -> (number: Int32, descriptor: Int32) {
        let handle = try FileHandle(file, .readWrite)
        var number: Int32 = 0
        let descriptor = unsafe varve_loop_attach(handle.descriptor, &number)
        guard descriptor >= 0 else { throw SystemError(.attach, file) }
        return (number, descriptor)
    }

    package func number() throws(SystemError) -> UInt64 {
        try handle.status(path).representedDevice
    }
}

/// What a loop device lies over, by the kernel's word.
package struct LoopBacking: Hashable, Sendable {
    /// The file, by the device of its file system and its inode.
    package let device: UInt64
    package let inode: UInt64
    /// The device, where it lies over one; zero over a file.
    package let representedDevice: UInt64
    package let byteOffset: UInt64
    /// Zero for all that follows the offset.
    package let byteLimit: UInt64

    /// Asks an open loop device; nil for one that is over nothing, and for another device.
    package init?(descriptor: Int32) {
        var status = varve_loop_status()
        guard unsafe varve_loop_status(descriptor, &status) == 0 else { return nil }
        device = status.device
        inode = status.inode
        representedDevice = status.represented_device
        byteOffset = status.offset
        byteLimit = status.byte_limit
    }
}
