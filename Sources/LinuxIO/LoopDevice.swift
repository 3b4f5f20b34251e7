internal import CShims
internal import Glibc

/// A block device of the kernel over a file.
///
/// It lets go of the file when nothing has it open any more: this handle, or a device upon it.
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

    /// Opens a loop device that is attached already.
    package init(attached path: String) throws(SystemError) {
        handle = try FileHandle(path, .readWrite)
        self.path = path
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

    /// Lets the device have the size that its file has now.
    package func updateSize() throws(SystemError) {
        guard varve_loop_update_size(handle.descriptor) == 0 else {
            throw SystemError(.ioctl, path)
        }
    }

    package func number() throws(SystemError) -> UInt64 {
        try handle.status(path).representedDevice
    }
}
