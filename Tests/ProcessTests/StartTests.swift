import Foundation
import Glibc
import SimulationSupport
import TestKit
import Testing

/// What the program needs of the place it is started in.
@Suite struct StartTests {
    private let place: Place

    init() throws {
        let scratch = ScratchDirectory()
        place = Place(scratch, path: scratch.path)
        #expect(try Child.run(["init"], in: place).status == 0)
        let image = try place.write(
            Data(ImageModel(byteCount: 3 << 20, seed: 4).bytes), to: "image")
        #expect(try Child.run(["backup", image, "--volume", "d"], in: place).status == 0)
    }

    private func shell(_ script: String) throws -> Child.Result {
        try Child.shell("cd \(place.path); " + script, in: place)
    }

    @Test("No command is status 2, with the help on standard error")
    func noCommand() throws {
        for arguments in [[], ["schedule"], ["track"], ["config"], ["trial"]] {
            let result = try Child.run(arguments, in: place)
            #expect(result.status == 2 && result.output.isEmpty, "\(arguments): \(result)")
            #expect(result.errors.contains("USAGE: varve"), "\(arguments): \(result)")
        }
        let help = try Child.run(["help"], in: place)
        #expect(help.status == 0 && help.output.contains("USAGE: varve"), "\(help)")
    }

    @Test(
        "Without /proc and /sys, commands do what they do, or say why not",
        .enabled(if: geteuid() == 0, "needs root"))
    func withoutProc() throws {
        let result = try shell(
            """
            unshare -m bash -uc '
            mount -t tmpfs none /proc && mount -t tmpfs none /sys || exit 99
            set -e
            $VARVE backup image --volume d; $VARVE snapshots; $VARVE restore d@2 out
            cmp image out; $VARVE restore d@2 - | cmp - image; $VARVE check --read-data
            $VARVE diff d@1 d@2; $VARVE stats; $VARVE tag d@1 --add x; $VARVE forget --keep-last 1
            $VARVE prune; $VARVE unlock; $VARVE index rebuild; $VARVE version'
            """)
        #expect(result.status == 0, "\(result)")
        #expect(result.output.contains("d@2") && result.output.contains("varve 0."), "\(result)")
    }

    @Test("With few descriptors a command works or fails with a reason", arguments: 3...24)
    func fewDescriptors(count: Int) throws {
        for command in ["snapshots", "backup image --volume d", "check", "version"] {
            let result = try shell("ulimit -n \(count); $VARVE \(command)")
            // Status 127 is the loader's, which found no room for a library.
            if result.status == 0 {
                #expect(
                    result.output.contains(command == "version" ? "varve 0." : "d"), "\(result)")
            } else {
                #expect(!result.errors.isEmpty && result.status < 128, "\(count): \(result)")
            }
        }
        #expect(try Child.run(["check", "--read-data"], in: place).status == 0)
    }

    @Test("An empty environment, another clock, and an empty list of arguments")
    func environment() throws {
        let bare = try shell(
            "env -i $VARVE snapshots --repo repository && env -i $VARVE backup image --volume d "
                + "--repo repository")
        #expect(bare.status == 0, "\(bare)")
        let clock = try shell(
            "cat image | faketime -f '+3d' $VARVE backup - --volume s && $VARVE check")
        #expect(clock.status == 0 && clock.output.contains("s@1"), "\(clock)")
        for moment in ["1960-01-01 00:00:00", "1969-12-31 23:59:58", "2500-01-01 00:00:00"] {
            let feigned = try shell(
                "export TZ=UTC; faketime -f '@\(moment)' $VARVE backup image --volume d && "
                    + "faketime -f '@\(moment)' $VARVE check")
            #expect(feigned.status == 0, "\(moment): \(feigned)")
        }
        let none = try shell(
            "/usr/bin/python3 -c 'import ctypes; ctypes.CDLL(None).execv(b\"'$VARVE'\", None)'")
        #expect(none.status == 2 && none.errors.contains("USAGE: varve"), "\(none)")
    }
}
