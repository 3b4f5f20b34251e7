/// Why a command failed; the kind decides the exit status.
package struct ServiceError: Error, CustomStringConvertible {
    package enum Kind: Hashable, Sendable {
        case usage, failed, noRepository, locked, damaged, partial
    }

    package let kind: Kind
    package let description: String

    package init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }
}
