/// The version that `varve version` prints and snapshots do not depend on.
package enum ProgramVersion {
    package static let text = "0.1.0"
}
