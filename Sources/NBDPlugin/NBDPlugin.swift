internal import BlockModel
internal import CNBDKit
internal import Glibc
internal import LinuxIO
internal import Logging
internal import Serving
internal import SnapshotService
internal import Synchronization

/// What the C entry points of the nbdkit plugin call.
///
/// nbdkit calls `config` and `configComplete` before it forks, `start` once after that, `read` and
/// `extents` from many threads at once, and `stop` when no connection is left.
enum NBDPlugin {
    struct Parameters {
        var repository: String?
        var snapshot: String?
        var options = SnapshotReader.Options()
    }

    static let parameters = Mutex(Parameters())
    /// Set once, before there is any other thread.
    static let open = Mutex<OpenSnapshot?>(nil)

    static func take(_ key: String, _ value: String) throws {
        try parameters.withLock { parameters in
            switch key {
            case "repository": parameters.repository = value
            case "snapshot": parameters.snapshot = value
            case "cache":
                guard let count = Int(value), count >= 0 else {
                    throw ServiceError(.usage, "cache=\(value) must be a number of bytes")
                }
                parameters.options.cacheByteCount = count
            case "verify":
                guard value == "true" || value == "false" else {
                    throw ServiceError(.usage, "verify=\(value) must be true or false")
                }
                parameters.options.isVerifying = value == "true"
            default:
                throw ServiceError(
                    .usage,
                    "there is no parameter '\(key)'; 'nbdkit --help' of this plugin lists them")
            }
        }
    }

    static func start() throws {
        let parameters = parameters.withLock { $0 }
        guard let repository = parameters.repository, let snapshot = parameters.snapshot else {
            return
        }
        let names = ["VARVE_CACHE_DIR", "XDG_CACHE_HOME", "HOME"]
        let pairs = names.compactMap { name in
            SystemEnvironment.value(of: name).map { (name, $0) }
        }
        let service = try OpenRepository(
            location: repository, environment: Dictionary(uniqueKeysWithValues: pairs),
            logger: Logger(label: "varve") { _ in SwiftLogNoOpLogHandler() })
        let opened = try service.open(
            SnapshotSelector(snapshot), purpose: "export", options: parameters.options)
        unsafe varve_nbd_set_description("\(opened.title), by varve")
        open.withLock { $0 = opened }
        try Workers.startRepeating(everySeconds: 60) { [weak opened] in
            opened?.renew()
            return opened != nil
        }
    }

    /// Runs `body`, and says what went wrong: 0 when nothing did.
    static func status(_ body: () throws -> Void) -> Int32 {
        do {
            try body()
            return 0
        } catch {
            unsafe varve_nbd_error(PrintableText.escaped("\(error)"))
            return -1
        }
    }

    static var reader: SnapshotReader? { open.withLock { $0?.reader } }
}

@_cdecl("varve_nbd_config")
func nbdConfig(_ key: UnsafePointer<CChar>, _ value: UnsafePointer<CChar>) -> Int32 {
    NBDPlugin.status {
        try unsafe NBDPlugin.take(String(fromSystem: key), String(fromSystem: value))
    }
}

@_cdecl("varve_nbd_config_complete")
func nbdConfigComplete() -> Int32 {
    NBDPlugin.status {
        let isComplete = NBDPlugin.parameters.withLock {
            $0.repository != nil && $0.snapshot != nil
        }
        guard isComplete else {
            throw ServiceError(.usage, "repository=PATH and snapshot=NAME are needed")
        }
    }
}

@_cdecl("varve_nbd_start")
func nbdStart() -> Int32 { NBDPlugin.status(NBDPlugin.start) }

@_cdecl("varve_nbd_stop")
func nbdStop() { NBDPlugin.open.withLock { $0 = nil } }

@_cdecl("varve_nbd_byte_count")
func nbdByteCount() -> Int64 { NBDPlugin.reader.map { Int64(clamping: $0.byteCount) } ?? -1 }

@_cdecl("varve_nbd_block_byte_count")
func nbdBlockByteCount() -> UInt32 { UInt32(NBDPlugin.reader?.blockByteCount ?? 4096) }

@_cdecl("varve_nbd_read")
func nbdRead(_ target: UnsafeMutableRawPointer, _ count: UInt32, _ offset: UInt64) -> Int32 {
    let status = NBDPlugin.status {
        guard let reader = NBDPlugin.reader else { return }
        unsafe try reader.read(
            into: UnsafeMutableRawBufferPointer(start: target, count: Int(count)), at: offset)
    }
    if status != 0 { varve_nbd_set_input_output_error() }
    return status
}

@_cdecl("varve_nbd_extents")
func nbdExtents(_ count: UInt32, _ offset: UInt64, _ extents: UnsafeMutableRawPointer) -> Int32 {
    let status = NBDPlugin.status {
        guard let reader = NBDPlugin.reader else { return }
        var position = offset
        for extent in try reader.extents(from: offset, byteCount: UInt64(count)) {
            guard
                unsafe varve_nbd_add_extent(
                    extents, position, extent.byteCount, extent.isZero ? 1 : 0) == 0
            else { return }
            position += extent.byteCount
        }
    }
    if status != 0 { varve_nbd_set_input_output_error() }
    return status
}
