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
        let result = try shell(
            """
            unset VARVE_REPOSITORY; mkdir "$b"; export VARVE_CACHE_DIR="$PWD/$b/cache"
            head -c 1M /dev/urandom >"$b/source"; head -c 1M /dev/zero >decoy
            mkdir "$r"; cp decoy "$r/source"; cp "$b/source" "$b.img"; cp decoy "$r.img"
            $VARVE init --repo "$b/repository" -q; test -e "$b/repository/config"
            export VARVE_REPOSITORY="$PWD/$b/repository"
            $VARVE backup "$b.img" --volume d -q
            (unset VARVE_REPOSITORY; echo "$b/repository" >"$b/file"
                VARVE_REPOSITORY_FILE="$b/file" $VARVE backup "$b.img" --volume d -q)
            $VARVE restore d@2 "$b.out" -q; cmp "$b.img" "$b.out"
            $VARVE restore d@1 "$b.out" --in-place -q; cmp "$b.img" "$b.out"
            ls "$b/cache" >/dev/null; test ! -e "$r/cache"; test ! -e "$r.out"
            $VARVE check -q; $VARVE prune -q; $VARVE index rebuild -q; $VARVE unlock -q
            $VARVE init --repo "$b/r" -q; $VARVE copy --from-repo "$b/repository" --repo "$b/r" -q
            echo '[]' >"$b.json"
            $VARVE backup "$b.img" --volume d -q --changed-extents "$b.json" --changed-since 2
            $VARVE snapshots --json | tail -n 1
            """)
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
