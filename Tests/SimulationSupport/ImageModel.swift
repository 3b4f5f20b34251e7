import TestKit

/// A volume in memory that changes as disks do: the reference that every restore is held against.
package struct ImageModel: Sendable {
    package private(set) var bytes: [UInt8]
    private var generator: SeededGenerator

    package init(byteCount: Int, seed: UInt64) {
        generator = SeededGenerator(seed: seed)
        bytes = [UInt8](repeating: 0, count: byteCount)
        for _ in 0..<8 { write() }
    }

    private mutating func random(_ limit: Int) -> Int {
        Int(generator.next() % UInt64(max(1, limit)))
    }

    /// One change of a random kind.
    package mutating func change() {
        switch random(10) {
        case 0...3: edit()
        case 4...6: write()
        case 7: clear()
        case 8: copy()
        default: resize()
        }
    }

    /// A few bytes here and there: what patches are for.
    private mutating func edit() {
        guard !bytes.isEmpty else { return }
        for _ in 0..<1 + random(6) { bytes[random(bytes.count)] = UInt8(random(256)) }
    }

    /// A stretch of new content, some of it compressible, some not.
    private mutating func write() {
        guard !bytes.isEmpty else { return }
        let start = random(bytes.count)
        let end = min(bytes.count, start + 1 + random(40_000))
        let isText = random(2) == 0
        for index in start..<end {
            bytes[index] = isText ? UInt8(65 + (index / 7 + start) % 20) : UInt8(random(256))
        }
    }

    private mutating func clear() {
        guard !bytes.isEmpty else { return }
        let start = random(bytes.count)
        for index in start..<min(bytes.count, start + 1 + random(60_000)) { bytes[index] = 0 }
    }

    /// The same content at another place: found by its digest.
    private mutating func copy() {
        let count = 4096 * (1 + random(6))
        guard bytes.count > 2 * count else { return }
        let from = random((bytes.count - count) / 4096) * 4096
        let to = random((bytes.count - count) / 4096) * 4096
        bytes.replaceSubrange(to..<to + count, with: Array(bytes[from..<from + count]))
    }

    /// Longer or shorter, and rarely by whole blocks.
    private mutating func resize() {
        let count = 1 + random(260_000)
        if count < bytes.count {
            bytes.removeLast(bytes.count - count)
        } else {
            bytes.append(contentsOf: repeatElement(0, count: count - bytes.count))
        }
    }
}
