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
        guard status == 0 else { throw SystemError(.ring, "a read", errno: -status) }
        inFlightCount += 1
    }

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
        guard status == 0 else { throw SystemError(.ring, "a write", errno: -status) }
        inFlightCount += 1
    }

    /// Waits for any one transfer: its tag, and the bytes transferred or a negative error number.
    package func wait() throws(SystemError) -> (tag: UInt64, result: Int) {
        var tag: UInt64 = 0
        var result: Int32 = 0
        let status = unsafe varve_ring_wait(pointer, &tag, &result)
        guard status == 0 else { throw SystemError(.ring, "completions", errno: -status) }
        inFlightCount -= 1
        return (tag, Int(result))
    }

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
