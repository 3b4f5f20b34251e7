package import LinuxIO

/// How a part of a source is read.
package enum ReadWay: Hashable, CaseIterable, Sendable {
    /// From the page cache, if it is there.
    case cached
    /// Past the page cache, by the kernel while the caller goes on.
    case queued
    /// Past the page cache.
    case direct
    /// Through the page cache.
    case buffered
}

/// What reading gives instead of what is there.
package enum ReadFault: Hashable, Sendable {
    case failure(errno: Int32)
    /// No more than so many bytes, as at the end of the source.
    case short(byteCount: Int)
}

/// For tests: decides which reads of a source go wrong.
package protocol ReadFaults: Sendable {
    /// What becomes of reading `bytes` of the source; nil to let it be. Asked by several threads.
    func fault(_ way: ReadWay, reading bytes: Range<UInt64>) -> ReadFault?
}

/// Every read of a source; the only places that use its descriptors for that.
extension VolumeSource {
    /// Reads what the page cache holds; nil when the first byte is not there.
    package func readCached(
        into buffer: AlignedBuffer,
        range: Range<Int>,
        at offset: UInt64
    ) -> Int? {
        var end = range.upperBound
        switch faults?.fault(.cached, reading: offset..<offset + UInt64(range.count)) {
        case nil: break
        case .failure: return nil
        case .short(let byteCount): end = min(end, range.lowerBound + byteCount)
        }
        guard end > range.lowerBound else { return nil }
        return PositionedIO.readCached(
            buffered, into: buffer, range: range.lowerBound..<end, at: offset)
    }

    /// Whether some of it may be read past the page cache.
    package var hasDirect: Bool { direct != nil }

    /// Begins to read past the page cache.
    ///
    /// - Precondition: there is a way past it.
    package func begin(
        on ring: Ring,
        into buffer: AlignedBuffer,
        range: Range<Int>,
        at offset: UInt64,
        tag: UInt64
    ) throws(SystemError) {
        guard let direct else { preconditionFailure("nothing leads past the page cache") }
        var end = range.upperBound
        switch faults?.fault(.queued, reading: offset..<offset + UInt64(range.count)) {
        case nil: break
        case .failure(let errno): ring.fail(tag, errno: errno)
        case .short(let byteCount): end = min(end, range.lowerBound + byteCount)
        }
        try ring.read(
            direct, into: buffer, range: range.lowerBound..<end, at: offset, tag: tag)
    }

    /// Reads past the page cache; gives fewer bytes only where the source ends.
    ///
    /// - Precondition: there is a way past it.
    package func readDirect(
        into buffer: AlignedBuffer,
        range: Range<Int>,
        at offset: UInt64
    ) throws(SystemError) -> Int {
        guard let direct else { preconditionFailure("nothing leads past the page cache") }
        return try read(.direct, direct, into: buffer, range: range, at: offset)
    }

    /// Reads through the page cache; gives fewer bytes only where the source ends.
    package func read(
        into buffer: AlignedBuffer,
        range: Range<Int>,
        at offset: UInt64
    ) throws(SystemError) -> Int {
        try read(.buffered, buffered, into: buffer, range: range, at: offset)
    }

    /// Reads the next bytes of a stream until `range` is full or the stream ends.
    package func readStream(
        into buffer: AlignedBuffer,
        range: Range<Int>
    ) throws(SystemError) -> Int {
        try PositionedIO.readStream(
            buffered, into: buffer, range: range, subject: "standard input")
    }

    private func read(
        _ way: ReadWay,
        _ descriptor: Int32,
        into buffer: AlignedBuffer,
        range: Range<Int>,
        at offset: UInt64
    ) throws(SystemError) -> Int {
        guard let faults else {
            return try PositionedIO.read(
                descriptor, into: buffer, range: range, at: offset, subject: path)
        }
        var done = 0
        while done < range.count {
            var wanted = range.count - done
            let start = offset + UInt64(done)
            switch faults.fault(way, reading: start..<start + UInt64(wanted)) {
            case nil: break
            case .failure(let errno):
                throw SystemError(.read, path, errno: errno, byteOffset: start)
            case .short(let byteCount): wanted = min(wanted, byteCount)
            }
            let from = range.lowerBound + done
            let count = try PositionedIO.read(
                descriptor, into: buffer, range: from..<from + wanted, at: start, subject: path)
            done += count
            if count < wanted || wanted == 0 { break }
        }
        return done
    }
}
