/// Why a disk, partition or image file cannot be read or written.
package struct VolumeError: Error, CustomStringConvertible {
    package enum Kind: Hashable, Sendable {
        /// Mounted, held by another device, or open elsewhere.
        case busy
        case missing
        case unsuitable
        /// The source changed while it was read.
        case changed
        case failed
    }

    package let kind: Kind
    package let description: String

    package init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }
}
