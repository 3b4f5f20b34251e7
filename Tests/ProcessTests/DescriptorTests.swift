import Foundation
import Glibc
import SimulationSupport
import TestKit
import Testing

/// What the programs that are started get of what is open in the one that starts them.
@Suite(.serialized) struct DescriptorTests {
    private let place: Place

    init() throws {
        let scratch = ScratchDirectory()
        place = Place(scratch, path: scratch.path)
        #expect(try Child.run(["init"], in: place).status == 0)
        let file = try place.write(Data(repeating: 7, count: 1 << 20), to: "disk.img")
        #expect(try Child.run(["backup", file, "--volume", "d"], in: place).status == 0)
    }

    /// A descriptor of the shell that every program gets, and what looks at a process's own.
    private var preamble: String {
        """
        cd \(place.path)
        exec 63<>/dev/null
        cat >functions <<'END'
        # Numbers of those, but of 63, that a program which the process starts would get.
        open_for_others() {
            for entry in /proc/$1/fdinfo/*; do
                number=${entry##*/}
                [ $number -gt 2 ] && [ $number -ne 63 ] || continue
                flags=$(sed -n 's/^flags:[[:space:]]*//p' $entry 2>/dev/null) && [ "$flags" ] || continue
                [ $((flags & 02000000)) -ne 0 ] || echo "$number $(readlink /proc/$1/fd/$number)"
            done
        }
        END
        . ./functions
        """
    }

    @Test("Hooks and alarms have their standard descriptors only")
    func hooks() throws {
        let list = #"["/bin/sh", "-c", "ls /proc/self/fd >\#(place.path)/NAME"]"#
        let configuration = """
            [repositories.main]
            path = "\(place.repository)"
            [jobs.j]
            repository = "main"
            volumes.d = { source = "\(place.path)/disk.img" }
            [jobs.j.hooks]
            before = \(list.replacing("NAME", with: "before"))
            after = \(list.replacing("NAME", with: "after"))
            """
        _ = try place.write(Data(configuration.utf8), to: "varve.toml")
        let result = try Child.shell(
            """
            \(preamble)
            "$VARVE" run --config varve.toml || exit 1
            for name in before after; do
                [ "$(sort -n $name | tr '\\n' ' ')" = "0 1 2 3 " ] || { cat $name; exit 2; }
            done
            """, in: place)
        #expect(result.status == 0, "\(result)")
    }

    @Test("Servers and the command of an export have nothing of the repository's index")
    func export() throws {
        let result = try Child.shell(
            """
            \(preamble)
            cat >look <<'END'
                . ./functions
                ls /proc/self/fd >command
                for process in $(pgrep -P $PPID); do
                    [ $process = $$ ] || ls -l /proc/$process/fd >servers-$(cat /proc/$process/comm)
                done
                open_for_others $PPID >own
            END
            "$VARVE" export d@1 --overlay overlay --run "exec /bin/bash look" || exit 1
            [ "$(sort -n command | tr '\\n' ' ')" = "0 1 2 3 " ] || { cat command; exit 2; }
            ls servers-nbdkit servers-qemu-nbd || exit 3
            grep -q ' 63 ->' servers-* && { cat servers-*; exit 4; }
            grep index.mdb servers-qemu-nbd && exit 5
            # The server opens the repository once, by itself; LMDB has its file open twice.
            [ "$(grep -c '/index.mdb$' servers-nbdkit)" -le 2 ] || { cat servers-nbdkit; exit 6; }
            # Others that this process was left by those before it are none of its own.
            ! grep -E 'mdb|repository|cache' own || exit 7
            """, in: place)
        #expect(result.status == 0, "\(result)")
    }

    @Test(
        "A mount leaves nothing open for the program by which it is made",
        .enabled(if: access("/dev/fuse", R_OK | W_OK) == 0, "This kernel has no FUSE."))
    func mount() throws {
        let result = try Child.shell(
            """
            \(preamble)
            mkdir at
            "$VARVE" mount at >said & varve=$!
            until grep -q mounted said; do kill -0 $varve || exit 1; sleep 0.02; done
            cat at/d/latest.img >/dev/null || exit 2
            open_for_others $varve >own
            kill -INT $varve; wait $varve || exit 3
            [ ! -s own ] || { cat own; exit 4; }
            """, in: place)
        #expect(result.status == 0, "\(result)")
    }
}
