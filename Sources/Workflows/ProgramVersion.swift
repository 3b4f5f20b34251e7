internal import RepositoryFormat

/// The version that `varve version` prints and snapshots do not depend on.
package enum ProgramVersion {
    package static let text = "0.1.0"
    /// The version of the repositories that this program makes.
    package static let repositoryFormat = Format.version
}
