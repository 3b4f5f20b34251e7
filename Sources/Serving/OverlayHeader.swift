/// The header of a file of format qcow2, as far as it shows whether Varve made the file.
///
/// QEMU follows what a header says: another file that has the data, which it writes to, or one that lies
/// below, of any protocol. So a header is believed only when it says what `varve export` writes there,
/// and nothing of another file. All integers are big-endian.
///
/// | offset | bytes | field                                                  |
/// |-------:|------:|--------------------------------------------------------|
/// |      0 |     4 | magic `QFI\xfb`                                        |
/// |      4 |     4 | version, 3                                             |
/// |      8 |    12 | name of what lies below: offset (8), bytes (4)         |
/// |     20 |     4 | bits of a cluster's size                               |
/// |     24 |     8 | size of the disk                                       |
/// |     32 |     4 | encryption, 0                                          |
/// |     36 |     4 | entries of the first table                             |
/// |     60 |     4 | internal snapshots                                     |
/// |     72 |     8 | features that a reader must know                       |
/// |     88 |     8 | features that a writer must know or take away          |
/// |    100 |     4 | bytes of the header; extensions follow, of (4, 4) each |
///
/// Source: `docs/interop/qcow2.txt` of QEMU.
package struct OverlayHeader: Hashable {
    /// So much of the file is looked at: headers of larger clusters may have more, but Varve's have not.
    package static let byteCount = 4096

    private static let magic: [UInt8] = [0x51, 0x46, 0x49, 0xFB]
    private static let fixedByteCount = 104
    private static let nameByteLimit: UInt64 = 1023
    /// Not closed in an orderly way; all others mean other files, encryption, or what Varve never makes.
    private static let knownFeatures: UInt64 = 1
    private static let format = Array("raw".utf8)

    private enum Extension {
        static let end: UInt64 = 0
        static let backingFormat: UInt64 = 0xE279_2ACA
        static let featureNames: UInt64 = 0x6803_F857
    }

    /// What it lies over.
    package let backing: [UInt8]
    package let diskByteCount: UInt64

    /// Reads the beginning of a file, which may be anything.
    ///
    /// - Throws: ``ServingError`` with the reason, as in "FILE is refused: it …".
    package init(decoding bytes: [UInt8]) throws(ServingError) {
        func number(_ offset: Int, _ count: Int) -> UInt64 {
            bytes[offset..<offset + count].reduce(0) { $0 << 8 | UInt64($1) }
        }
        func require(_ isSo: Bool, _ reason: String) throws(ServingError) {
            guard isSo else { throw ServingError(description: reason) }
        }
        try require(
            bytes.count >= Self.fixedByteCount && bytes.starts(with: Self.magic),
            "it is not a qcow2 file")
        try require(number(4, 4) == 3, "it has another version of qcow2")
        try require(number(32, 4) == 0, "it is encrypted")
        try require(
            number(72, 8) & ~Self.knownFeatures == 0 && number(88, 8) == 0,
            "its data is in another file, or it has features that an overlay does not have")
        try require(
            (9...21).contains(number(20, 4)) && number(36, 4) <= 1 << 22 && number(60, 4) == 0,
            "its header is invalid")
        let headerByteCount = number(100, 4)
        try require(
            headerByteCount >= Self.fixedByteCount && headerByteCount % 8 == 0
                && headerByteCount <= bytes.count, "its header is invalid")
        var position = Int(headerByteCount)
        while true {
            try require(position + 8 <= bytes.count, "its header is invalid")
            let (kind, count) = (number(position, 4), number(position + 4, 4))
            position += 8
            if kind == Extension.end { break }
            try require(count <= bytes.count - position, "its header is invalid")
            let value = bytes[position..<position + Int(count)]
            switch kind {
            case Extension.backingFormat:
                try require(
                    value.elementsEqual(Self.format), "its base is not a raw image")
            case Extension.featureNames: break
            default:
                try require(false, "its header has an extension that an overlay does not have")
            }
            position += (Int(count) + 7) / 8 * 8
        }
        let (offset, count) = (number(8, 8), number(16, 4))
        try require(
            offset >= UInt64(position) && offset <= bytes.count && count <= Self.nameByteLimit
                && count <= UInt64(bytes.count) - offset,
            "it has no base, or its base name is out of bounds")
        backing = Array(bytes[Int(offset)..<Int(offset + count)])
        diskByteCount = number(24, 8)
    }
}
