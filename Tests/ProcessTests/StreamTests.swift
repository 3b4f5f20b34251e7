import Foundation
import Glibc
import SimulationSupport
import TestKit
import Testing

/// Standard input, output and error: closed, full, unread, and what text becomes on them.
@Suite struct StreamTests {
    private let place: Place

    init() throws {
        let scratch = ScratchDirectory()
        place = Place(scratch, path: scratch.path)
        #expect(try Child.run(["init"], in: place).status == 0)
        let image = try place.write(
            Data(ImageModel(byteCount: 3 << 20, seed: 3).bytes), to: "image")
        for _ in 0..<2 {
            #expect(try Child.run(["backup", image, "--volume", "d"], in: place).status == 0)
        }
    }

    private func shell(_ script: String) throws -> Child.Result {
        try Child.shell("cd \(place.path); " + script, in: place)
    }

    @Test("Closed standard input is refused, and never a file that the program opened itself")
    func closedInput() throws {
        for arguments in [
            "backup - --volume s", "backup - --volume s -q --json",
            "backup image --volume d --changed-extents - --changed-since 1",
        ] {
            let result = try shell("$VARVE \(arguments) <&-")
            #expect(result.status == 1, "\(arguments): \(result)")
            #expect(result.errors.contains("standard input is closed"), "\(result)")
        }
        // What is not asked for does not matter, whichever of them are closed.
        for closed in ["<&-", "2>&-", "<&- 2>&-"] {
            #expect(try shell("$VARVE backup image --volume d \(closed)").status == 0)
        }
        let list = try Child.run(["snapshots", "--json"], in: place).output
        #expect(list.split(separator: "\n").count == 5, "\(list)")
        #expect(!list.contains("\"volume\":\"s\""), "\(list)")
        #expect(try Child.run(["check", "--read-data"], in: place).status == 0)
    }

    @Test(
        "Closed standard output is an error where something is written to it",
        arguments: [
            "snapshots", "snapshots --json", "diff d@1 d@2", "stats", "restore d@1 -",
            "version", "completion bash", "--help", "--version", "help backup", "config example",
            "check", "forget -n --keep-last 1", "export d@1", "status", "cat d@1:/x",
            "ls d@1", "find d x", "backup image --volume d",
        ])
    func closedOutput(arguments: String) throws {
        for closed in [">&-", "<&- >&-"] {
            let result = try shell("$VARVE \(arguments) \(closed)")
            #expect(result.status != 0 && result.status < 128, "\(arguments): \(result)")
            #expect(!result.errors.isEmpty, "\(arguments): \(result)")
        }
        let silent = try shell("$VARVE \(arguments) >&- 2>&-")
        #expect(silent.status != 0 && silent.status < 128, "\(arguments): \(silent)")
        #expect(try Child.run(["check"], in: place).status == 0)
    }

    @Test(
        "A full standard output is status 1 and a message",
        arguments: [
            "snapshots", "snapshots --json", "diff d@1 d@2", "diff d@1 d@2 --json", "stats",
            "restore d@1 -", "version", "version --json", "completion zsh", "--help", "--version",
            "help backup", "help", "config example", "check", "check --json", "protect d@1",
            "forget -n --keep-last 1", "prune -n", "unlock", "index rebuild", "tag d@1 --add x",
            "backup image --volume d", "restore d@1 new-file", "--generate-completion-script bash",
            "--experimental-dump-help",
        ])
    func fullOutput(arguments: String) throws {
        let result = try shell("$VARVE \(arguments) >/dev/full")
        #expect(result.status == 1, "\(arguments): \(result)")
        #expect(result.errors.contains("No space left on device"), "\(arguments): \(result)")
        let silent = try shell("$VARVE \(arguments) >/dev/full 2>&1")
        #expect(silent.status == 1, "\(arguments): \(silent)")
    }

    @Test("What was done although nobody could be told is done, and standard error never matters")
    func doneAnyway() throws {
        #expect(try shell("$VARVE backup image --volume d >/dev/full").status == 1)
        #expect(try Child.run(["snapshots"], in: place).output.contains("d         3"))
        for errors in ["2>/dev/full", "2>&-", "2> >(:)"] {
            let result = try shell("$VARVE -v backup image --volume d -v \(errors)")
            #expect(result.status == 2)
            #expect(try shell("$VARVE backup image --volume d -v \(errors)").status == 0)
        }
        #expect(try Child.run(["check"], in: place).status == 0)
    }

