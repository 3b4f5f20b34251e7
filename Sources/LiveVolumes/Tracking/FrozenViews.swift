internal import DeviceMapper

/// How frozen views of a tracked device are made, and how it is known what was written while each was
/// there.
///
/// Views are numbered, and no number comes again; a new one begins, and the old one ends, in one window.
protocol FrozenViews {
    /// Whether the device is still one whose writes do not escape.
    var isInPlace: Bool { get throws }

    /// Whether a view can be made now that goes again when it was read, because another program has a
    /// layer of its own under the device.
    var isForOnce: Bool { get throws }
    /// Whether a device of that name, beside those of ``LayerNames``, is one that views are made with.
    func names(_ device: String) -> Bool

    /// Makes the device one whose writes are followed from the next window on.
    func prepareLayer() throws
    /// Undoes ``prepareLayer()``.
    func cancelLayer()
    /// Whether nobody else has what a view of that number would be called.
    func canBegin(_ number: UInt64) throws -> Bool
    /// Prepares a view of that number; the calls begin it, and end the one before, in a window.
    func prepare(_ number: UInt64, ending old: UInt64?) throws -> [PreparedCall]
    /// Undoes what was prepared to end a view that goes on.
    func cancelEnd(of number: UInt64)
    /// Makes a view readable that began.
    func open(_ number: UInt64) throws

    /// Whether the view of that number shows what the device held when it began.
    func isLive(_ number: UInt64) throws -> Bool
    /// Whether it can be told what was written while a view was there that has ended.
    func canTell(_ number: UInt64) throws -> Bool
    /// What was written from the beginning of that view to the beginning of the next.
    func written(_ number: UInt64) throws -> WrittenExtents
    /// The device that shows the view.
    func path(_ number: UInt64) -> String
    /// Takes a view away, and what it kept.
    func remove(_ number: UInt64)
    /// Takes all views away that are ours, and the layer unless a trial needs it.
    func takeAway() throws

    /// How full that is what the view keeps; nil when there is no such view.
    func fill(_ number: UInt64) throws -> StoreFill?
}

extension FrozenViews {
    var isForOnce: Bool { false }
    func names(_ device: String) -> Bool { false }
}

/// How full a copy-on-write store is.
package enum StoreFill: Hashable, Sendable {
    case active(usedByteCount: UInt64, byteCount: UInt64)
    /// It overflowed, or could not be written: nothing in it counts.
    case lost

    init(_ status: SnapshotStatus) {
        switch status {
        case .active(let used, let total, _):
            let sector = UInt64(TableLine.sectorByteCount)
            self = .active(usedByteCount: used * sector, byteCount: total * sector)
        case .invalid, .overflow, .mergeFailed, .other: self = .lost
        }
    }
}

/// Why nothing can be told of what was written.
struct NothingKnown: Error, CustomStringConvertible {
    let description: String
}
