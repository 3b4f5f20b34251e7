internal import Synchronization
package import VolumeAccess

/// A disk that cannot be read everywhere, as a capture meets it.
package final class BadMedium: ReadFaults {
    package enum Fault: Hashable, Sendable {
        /// Reading this byte fails, whichever way; what is before it can be read.
        case bad(offset: UInt64, errno: Int32)
        /// Nothing is read from there on: the disk became shorter.
        case ends(offset: UInt64)
        /// Every read in these ways fails.
        case refuses(Set<ReadWay>, errno: Int32)
        /// No read in these ways gives more than so many bytes.
        case short(Set<ReadWay>, byteCount: Int)
    }

    private let fault: Fault
    private let asked = Mutex<Set<ReadWay>>([])
    private let onRead: (@Sendable () -> Void)?

    /// - Parameters:
    ///   - fault: what goes wrong.
    ///   - onRead: called before every read.
    package init(_ fault: Fault, onRead: (@Sendable () -> Void)? = nil) {
        self.fault = fault
        self.onRead = onRead
    }

    /// Ways in which something was read, or would have been.
    package var ways: Set<ReadWay> { asked.withLock { $0 } }

    package func fault(_ way: ReadWay, reading bytes: Range<UInt64>) -> ReadFault? {
        onRead?()
        asked.withLock { _ = $0.insert(way) }
        switch fault {
        case .bad(let offset, let errno):
            // What has to be asked for is not in the cache; only reading through it says where it ends.
            if way == .cached { return .failure(errno: errno) }
            guard bytes.contains(offset) else { return nil }
            return way == .buffered && bytes.lowerBound < offset
                ? .short(byteCount: Int(offset - bytes.lowerBound)) : .failure(errno: errno)
        case .ends(let offset):
            if way == .cached { return .short(byteCount: 0) }
            return offset >= bytes.upperBound
                ? nil : .short(byteCount: Int(max(offset, bytes.lowerBound) - bytes.lowerBound))
        case .refuses(let ways, let errno):
            return ways.contains(way) ? .failure(errno: errno) : nil
        case .short(let ways, let byteCount):
            return ways.contains(way) ? .short(byteCount: byteCount) : nil
        }
    }
}
