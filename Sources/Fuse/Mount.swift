internal import CFuse
internal import Glibc
internal import LinuxIO

/// What a mount shows, read-only; it is asked from many threads at once.
package protocol MountedTree: AnyObject, Sendable {
    /// What is at a path that begins with a slash; nil when there is nothing.
    func status(of path: String) throws -> MountedStatus?
    /// Names in a directory.
    func names(in path: String) throws -> [String]
    /// Where a symbolic link leads; nil when there is none.
    func linkTarget(of path: String) throws -> String?
    /// A number above 0 for a file that is read; nil when there is none.
    func open(_ path: String) throws -> Int64?
    /// Reads as much as there is of what is wanted; gives the number of bytes.
    @unsafe
    func read(_ file: Int64, into target: UnsafeMutableRawBufferPointer, at offset: UInt64) throws
        -> Int
    /// The next offset with content, or without; nil behind the last.
    func next(_ file: Int64, from offset: UInt64, withContent: Bool) throws -> UInt64?
    func close(_ file: Int64)
    /// Hears what was thrown; the system is told of an input/output error.
    func failed(_ error: any Error)
}

/// What the system is told of a file.
package struct MountedStatus: Sendable {
    package enum Kind: Sendable { case directory, file, link }

    package let kind: Kind
    package let inode: UInt64
    package let byteCount: UInt64
    package let allocatedByteCount: UInt64
    /// Since 1970.
    package let seconds: Int64

    package init(
        kind: Kind,
        inode: UInt64,
        byteCount: UInt64 = 0,
        allocatedByteCount: UInt64 = 0,
        seconds: Int64 = 0
    ) {
        self.kind = kind
        self.inode = inode
        self.byteCount = byteCount
        self.allocatedByteCount = allocatedByteCount
        self.seconds = seconds
    }
}

/// A mount of a tree, by libfuse.
package enum Mount {
    /// What the functions of C get as their context.
    private final class Context {
        let tree: any MountedTree
        let isReady: () -> Void

        init(_ tree: any MountedTree, _ isReady: @escaping () -> Void) {
            self.tree = tree
            self.isReady = isReady
        }
    }

    /// Mounts the tree at `directory` and serves it until it is unmounted or, if it takes signals, one asks
    /// to stop.
    ///
    /// - Parameters:
    ///   - tree: what is shown.
    ///   - directory: an empty directory.
    ///   - options: options of the mount, with commas.
    ///   - takesSignals: whether those that end a program end this.
    ///   - isReady: called when the mount is there.
    /// - Returns: whether it was mounted; libfuse says on standard error why not.
    package static func run(
        _ tree: any MountedTree,
        at directory: String,
        options: String,
        takesSignals: Bool = true,
        isReady: @escaping () -> Void
    ) -> Bool {
        let context = Context(tree, isReady)
        var functions = unsafe varve_mount_functions()
        unsafe functions.context = Unmanaged.passUnretained(context).toOpaque()
        unsafe functions.is_ready = { context in unsafe Mount.context(context)?.isReady() }
        unsafe functions.look_up = { context, path, found in
            unsafe Mount.answer(context) { tree in
                guard let path = unsafe path, let found = unsafe found,
                    let status = try tree.status(of: unsafe String(fromSystem: path))
                else { return -ENOENT }
                let kind: mode_t =
                    switch status.kind {
                    case .directory: S_IFDIR | 0o555
                    case .file: S_IFREG | 0o444
                    case .link: S_IFLNK | 0o777
                    }
                unsafe found.pointee = varve_file_status(
                    mode: kind, inode: status.inode, byte_count: status.byteCount,
                    allocated_byte_count: status.allocatedByteCount, time: status.seconds)
                return 0
            }
        }
        unsafe functions.list = { context, path, names, add in
            unsafe Mount.answer(context) { tree in
                guard let path = unsafe path, let add = unsafe add else { return -EINVAL }
                for name in try tree.names(in: unsafe String(fromSystem: path)) {
                    if unsafe add(names, name.systemBytes) != 0 { break }
                }
                return 0
            }
        }
        unsafe functions.read_link = { context, path, target, capacity in
            unsafe Mount.answer(context) { tree in
                guard let path = unsafe path, let target = unsafe target,
                    let text = try tree.linkTarget(of: unsafe String(fromSystem: path))
                else { return -ENOENT }
                let bytes = text.systemBytes
                guard bytes.count <= capacity else { return -ENAMETOOLONG }
                unsafe strcpy(target, bytes)
                return 0
            }
        }
        unsafe functions.open = { context, path in
            Int64(
                unsafe Mount.answer(context) { tree in
                    guard let path = unsafe path,
                        let file = try tree.open(unsafe String(fromSystem: path))
                    else { return -ENOENT }
                    return Int32(clamping: file)
                })
        }
        unsafe functions.read = { context, file, target, count, offset in
            unsafe Mount.answer(context) { tree in
                Int32(
                    clamping: unsafe try tree.read(
                        file, into: UnsafeMutableRawBufferPointer(start: target, count: count),
                        at: offset))
            }
        }
        unsafe functions.seek = { context, file, offset, isForData in
            guard let tree = unsafe Mount.context(context)?.tree else { return Int64(-EIO) }
            do {
                let found = try tree.next(file, from: offset, withContent: isForData != 0)
                return found.map { Int64(clamping: $0) } ?? Int64(-ENXIO)
            } catch {
                tree.failed(error)
                return Int64(-EIO)
            }
        }
        unsafe functions.close = { context, file in unsafe Mount.context(context)?.tree.close(file)
        }
        let result = unsafe varve_mount_run(
            directory.systemBytes, options, takesSignals ? 1 : 0, &functions)
        withExtendedLifetime(context) {}
        return result == 0
    }

    private static func context(_ pointer: UnsafeMutableRawPointer?) -> Context? {
        guard let pointer = unsafe pointer else { return nil }
        return unsafe Unmanaged<Context>.fromOpaque(pointer).takeUnretainedValue()
    }

    private static func answer(
        _ pointer: UnsafeMutableRawPointer?,
        _ body: (any MountedTree) throws -> Int32
    ) -> Int32 {
        guard let tree = unsafe context(pointer)?.tree else { return -EIO }
        do {
            return try body(tree)
        } catch {
            tree.failed(error)
            return -EIO
        }
    }
}
