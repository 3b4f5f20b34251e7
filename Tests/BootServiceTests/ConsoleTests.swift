import BootService
import Testing

/// What a machine that nobody trusts writes to its console.
@Suite struct ConsoleTests {
    private static func console(_ text: String) -> Console {
        var console = Console()
        // In pieces, as it comes.
        for piece in Array(text.utf8).split(maxSplits: 3, whereSeparator: { $0 == 0x7C }) {
            console.append(Array(piece))
        }
        return console
    }

    @Test("What moves a cursor is left out, also where it comes in pieces")
    func escapes() {
        let console = Self.console(
            "\u{1B}[2J\u{1B}[1;|1Hone\u{1B}]0;title\u{7}\r\n\u{1B}]2;x|\u{1B}\\two\u{1B}[0m\u{8}\nmachine lo|gin: "
        )
        #expect(console.end(lineCount: 9) == ["one", "two", "machine login: "])
        #expect(console.partialLine == "machine login: ")
        #expect(console.end(lineCount: 1) == ["machine login: "])
    }

    @Test("Each line is looked at once, and the one that is being written until it ends")
    func lines() {
        var console = Console()
        console.append(Array("a\nb\nc".utf8))
        let first = console.line(from: 0) { $0 == "b" || $0 == "c" }
        #expect(first.line == "b" && first.next == 2)
        #expect(console.line(from: first.next) { $0 == "c" }.line == "c")
        console.append(Array("d\n".utf8))
        let later = console.line(from: first.next) { $0 == "cd" }
        #expect(later.line == "cd" && later.next == 3)
        #expect(console.line(from: later.next) { _ in true }.line == "")
    }

    @Test("What is printed without end is kept in part, and numbers of lines go on")
    func endless() {
        var console = Console()
        for number in 0..<5_000 { console.append(Array("line \(number)\n".utf8)) }
        console.append([UInt8](repeating: 0x41, count: 1 << 20))
        #expect(console.partialLine.utf8.count < 1024)
        let found = console.line(from: 0) { $0.hasPrefix("line") }
        #expect(found.line == nil && found.next == 5_000 + 1024)
        console.append(Array("\nlast\n".utf8))
        #expect(console.line(from: found.next) { $0 == "last" }.line == "last")
    }

    @Test("A system that failed is told from one that starts")
    func signs() {
        for text in [
            "[ 1.2] Kernel panic - not syncing: VFS: Unable to mount root fs", "grub rescue> ",
            "Target filesystem doesn't have requested /sbin/init.", "No bootable device.",
            "Give root password for maintenance", "UEFI Interactive Shell v2.2",
        ] {
            #expect(FailureSign.isIn(text), "\(text)")
        }
        for text in ["machine login: ", "Starting system message bus: dbus.", ""] {
            #expect(!FailureSign.isIn(text), "\(text)")
        }
    }
}
