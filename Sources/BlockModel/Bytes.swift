extension Array where Element == UInt8 {
    /// The array's bytes, borrowed.
    package var rawSpan: RawSpan {
        @_lifetime(borrow self)
        get {
            // Safe: a byte has no padding.
            unsafe span.bytes
        }
    }

    /// A copy of the bytes of `span`.
    package init(copying span: RawSpan) {
        // Safe: the pointer is used within the closure and with its own count.
        self = unsafe span.withUnsafeBytes { unsafe [UInt8]($0) }
    }
}

extension MutableRawSpan {
    /// Copies all of `source` to `offset`; traps when it does not fit.
    package mutating func copy(_ source: RawSpan, to offset: Int) {
        precondition(offset >= 0 && offset + source.byteCount <= byteCount)
        // Safe: the precondition keeps the copy within both spans.
        unsafe withUnsafeMutableBytes { target in
            unsafe source.withUnsafeBytes { source in
                guard let from = source.baseAddress, let to = target.baseAddress else { return }
                unsafe (to + offset).copyMemory(from: from, byteCount: source.count)
            }
        }
    }
}
