internal import BlockModel
internal import RepositoryFormat
internal import RepositoryModel

/// A delta whose map, applied to the snapshot that it begins at, does not give the image digest of the
/// snapshot that it leads to: it is forged, or was written wrongly.
package struct FalseDelta: Error, CustomStringConvertible {
    package let delta: KnownDelta

    package init(_ delta: KnownDelta) { self.delta = delta }

    package var description: String { reason }

    package var reason: String { "\(delta.name.objectName) is damaged: \(Self.cause(delta))" }

    package static func cause(_ delta: KnownDelta) -> String {
        "its map does not match the image digest of snapshot \(delta.head.to.short)"
    }
}
