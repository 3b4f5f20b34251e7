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
        /// The index, which can be rebuilt.
        case index
        /// The place of the index, which cannot be used; nothing is wrong with the repository.
        case cache
        case failed
    }

    package let kind: Kind
    package let description: String
    /// What is wrong, without the remedy: for a list that names the remedy once.
    package let cause: String

    package init(_ kind: Kind, _ description: String, cause: String? = nil) {
        self.kind = kind
        self.description = description
        self.cause = cause ?? description
    }

    /// What is wrong, without the remedy where that is known apart.
    package static func cause(of error: any Error) -> String {
        (error as? RepositoryError)?.cause ?? "\(error)"
    }

    /// Damage of one object, with what its bytes are refused for.
    package static func damaged(_ object: String, _ cause: any Error) -> RepositoryError {
        let cause = "\(object) is damaged: \(Self.cause(of: cause))"
        return RepositoryError(
            .damaged, "\(cause); run 'varve check --read-data' to see what is affected",
            cause: cause)
    }
}