    @Test("When nobody reads any more, a command ends quietly, by SIGPIPE")
    func brokenPipe() throws {
        for arguments in ["restore d@1 -", "completion zsh", "diff d@1 d@2", "version", "--help"] {
            let result = try shell(
                "{ sleep 0.1; $VARVE \(arguments); echo $? >status; } | :; cat status")
            #expect(result.output == "141\n" && result.errors.isEmpty, "\(arguments): \(result)")
        }
        let after = try shell("$VARVE snapshots; ls repository/locks")
        #expect(!after.output.contains("shared."), "\(after)")
    }

    @Test("A program that is started has standard streams, whichever are closed here")
    func children() throws {
        let result = try shell(
            """
            $VARVE export d@1 --run 'read x; echo out && echo err >&2 && echo done >told' \
            <&- >&- 2>&-; echo $?; cat told
            """)
        #expect(result.output == "0\ndone\n", "\(result)")
    }

    @Test("Words of others move no cursor and forge no row, on a terminal, in JSON, in the journal")
    func hostileText() throws {
        let tag = "t\u{1B}[2J\u{9B}31m\u{202E}\nforged@9  row\u{7F}"
        let image = place.path + "/image"
        #expect(
            try Child.run(["backup", image, "--volume", "h", "--tag", tag], in: place).status == 0)
        let list = try Child.run(["snapshots", "h"], in: place).output
        let expected = #"t\x1b[2J\xc2\x9b31m\xe2\x80\xae\x0aforged@9  row\x7f"#
        #expect(list.contains(expected) && list.split(separator: "\n").count == 2, "\(list)")
        let json = try Child.run(["snapshots", "h", "--json"], in: place).output
        #expect(json.utf8.allSatisfy { $0 == 10 || (0x20..<0x7F).contains($0) }, "\(json)")
        struct Row: Decodable { let tags: [String] }
        #expect(try JSONDecoder().decode(Row.self, from: Data(json.utf8)).tags == [tag])

        for arguments in [
            ["restore", "no\n\u{1B}[31m@1", "t"], ["backup", "/no\nsuch\u{9B}"],
            ["ls", "--\u{1B}\nx"],
            ["find", "d\n\u{1B}", "x"], ["--repo", "/no\nwhere\u{1B}", "check"],
            ["snapshots", "--tag=a\nb", "x\ny"], ["forge\nt"],
        ] {
            let result = try Child.run(arguments, in: place)
            let hasRaw = result.errors.unicodeScalars.contains {
                $0 != "\n" && $0.properties.generalCategory == .control
            }
            #expect(result.status != 0 && !hasRaw, "\(result)")
            #expect(!result.errors.contains("no\n") && !result.errors.contains("forge\n"))
        }
    }

    @Test("ls shows names escaped, on a terminal and in a file")
    func names() throws {
        let result = try shell(
            """
            set -e; mkdir files; touch $'files/a\\e[2J\\nb\\xff'; ln -s $'\\e]0;x\\n' files/link
            mke2fs -q -t ext4 -d files fs 8M; $VARVE backup fs --volume f -q
            script -qec "$VARVE ls -l f@1" /dev/null >shown
            $VARVE ls f@1 >names; $VARVE ls -l f@1 >long
            """)
        #expect(result.status == 0, "\(result)")
        let shown = String(decoding: try place.read("shown"), as: UTF8.self)
        #expect(shown.contains(#" a\x1b[2J\x0ab\xff"#), "\(shown)")
        #expect(shown.contains(#" link -> \x1b]0;x\x0a"#), "\(shown)")
        #expect(!shown.contains("\u{1B}"), "\(shown)")
        #expect(try place.read("names").starts(with: Data(#"a\x1b[2J\x0ab\xff"#.utf8)))
        let long = String(decoding: try place.read("long"), as: UTF8.self)
        #expect(long.contains(#" link -> \x1b]0;x\x0a"#) && !long.contains("\u{1B}"), "\(long)")
    }

    @Test("A line in the journal has the importance that the program gives it, and no other")
    func journal() throws {
        let result = try shell(
            """
            : >log; exec 3>>log; export JOURNAL_STREAM=$(stat -c %d:%i log)
            $VARVE restore $'no\\n<0>such@1' x 2>&3; $VARVE snapshots $'v\\n<0>forged' 2>&3
            $VARVE backup image --volume d --tag '<0>forged' >&3; $VARVE snapshots --tag '<0>forged' >&3
            cat log
            """)
        let lines = result.output.split(separator: "\n")
        #expect(lines.count >= 5, "\(result)")
        #expect(lines.prefix(2).allSatisfy { $0.hasPrefix("<3>varve: ") }, "\(result)")
        #expect(lines.dropFirst(2).allSatisfy { $0.hasPrefix("<6>") }, "\(result)")
    }
}
