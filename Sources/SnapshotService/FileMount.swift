internal import DiskContents
internal import Fuse
internal import LinuxIO
internal import Synchronization

/// The files of a snapshot in a directory, by the kernel's own file systems.
///
/// The kernel reads a loop device over a file that libfuse shows; of both only the mount itself can be
/// seen while it stands. The device has the bytes of the file system and no others, so that nothing else of
/// the disk is looked at, such as volumes of LVM, and udev is kept from it. When the mount goes, however it
/// goes, the device goes with it, and what serves it.
package final class FileMount {
    /// How the kernel is told to mount each type: its name for it, and options by which it leaves journals
    /// and doubled ids alone.
    private static let types: [String: (name: String, options: String)] = [
        "ext2": ("ext4", "noload"), "ext3": ("ext4", "noload"), "ext4": ("ext4", "noload"),
        "xfs": ("xfs", "norecovery,nouuid"), "btrfs": ("btrfs", "rescue=nologreplay"),
        "f2fs": ("f2fs", "norecovery"), "ntfs": ("ntfs3", ""), "vfat": ("vfat", ""),
        "exfat": ("exfat", ""), "iso9660": ("iso9660", ""), "udf": ("udf", ""),
        "squashfs": ("squashfs", ""), "erofs": ("erofs", ""), "hfsplus": ("hfsplus", ""),
    ]

    /// Whether the thread that serves the file has ended.
    private final class Server: Sendable {
        enum State { case starting, ready, ended }
        let state = Mutex(State.starting)

        /// Shows `image` at `path`; returns when it is there.
        func start(_ image: SnapshotImage, at path: String) throws {
            try Workers.start { [self] in
                _ = Mount.run(
                    image, at: path, options: "ro,nodev,nosuid,fsname=varve,subtype=varve",
                    takesSignals: false
                ) { self.state.withLock { $0 = .ready } }
                state.withLock { $0 = .ended }
            }
            while state.withLock({ $0 == .starting }) { SystemClock.sleep(milliseconds: 2) }
            guard state.withLock({ $0 == .ready }) else {
                throw ServiceError(
                    .failed,
                    "the snapshot cannot be shown to the system; see the output of libfuse above")
            }
        }
    }

    package let directory: String
    /// The partition's number; nil for a disk without a table.
    package let partition: Int?
    package let type: String
    /// The loop device, locked while this is kept.
    private var device: Device?
    private let server: Server
    private let mountedDevice: UInt64

    private final class Device {
        let loop: LoopDevice
        init(_ loop: consuming LoopDevice) { self.loop = loop }
    }

    /// Mounts the file system of a snapshot at `directory`.
    ///
    /// - Parameters:
    ///   - snapshot: what is mounted.
    ///   - number: number of the partition; nil for the only one that can be mounted.
    ///   - directory: an empty directory.
    ///   - onFailure: hears why something could not be read.
    /// - Throws: ``ContentsError`` when there is nothing that can be mounted; ``SystemError`` when the
    ///   kernel does not.
    package init(
        _ snapshot: OpenSnapshot,
        partition number: Int?,
        at directory: String,
        onFailure: @escaping @Sendable (any Error) -> Void
    ) throws {
        let chosen = try FileSystemChoice(snapshot.reader, title: snapshot.title)
            .partition(number, of: Set(Self.types.keys))
        guard let (type, options) = Self.types[chosen.type] else {
            throw ContentsError(.unsuitable, "\(chosen.type) cannot be mounted")
        }
        let server = Server()
        let image = SnapshotImage(snapshot, onFailure: onFailure)
        device = try PrivateDirectory.withNew { place in
            try server.start(image, at: place.path)
            // The device keeps the file open; nobody else has to reach it.
            defer { try? FileSystemMount.unmount(place.path, isLazy: true) }
            let loop = try LoopDevice(over: "\(place.path)/\(SnapshotImage.name)", chosen.bytes)
            do {
                try FileSystemMount.mountReadOnly(
                    loop.path, at: directory, type: type, options: options)
            } catch let error {
                throw ServiceError(
                    .failed,
                    "\(error), as \(type)\(options.isEmpty ? "" : " with \(options)"); the system's log "
                        + "('dmesg') says more")
            }
            return Device(loop)
        }
        // Not the loop device's number: some file systems have one of their own.
        mountedDevice = try FileStatus(path: directory)?.device ?? 0
        self.directory = directory
        self.type = chosen.type
        self.server = server
        partition = chosen.number
    }

    /// Whether it is still mounted there.
    package var stands: Bool {
        (try? FileStatus(path: directory))??.device == mountedDevice
    }

    /// Unmounts it; what others have open there goes on until they are done.
    ///
    /// - Returns: whether others have something open there.
    package func end() throws -> Bool {
        // It is let go of by this, and then by the kernel.
        defer { device = nil }
        guard stands else { return false }
        do {
            try FileSystemMount.unmount(directory, isLazy: false)
            return false
        } catch {
            try FileSystemMount.unmount(directory, isLazy: true)
            return true
        }
    }

    /// Whether nothing reads the snapshot any more.
    package var hasEnded: Bool { server.state.withLock { $0 == .ended } }
}
