/// What a machine writes to its serial port: its last lines, without what moves a terminal's cursor.
package struct Console {
    static let lineLimit = 1000
    private static let lineByteLimit = 1024

    /// The lines that are complete, the last ones of them.
    private var lines: [String] = []
    /// How many there were before those.
    private var droppedCount = 0
    private var current: [UInt8] = []
    private var escape = Escape.none

    /// Where in a sequence of a terminal the next byte is.
    private enum Escape {
        case none, begun, control
        /// One that is closed by a bell, or an escape and a backslash.
        case text, textEscape
    }

    package init() {}

    package mutating func append(_ bytes: [UInt8]) {
        for byte in bytes { append(byte) }
    }

    private mutating func append(_ byte: UInt8) {
        switch escape {
        case .none: break
        case .begun:
            escape = byte == 0x5B ? .control : byte == 0x5D ? .text : .none
            return
        case .control:
            if (0x40...0x7E).contains(byte) { escape = .none }
            return
        case .text:
            escape = byte == 0x07 ? .none : byte == 0x1B ? .textEscape : .text
            return
        case .textEscape:
            escape = byte == 0x5C ? .none : .text
            return
        }
        switch byte {
        case 0x1B: escape = .begun
        case 0x0A: endLine()
        case 0x20..<0x7F, 0x80...:
            current.append(byte)
            if current.count >= Self.lineByteLimit { endLine() }
        default: break
        }
    }

    private mutating func endLine() {
        lines.append(String(decoding: current, as: UTF8.self))
        current.removeAll(keepingCapacity: true)
        if lines.count > Self.lineLimit {
            lines.removeFirst()
            droppedCount += 1
        }
    }

    /// The first line from the number `first` on that `matches`, the one that is being written too; and
    /// the number to go on from.
    package func line(
        from first: Int,
        where matches: (String) -> Bool
    ) -> (line: String?, next: Int) {
        let all = lines[max(0, first - droppedCount)...] + [partialLine]
        return (all.first(where: matches), droppedCount + lines.count)
    }

    /// What is being written, such as a prompt.
    package var partialLine: String { String(decoding: current, as: UTF8.self) }

    /// The last lines, for people.
    package func end(lineCount: Int) -> [String] {
        (lines + [partialLine]).filter { !$0.allSatisfy(\.isWhitespace) }.suffix(lineCount)
    }
}

/// Words of a system that does not come up.
package enum FailureSign {
    private static let signs = [
        "Kernel panic - not syncing", "No bootable device",
        "No bootable option or device was found",
        "grub rescue>", "UEFI Interactive Shell", "Give root password for maintenance",
        "Cannot open access to console, the root account is locked", "You are in emergency mode",
        "BusyBox v", "doesn't have requested /sbin/init", "Gave up waiting for root",
        "No such partition.", "Missing operating system",
        "Operating System not found", "BOOTMGR is missing", "INACCESSIBLE_BOOT_DEVICE",
        "Unable to find a medium containing a live file system",
    ]

    /// Whether the text has one.
    package static func isIn(_ text: String) -> Bool { signs.contains { text.contains($0) } }
}
