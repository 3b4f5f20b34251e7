/// Why work on a repository stopped: the kind decides the exit status, the text names thing, cause
/// and remedy.
package struct RepositoryError: Error, CustomStringConvertible {
    package enum Kind: Hashable, Sendable {
        case noRepository
        case alreadyExists
        case locked
        case damaged
        case notFound
        case ambiguous
        case unsupported
        case failed
    }

    package let kind: Kind
    package let description: String

    package init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }

    /// Damage of one object, with what its bytes are refused for.
    static func damaged(_ object: String, _ cause: any Error) -> RepositoryError {
        RepositoryError(
            .damaged,
            "\(object) is damaged: \(cause); run 'varve check --read-data' to see what it affects")
    }
}
