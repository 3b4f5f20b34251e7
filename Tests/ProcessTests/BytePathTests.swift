import Foundation
import SimulationSupport
import TestKit
import Testing

/// Names are bytes: what a command is given reaches the system as it is.
@Suite struct BytePathTests {
    private let place: Place

    init() throws {
        let scratch = ScratchDirectory()
        place = Place(scratch, path: scratch.path)
    }

    /// A name that is not UTF-8, beside the one that it must not be taken for.
    private func shell(_ script: String) throws -> Child.Result {
        try Child.shell(
            """
            cd \(place.path); set -e
            b=$'n\\xff\\xfe\\x80'; r=$'n\\xef\\xbf\\xbd\\xef\\xbf\\xbd\\xef\\xbf\\xbd'
            \(script)
            """, in: place)
    }

    @Test("Repository, cache, source and target may have any name")
    func everyPath() throws {
        let result = try shell(Child.text(of: "BytePathTests/every-path"))
        #expect(result.status == 0, "\(result)")
        #expect(result.output.contains(#"n\\xff\\xfe\\x80.img"#), "\(result.output)")
    }

    @Test("A name that is not text is shown by its bytes, and another is not taken for it")
    func messages() throws {
        #expect(try Child.run(["init", "-q"], in: place).status == 0)
        let result = try shell(
            """
            echo x >"$r"; $VARVE backup "$b" --volume d 2>&1 && exit 1
            $VARVE snapshots --repo "$b" 2>&1 && exit 1
            $VARVE diff "$b@1" "$b@2" 2>&1 && exit 1; $VARVE config check --config "$b" 2>&1 && exit 1
            $VARVE restore "$b@1" x 2>&1 && exit 1; exit 0
            """)
        #expect(result.status == 0, "\(result)")
        let lines = result.output.split(separator: "\n").filter { $0.hasPrefix("varve: ") }
        #expect(lines.count >= 2 && lines.allSatisfy { $0.contains(#"n\xff\xfe\x80"#) }, "\(lines)")
        #expect(!result.output.contains("\u{FFFD}"), "\(result)")
    }

    @Test("A program that is started gets arguments and variables as they are")
    func children() throws {
        let result = try shell(
            """
            mkdir "$b"; head -c 1M /dev/urandom >image; export VARVE_REPOSITORY="$PWD/$b/r" OTHER="$b"
            $VARVE init -q; $VARVE backup image --volume d -q
            $VARVE export d@1 --socket "$PWD/$b/s" --overlay "$b.qcow2" \
                --run 'printf %s "$OTHER" | od -An -tx1; test -S "$unixsocket" && nbdcopy "$uri" out'
            cmp image out; test -e "$b.qcow2"; test ! -e "$r.qcow2"
            """)
        #expect(result.status == 0 && result.output == " 6e ff fe 80\n", "\(result)")
    }
}
