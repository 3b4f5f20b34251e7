package import BlockModel
internal import FoundationEssentials
internal import LinuxIO
internal import SnapshotService

/// A list of changed extents from another program.
///
/// Three forms are told apart by their first non-blank character:
/// - JSON, as `rbd diff --format json` prints it: an array of objects with `offset` and `length`;
/// - lines `OFFSET LENGTH`: extents that may have changed, in any order;
/// - lines `START LENGTH STATE` with a state `data`, `zero` or `same`: a map of the whole volume, as
///   Borg takes it; everything except `same` may have changed.
///
/// Numbers are bytes, in decimal or with `0x` in front; `#` begins a comment. A truncated list
/// is refused: the array must end, and so must the last line.
package struct ChangedExtentsFile {
    private static let objectByteLimit = 64 << 10

    private let path: String
    private let volumeByteCount: UInt64
    private let blockSize: BlockSize
    private var extents = BlockExtentsBuilder()
    /// Where the next line of a map must start; nil until the first line shows the form.
    private var mapEnd: UInt64?
    private var isList = false
    private var lineNumber = 0
    private var form = Form.unknown
    private var expectation = Expectation.objectOrEnd

    private enum Form { case unknown, json, lines }

    /// Reads the list at `path`, or from standard input for `-`.
    ///
    /// - Throws: ``ServiceError`` of kind `usage` for an invalid list, or one of another volume.
    package static func read(
        _ path: String,
        volumeByteCount: UInt64,
        blockSize: BlockSize
    ) throws -> BlockExtents {
        var file = ChangedExtentsFile(
            path: path == "-" ? "standard input" : path, volumeByteCount: volumeByteCount,
            blockSize: blockSize)
        guard path != "-" else { return try file.read(from: 0) }
        let handle = try FileHandle(path, .read)
        return try file.read(from: handle.descriptor)
    }

    private init(path: String, volumeByteCount: UInt64, blockSize: BlockSize) {
        self.path = path
        self.volumeByteCount = volumeByteCount
        self.blockSize = blockSize
    }

    private mutating func read(from descriptor: Int32) throws -> BlockExtents {
        let buffer = try AlignedBuffer(byteCount: 1 << 20)
        var rest: [UInt8] = []
        var isEnd = false
        while !isEnd {
            let count = try PositionedIO.readStream(
                descriptor, into: buffer, range: 0..<buffer.byteCount, subject: path)
            isEnd = count < buffer.byteCount
            rest += [UInt8](copying: buffer.bytes.extracting(0..<count))
            if form == .unknown {
                rest = Array(rest.drop(while: Self.isBlank))
                guard let first = rest.first else { continue }
                form = first == UInt8(ascii: "[") ? .json : .lines
                if form == .json { rest.removeFirst() }
            }
            rest = form == .json ? try takeObjects(rest[...]) : try takeLines(rest[...])
            guard rest.count < buffer.byteCount else {
                throw refusal("it has a line without an end")
            }
        }
        switch form {
        case .unknown: throw refusal("it is empty; '[]' says that nothing changed")
        case .json:
            guard expectation == .nothing, rest.isEmpty else { throw Self.cutShort(self) }
        case .lines:
            guard rest.isEmpty else { throw Self.cutShort(self) }
            if let mapEnd, mapEnd != volumeByteCount {
                throw refusal("it ends at \(mapEnd), but the volume ends at \(volumeByteCount)")
            }
        }
        return extents.finished()
    }

    private static func cutShort(_ file: ChangedExtentsFile) -> ServiceError {
        file.refusal("it is incomplete, as if truncated")
    }

    // MARK: Lines

    /// Takes the complete lines; returns the rest.
    private mutating func takeLines(_ bytes: ArraySlice<UInt8>) throws -> [UInt8] {
        var rest = bytes
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            try take(line: rest[..<end])
            rest = rest[(end + 1)...]
        }
        return Array(rest)
    }

    private mutating func take(line: ArraySlice<UInt8>) throws {
        lineNumber += 1
        let text = line.prefix { $0 != UInt8(ascii: "#") }
        let fields = text.split(whereSeparator: Self.isBlank)
        guard !fields.isEmpty else { return }
        guard fields.count == 2 || fields.count == 3, let offset = Self.number(fields[0]),
            let length = Self.number(fields[1])
        else { throw refusal("line \(lineNumber) must be OFFSET LENGTH or START LENGTH STATE") }
        guard fields.count == 3 else {
            guard mapEnd == nil else { throw refusal("line \(lineNumber) has no state") }
            isList = true
            return try add(offset, length)
        }
        guard !isList, offset == mapEnd ?? 0 else {
            throw refusal("line \(lineNumber) does not start where the line before ends")
        }
        switch String(decoding: fields[2], as: UTF8.self) {
        case "data", "zero": try add(offset, length)
        case "same": try requireInside(offset, length)
        default: throw refusal("line \(lineNumber) has an unknown state")
        }
        mapEnd = offset + length
    }

    private static func number(_ digits: ArraySlice<UInt8>) -> UInt64? {
        let text = String(decoding: digits, as: UTF8.self)
        let isHexadecimal = text.hasPrefix("0x")
        let number = isHexadecimal ? text.dropFirst(2) : text[...]
        // The initializer would take a sign.
        guard number.first != "+" else { return nil }
        return UInt64(number, radix: isHexadecimal ? 16 : 10)
    }

    // MARK: JSON

    private struct Extent: Decodable {
        let offset: UInt64
        let length: UInt64
    }

    /// What may come next in the array.
    private enum Expectation {
        case objectOrEnd, commaOrEnd, object, nothing
    }

    /// Takes the complete objects, several at once; returns the rest.
    private mutating func takeObjects(_ bytes: ArraySlice<UInt8>) throws -> [UInt8] {
        var rest = bytes.drop(while: Self.isBlank)
        while let next = rest.first {
            switch (next, expectation) {
            case (UInt8(ascii: "{"), .object), (UInt8(ascii: "{"), .objectOrEnd):
                // The objects have nothing inside that holds a brace.
                let window = rest.prefix(Self.objectByteLimit)
                guard let last = window.lastIndex(of: UInt8(ascii: "}")) else {
                    guard window.count < Self.objectByteLimit else { throw notJSON() }
                    return Array(rest)
                }
                try decode(window[...last])
                rest = rest[(last + 1)...]
                expectation = .commaOrEnd
            case (UInt8(ascii: ","), .commaOrEnd):
                rest.removeFirst()
                expectation = .object
            case (UInt8(ascii: "]"), .commaOrEnd), (UInt8(ascii: "]"), .objectOrEnd):
                rest.removeFirst()
                expectation = .nothing
            default: throw notJSON()
            }
            rest = rest.drop(while: Self.isBlank)
        }
        return []
    }

    private mutating func decode(_ objects: ArraySlice<UInt8>) throws {
        let array = [UInt8(ascii: "[")] + objects + [UInt8(ascii: "]")]
        guard let decoded = try? JSONDecoder().decode([Extent].self, from: Data(array)) else {
            throw notJSON()
        }
        for extent in decoded { try add(extent.offset, extent.length) }
    }

    private func notJSON() -> ServiceError {
        refusal("it is not an array of objects with 'offset' and 'length'")
    }

    // MARK: Extents

    private mutating func add(_ offset: UInt64, _ length: UInt64) throws {
        try requireInside(offset, length)
        guard length > 0 else { return }
        let size = UInt64(blockSize.byteCount)
        guard extents.add(offset / size..<(offset + length - 1) / size + 1) else {
            throw refusal(
                "it has more than \(BlockExtentsBuilder.standardLimit) extents that do not touch")
        }
    }

    private func requireInside(_ offset: UInt64, _ length: UInt64) throws {
        let (end, overflows) = offset.addingReportingOverflow(length)
        guard !overflows, end <= volumeByteCount else {
            throw refusal("\(offset)+\(length) is past the end of the volume, \(volumeByteCount)")
        }
    }

    private static func isBlank(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || (9...13).contains(byte)
    }

    private func refusal(_ why: String) -> ServiceError {
        ServiceError(.usage, "\(path) is not a list of changed extents of this volume: \(why)")
    }
}
