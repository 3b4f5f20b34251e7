internal import CShims
internal import Glibc

/// An io_uring: many reads or writes of one thread in flight at once.
///
/// Buffers must stay alive and untouched until their completion was waited for; the owner of the
/// ring keeps them and drains the ring before it lets go. Source: `io_uring(7)`.
@safe
package final class Ring {
    private let pointer: OpaquePointer
    private var registered: AlignedBuffer?
    private var registeredBufferByteCount = 0
    package private(set) var inFlightCount = 0
    /// What the kernel has, by tag.
    private var transfers: [UInt64: Transfer] = [:]
    /// What tests let fail, by tag.
    private var failing: [UInt64: Int32] = [:]
    /// What was done without it, and is not waited for yet.
    private var done: [(tag: UInt64, result: Int)] = []

    /// Nil when the kernel or its policy does not allow io_uring.
    package init?(entryCount: Int) {
        var pointer: OpaquePointer?
        let status = unsafe varve_ring_create(UInt32(entryCount), &pointer)
        guard status == 0, let created = unsafe pointer else { return nil }
        unsafe self.pointer = created
    }

    deinit {
        drain()
        unsafe varve_ring_destroy(pointer)
    }

    /// Registers `buffer`, cut into `count` equal parts: reads into them are cheaper from then on.
    ///
    /// Does nothing where the limit of locked memory forbids it.
    package func register(_ buffer: AlignedBuffer, partByteCount: Int, count: Int) {
        precondition(partByteCount * count <= buffer.byteCount)
        let status = unsafe varve_ring_register(
            pointer, buffer.base, partByteCount, UInt32(count))
        guard status == 0 else { return }
        registered = buffer
        registeredBufferByteCount = partByteCount
    }

    /// Begins to read into a part of a buffer; `tag` is that of nothing else in flight.
    package func read(
        _ descriptor: Int32,
        into buffer: AlignedBuffer,
        range: Range<Int>,
        at offset: UInt64,
        tag: UInt64
    ) throws(SystemError) {
        precondition(range.lowerBound >= 0 && range.upperBound <= buffer.byteCount)
        let status = unsafe varve_ring_read(
            pointer, descriptor, buffer.base + range.lowerBound, UInt32(range.count), offset,
            index(of: buffer, range), tag)
        try begun(Transfer(descriptor, buffer, range, offset, isWrite: false), tag, status)
    }

    /// Begins to write a part of a buffer; `tag` is that of nothing else in flight.
    package func write(
        _ descriptor: Int32,
        from buffer: AlignedBuffer,
        range: Range<Int>,
        at offset: UInt64,
        tag: UInt64
    ) throws(SystemError) {
        precondition(range.lowerBound >= 0 && range.upperBound <= buffer.byteCount)
        let status = unsafe varve_ring_write(
            pointer, descriptor, buffer.base + range.lowerBound, UInt32(range.count), offset,
            index(of: buffer, range), tag)
        try begun(Transfer(descriptor, buffer, range, offset, isWrite: true), tag, status)
    }

    /// Takes note of a transfer; one that the kernel has no room for, after some attempts, is done at once.
    private func begun(
        _ transfer: Transfer,
        _ tag: UInt64,
        _ status: Int32
    ) throws(SystemError) {
        inFlightCount += 1
        guard status != 0 else {
            transfers[tag] = transfer
            return
        }
        guard Self.isPassing(-Int(status)) else {
            inFlightCount -= 1
            throw SystemError(
                .ring, transfer.isWrite ? "a write" : "a read", errno: -status)
        }
        done.append((tag, transfer.run()))
    }

    /// Waits for any one transfer: its tag, and the bytes transferred or a negative error number.
    package func wait() throws(SystemError) -> (tag: UInt64, result: Int) {
        if let first = done.popLast() {
            inFlightCount -= 1
            return first
        }
        var tag: UInt64 = 0
        var result: Int32 = 0
        let status = unsafe varve_ring_wait(pointer, &tag, &result)
        guard status == 0 else { throw SystemError(.ring, "completions", errno: -status) }
        inFlightCount -= 1
        let transfer = transfers.removeValue(forKey: tag)
        if let errno = failing.removeValue(forKey: tag) { result = -errno }
        if let transfer, Self.isPassing(-Int(result)) { return (tag, transfer.run()) }
        return (tag, Int(result))
    }

    /// Whether the kernel could not do it now, which says nothing of the medium.
    private static func isPassing(_ code: Int) -> Bool {
        [Int(EAGAIN), Int(EBUSY), Int(EINTR), Int(ENOMEM)].contains(code)
    }

    /// For tests: lets the next submissions, waits and transfers fail with an error number.
    package func failNext(submissions: Int = 0, waits: Int = 0, transfers: Int = 0, errno: Int32) {
        unsafe varve_ring_inject(
            pointer, Int32(submissions), Int32(waits), Int32(transfers), -errno)
    }

    /// For tests: lets the next transfer of that tag fail with an error number.
    package func fail(_ tag: UInt64, errno: Int32) { failing[tag] = errno }

    /// Waits for all that is in flight, whatever becomes of it: buffers may be let go of then.
    package func drain() {
        while inFlightCount > 0, (try? wait()) != nil {}
    }

    private func index(of buffer: AlignedBuffer, _ range: Range<Int>) -> Int32 {
        guard registered === buffer, registeredBufferByteCount > 0 else { return -1 }
        let index = range.lowerBound / registeredBufferByteCount
        let end = (index + 1) * registeredBufferByteCount
        return range.upperBound <= end ? Int32(index) : -1
    }
}

/// One read or write, to be done in the ordinary way where the ring cannot.
private struct Transfer {
    let descriptor: Int32
    let buffer: AlignedBuffer
    let range: Range<Int>
    let offset: UInt64
    let isWrite: Bool

    init(
        _ descriptor: Int32,
        _ buffer: AlignedBuffer,
        _ range: Range<Int>,
        _ offset: UInt64,
        isWrite: Bool
    ) {
        self.descriptor = descriptor
        self.buffer = buffer
        self.range = range
        self.offset = offset
        self.isWrite = isWrite
    }

    /// Does it now; gives the bytes transferred, or a negative error number.
    func run() -> Int {
        do throws(SystemError) {
            guard isWrite else {
                return try PositionedIO.read(
                    descriptor, into: buffer, range: range, at: offset, subject: "")
            }
            try PositionedIO.write(
                descriptor, buffer.bytes.extracting(range), at: offset, subject: "")
            return range.count
        } catch {
            return -Int(error.errno)
        }
    }
}
