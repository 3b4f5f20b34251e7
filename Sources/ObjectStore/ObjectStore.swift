/// Named, immutable byte strings; knows nothing of snapshots or blocks.
///
/// A name is a relative path of components `A-Za-z0-9._-` that do not begin with a dot; what is an
/// object is no directory of others. Every object is created once, durably or not at all, and never
/// changed; a name that was deleted may be used again. Calls block and may come from any thread; a
/// writer belongs to one thread at a time.
package protocol ObjectStore: Sendable {
    /// Begins a new object; nothing is visible under `name` until the writer finishes.
    func begin(_ name: String) throws(ObjectStoreError) -> any ObjectWriter

    /// Reads from `offset` into `target`; gives fewer bytes only where the object ends.
    func read(
        _ name: String,
        at offset: UInt64,
        into target: inout MutableRawSpan
    ) throws(ObjectStoreError) -> Int

    /// Size of one object.
    func byteCount(of name: String) throws(ObjectStoreError) -> UInt64

    /// All objects whose name begins with `prefix`, in order of their names, and what stands in the place
    /// of some and is none. The prefix is empty, or a directory's name with its slash.
    func list(_ prefix: String) throws(ObjectStoreError) -> [ObjectEntry]

    /// Deletes one object; an object that is not there is no error.
    func delete(_ name: String, _ durability: DeletionDurability) throws(ObjectStoreError)

    /// Creates a small object and keeps it locked for as long as the result lives, so that others
    /// see at once when its owner died. Everybody sees it at once; it need not outlive a crash of
    /// the machine, which its owner does not outlive either. Refuses when the name exists.
    func createLocked(_ name: String, _ bytes: [UInt8]) throws(ObjectStoreError) -> any ObjectLock

    /// Whether the owner of a locked object lives; nil when this store cannot tell. Nobody who may only
    /// read the object can make this true.
    func isLocked(_ name: String) -> Bool?
    /// Lets the next reading of an object ask the medium, and no cache on the way, as far as that goes.
    func dropCached(_ name: String)

    /// Sets space aside that ``releaseReserve()`` gives back; does nothing where there is too little, or
    /// where no store of this kind runs full.
    func fillReserve()

    /// Gives back the space that was set aside if less than that is free; whether it did.
    func releaseReserve() -> Bool

    /// How people know the store: a path or an address.
    var location: String { get }
}

/// What a machine that stops may do to a deletion.
package enum DeletionDurability: Hashable, CaseIterable, Sendable {
    /// The object is gone for good when the call returns, and so is all that was deleted from its
    /// directory before.
    case durable
    /// A crash may bring the object back, until a writer has finished in its directory, or something
    /// was deleted from it durably.
    case eventual
}

/// One entry of a listing.
package struct ObjectEntry: Hashable, Sendable {
    package let name: String
    package let byteCount: UInt64
    /// When it was stored, in seconds since 1970 by the store's clock; nil where nobody knows.
    package let storedSeconds: Int64?
    /// False for what stands in an object's place and is none, such as a symbolic link, to whatever it
    /// leads: it is listed, and neither read nor deleted.
    package let isObject: Bool

    package init(
        name: String,
        byteCount: UInt64,
        storedSeconds: Int64? = nil,
        isObject: Bool = true
    ) {
        self.name = name
        self.byteCount = byteCount
        self.storedSeconds = storedSeconds
        self.isObject = isObject
    }
}

/// An object that is being written; one that is let go of unfinished was never there.
package protocol ObjectWriter: AnyObject, Sendable {
    func append(_ bytes: RawSpan) throws(ObjectStoreError)
    /// Makes the object durable and visible; refuses when the name exists.
    func finish() throws(ObjectStoreError)
}

/// Keeps an object locked until it is let go of.
package protocol ObjectLock: AnyObject, Sendable {}

extension ObjectStore {
    package func dropCached(_ name: String) {}
    package func fillReserve() {}

    package func releaseReserve() -> Bool { false }

    /// Deletes one object, durably; an object that is not there is no error.
    package func delete(_ name: String) throws(ObjectStoreError) {
        try delete(name, .durable)
    }

    /// Stores `bytes` under `name`, durably or not at all; fails if `name` exists.
    package func create(_ name: String, _ bytes: [UInt8]) throws(ObjectStoreError) {
        let writer = try begin(name)
        try unsafe writer.append(bytes.span.bytes)
        try writer.finish()
    }

    /// The whole of a small object; refuses one that is larger than `limit`.
    package func read(_ name: String, limit: Int) throws(ObjectStoreError) -> [UInt8] {
        let byteCount = try byteCount(of: name)
        guard byteCount <= UInt64(limit) else {
            throw ObjectStoreError(.tooLarge, during: .read, of: name)
        }
        return try read(name, at: 0, byteCount: Int(byteCount))
    }

    /// `byteCount` bytes from `offset`, or fewer where the object ends.
    package func read(
        _ name: String,
        at offset: UInt64,
        byteCount: Int
    ) throws(ObjectStoreError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: byteCount)
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        let count = try read(name, at: offset, into: &raw)
        bytes.removeLast(byteCount - count)
        return bytes
    }
}

/// A store call that failed; the message is made at the edge.
package struct ObjectStoreError: Error, Hashable, CustomStringConvertible {
    package enum Reason: Hashable, Sendable {
        case notFound, alreadyExists, denied, timedOut, noSpace, tooLarge, badName
        /// A link or something else that is no object has its name: why it is left alone.
        case notAnObject(String)
        case failed(String)
    }
    package enum Operation: String, Hashable, Sendable {
        case create, read, list, delete, lock
    }

    package let reason: Reason
    package let operation: Operation
    package let name: String

    package init(_ reason: Reason, during operation: Operation, of name: String) {
        self.reason = reason
        self.operation = operation
        self.name = name
    }

    /// Whether the same call may succeed later; the retry decorator asks only this.
    package var isTransient: Bool { reason == .timedOut }

    /// Whether an object that something names cannot be had, now or later: it is gone, it is not
    /// what it should be, or its medium fails.
    package var isDamage: Bool {
        switch reason {
        case .notFound, .tooLarge: true
        case .failed, .notAnObject: operation == .read
        default: false
        }
    }

    package var description: String {
        let words =
            switch reason {
            case .notFound: "it does not exist"
            case .alreadyExists: "it already exists"
            case .denied: "permission denied"
            case .timedOut: "timed out"
            case .noSpace: "no space left in the repository; free some and run the command again"
            case .tooLarge: "it is too large for such an object"
            case .badName: "the name is not allowed"
            case .failed(let text), .notAnObject(let text): text
            }
        return "cannot \(operation.rawValue) \(name): \(words)"
    }
}

/// The rule for names, the same for every store.
package enum ObjectNameRule {
    package static func allows(_ name: String) -> Bool {
        guard (1...255).contains(name.utf8.count) else { return false }
        var atStart = true
        for byte in name.utf8 {
            switch byte {
            case UInt8(ascii: "/"):
                if atStart { return false }
                atStart = true
                continue
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
                break
            case UInt8(ascii: "."):
                if atStart { return false }
            default: return false
            }
            atStart = false
        }
        return !atStart
    }
}
