import Foundation
import Glibc
import SimulationSupport
import TestKit
import Testing

/// What becomes of owners, rights and other users' directories when files are extracted.
@Suite(.serialized, .enabled(if: geteuid() == 0, "needs root"))
struct ExtractionTests {
    private let place: Place
    private static let user = 12345

    /// A snapshot of an ext4 image with files of two users, rights and a bit of everything.
    init() throws {
        let scratch = ScratchDirectory()
        place = Place(scratch, path: scratch.path)
        let made = try Child.shell(Child.text(of: "ExtractionTests/set-up"), in: place)
        try #require(made.status == 0, "\(made)")
    }

    private func shell(_ script: String) throws -> Child.Result {
        try Child.shell("cd \(place.path)\nset -e\n\(script)", in: place)
    }

    @Test("As root, everything is as it was: owners, rights, capabilities, lists and links")
    func everything() throws {
        let result = try shell(Child.text(of: "ExtractionTests/everything"))
        #expect(result.status == 0, "\(result)")
    }

    @Test("One file by itself is as it was too, in a directory that is another user's")
    func single() throws {
        let result = try shell(Child.text(of: "ExtractionTests/single"))
        #expect(result.status == 0, "\(result)")
    }

    @Test("Who owns the directory cannot have another file's mode, owner or name changed")
    func swapped() throws {
        // Puts a link to the victim in the place of whatever appears, again and again.
        let attack = #"""
            os, sys = (__import__(name) for name in ("os", "sys"))
            os.chdir(sys.argv[1])
            open("ready", "w").close()
            while not os.path.exists("stop"):
                for name in os.listdir("."):
                    if name in ("ready", "stop", "victims") or name.startswith("link"): continue
                    try:
                        os.rename(name, "victims/%d" % len(os.listdir("victims")))
                        os.symlink(sys.argv[2], name)
                    except OSError: pass
            """#
        _ = try place.write(Data(attack.utf8), to: "attack.py")
        let result = try shell(Child.text(of: "ExtractionTests/swapped"))
        #expect(result.status == 0, "\(result)")
    }

    @Test("An ordinary user's copies run as nobody whom the files are not of")
    func ordinary() throws {
        let result = try shell(Child.text(of: "ExtractionTests/ordinary"))
        #expect(result.status == 0, "\(result)")
    }

    @Test("A link that leads nowhere is shown, and said to lead nowhere")
    func dangling() throws {
        let result = try shell(
            """
            "$VARVE" ls -l d@1:/dangling >said
            grep -q '/dangling -> /nowhere$' said || { cat said; exit 2; }
            "$VARVE" cat d@1:/dangling 2>errors && exit 3
            grep -q 'leads to /nowhere, which does not exist' errors || { cat errors; exit 4; }
            "$VARVE" extract -q d@1:/dangling out
            [ "$(readlink out)" = /nowhere ] || exit 5
            """)
        #expect(result.status == 0, "\(result)")
    }

    @Test("What a file system cannot have is left out and named, and the rest is there")
    func refused() throws {
        let result = try shell(Child.text(of: "ExtractionTests/refused"))
        #expect(result.status == 0, "\(result)")
    }
}
