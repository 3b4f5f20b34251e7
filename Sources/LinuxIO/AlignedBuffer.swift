internal import Glibc

/// Memory for direct I/O: page-aligned, mapped once, never moved; lends spans of itself.
@safe
package final class AlignedBuffer: @unchecked Sendable {
    // Safe to hand between threads; who writes at a time is the owner's business, as with any
    // buffer, and every access is bounds-checked by the span.
    let base: UnsafeMutableRawPointer
    package let byteCount: Int

    package static let alignment = 4096

    /// Maps `byteCount` zero bytes, rounded up to whole pages.
    ///
    /// Of one that `isSparse` only some places will be touched: each takes a small page then.
    package init(byteCount: Int, isSparse: Bool = false) throws(SystemError) {
        let rounded = (max(byteCount, 1) + Self.alignment - 1) / Self.alignment * Self.alignment
        let pointer = unsafe mmap(
            nil, rounded, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        guard let pointer = unsafe pointer, unsafe pointer != MAP_FAILED else {
            throw SystemError(.map, "\(rounded) bytes of memory")
        }
        if rounded >= 2 << 20, !isSparse { _ = unsafe madvise(pointer, rounded, MADV_HUGEPAGE) }
        unsafe base = pointer
        self.byteCount = rounded
    }

    deinit { _ = unsafe munmap(base, byteCount) }

    package var bytes: RawSpan {
        @_lifetime(borrow self)
        get {
            let buffer = unsafe UnsafeRawBufferPointer(start: base, count: byteCount)
            return unsafe _overrideLifetime(RawSpan(_unsafeBytes: buffer), borrowing: self)
        }
    }

    /// Lends the whole buffer for writing.
    package func withMutableBytes<Result, Failure: Error>(
        _ body: (inout MutableRawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        var span = unsafe MutableRawSpan(
            _unsafeBytes: UnsafeMutableRawBufferPointer(start: base, count: byteCount))
        return try body(&span)
    }

    /// Copies `source` to `offset`.
    ///
    /// - Precondition: it fits there.
    package func copy(_ source: RawSpan, to offset: Int) {
        precondition(offset >= 0 && offset + source.byteCount <= byteCount)
        unsafe source.withUnsafeBytes {
            if let from = $0.baseAddress { unsafe memcpy(base + offset, from, $0.count) }
        }
    }

    /// Writes zeros over `range`.
    package func zero(_ range: Range<Int>) {
        precondition(range.lowerBound >= 0 && range.upperBound <= byteCount)
        unsafe memset(base + range.lowerBound, 0, range.count)
    }
}

extension RawSpan {
    /// Whether every byte is zero; leaves at the first 4 KiB that is not.
    package var isAllZero: Bool {
        unsafe withUnsafeBytes { buffer in
            guard let base = buffer.baseAddress, buffer.count > 0 else { return true }
            // The first byte is zero, and each byte equals its neighbour: libc compares with the
            // widest vectors that the processor has.
            guard unsafe base.load(as: UInt8.self) == 0 else { return false }
            return unsafe memcmp(base, base + 1, buffer.count - 1) == 0
        }
    }

    /// Whether both spans hold the same bytes.
    package func isEqual(to other: RawSpan) -> Bool {
        guard byteCount == other.byteCount else { return false }
        return unsafe withUnsafeBytes { left in
            unsafe other.withUnsafeBytes { right in
                guard let a = left.baseAddress, let b = right.baseAddress else { return true }
                return unsafe memcmp(a, b, left.count) == 0
            }
        }
    }
}
