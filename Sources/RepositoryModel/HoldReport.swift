/// A hold that somebody has on a repository, for people.
package struct HoldReport: Hashable, Sendable {
    package let name: String
    package let purpose: String?
    package let host: String?
    package let processID: UInt32?
    /// Whether its owner is seen to live; nil where that cannot be seen.
    package let isLocked: Bool?
    /// Why it holds nothing; nil for one that does.
    package let reason: String?

    package init(
        name: String,
        purpose: String?,
        host: String?,
        processID: UInt32?,
        isLocked: Bool?,
        reason: String?
    ) {
        self.name = name
        self.purpose = purpose
        self.host = host
        self.processID = processID
        self.isLocked = isLocked
        self.reason = reason
    }
}
