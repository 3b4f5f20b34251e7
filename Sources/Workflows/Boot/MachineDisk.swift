internal import BlockModel
internal import LinuxIO
internal import Repository
internal import RepositoryFormat
package import RepositoryModel
internal import Serving

/// The disk of a snapshot, served to a machine as long as this value lives.
package final class MachineDisk {
    package let uri: String
    private let server: NBDServer
    private let directory: PrivateDirectory

    /// Serves it; writes are kept in the file `overlay`, if there is one.
    ///
    /// - Parameters:
    ///   - snapshot: whose disk it is.
    ///   - location: of the repository.
    ///   - overlay: a file of format qcow2.
    /// - Throws: ``ServingError`` when the server does not start.
    package init(
        _ snapshot: Snapshot,
        at location: String,
        overlay: String? = nil
    ) throws {
        directory = try PrivateDirectory()
        let endpoint = NBDServer.Endpoint.socket("\(directory.path)/nbd.sock")
        var request = NBDServer.Request(
            repository: location, snapshotID: snapshot.id.hexadecimal,
            byteCount: snapshot.facts.byteCount, endpoint: endpoint)
        if let overlay { request.writes = .kept(overlay) }
        server = try NBDServer(request)
        uri = endpoint.uri
    }

    /// Whether the server ended by itself, so the machine saw a failing disk.
    package var hasFailed: Bool { server.poll() != nil }

    package func end() { server.end() }
}
