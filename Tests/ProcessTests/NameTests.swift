import Foundation
import Glibc
import SimulationSupport
import TestKit
import Testing

/// Names of files, in snapshots and on this machine, that are no text, or that look alike.
@Suite(.serialized) struct NameTests {
    private let place: Place

    /// A snapshot of an ext4 image with such names.
    init() throws {
        let scratch = ScratchDirectory()
        place = Place(scratch, path: scratch.path)
        let made = try shell(
            #"""
            "$VARVE" init -q
            mkdir -p tree/$'d\xff' tree/x
            echo bytes >tree/$'bad\xffname'; echo text >tree/$'bad\xef\xbf\xbdname'
            echo one >tree/$'\xc3\xa9'; echo two >tree/$'e\xcc\x81'; echo mark >tree/x/$'\xcc\x81y'
            echo within >tree/$'d\xff'/f; ln -s $'bad\xffname' tree/link
            truncate -s 8M disk.img; mke2fs -q -F -t ext4 -d tree disk.img
            "$VARVE" backup -q disk.img --volume d
            """#)
        try #require(made.status == 0, "\(made)")
    }

    /// `$FF` is the byte 0xFF, in an argument of the program.
    private func shell(_ script: String) throws -> Child.Result {
        try Child.shell(
            #"""
            cd \#(place.path)
            set -e
            FF=$'\xff'
            # A program that takes no bytes yet takes what carries them.
            [ ! -e disk.img ] || "$VARVE" ls d@1:/d$FF >/dev/null 2>&1 || FF=$'\xf4\x8f\xbf\xbf'
            \#(script)
            """#, in: place)
    }

    @Test("Each file of a snapshot is reached by its own name, and no other")
    func files() throws {
        let result = try shell(
            #"""
            [ "$("$VARVE" cat d@1:/bad${FF}name)" = bytes ] || exit 2
            [ "$("$VARVE" cat d@1:/$'bad\xef\xbf\xbdname')" = text ] || exit 3
            [ "$("$VARVE" cat d@1:/$'\xc3\xa9')" = one ] || exit 4
            [ "$("$VARVE" cat d@1:/$'e\xcc\x81')" = two ] || exit 5
            [ "$("$VARVE" cat d@1:/x/$'\xcc\x81y')" = mark ] || exit 6
            [ "$("$VARVE" ls d@1:/d$FF)" = f ] || exit 7
            [ "$("$VARVE" cat d@1:/link)" = bytes ] || exit 8
            "$VARVE" cat d@1:/bad${FF}${FF}name 2>/dev/null && exit 9
            "$VARVE" ls --json d@1 >list
            [ "$(grep -c '"path_bytes":"626164ff6e616d65"' list)" = 1 ] || { cat list; exit 10; }
            [ "$(grep -c 'path_bytes' list)" = 2 ] || exit 11
            grep -q '"link_target_bytes":"626164ff6e616d65"' list || exit 12
            "$VARVE" extract -q d@1:/ out
            (cd tree; find . | sort) >a; (cd out; find . ! -name lost+found | sort) >b; cmp a b || exit 13
            "$VARVE" extract -q d@1:/bad${FF}name .
            [ "$(cat $'bad\xffname')" = bytes ] || exit 14
            [ "$(readlink out/link)" = $'bad\xffname' ] || exit 15
            """#)
        #expect(result.status == 0, "\(result)")
    }

    @Test("Their history is told, they are found by patterns, and differences name them")
    func overTime() throws {
        let result = try shell(
            #"""
            debugfs -w -R "rm \"bad"$'\xef\xbf\xbd'"name\"" disk.img 2>/dev/null
            "$VARVE" backup -q disk.img --volume d
            [ "$("$VARVE" history d:/bad${FF}name | wc -l)" = 1 ] || exit 2
            "$VARVE" history d:/bad${FF}name | grep -q '^d@1…2 ' || exit 3
            "$VARVE" history d:/$'bad\xef\xbf\xbdname' | grep -q absent || exit 4
            [ "$("$VARVE" find d@2 "bad${FF}*" | wc -l)" = 1 ] || exit 5
            [ "$("$VARVE" find d@1 'bad*name' | wc -l)" = 2 ] || exit 6
            [ "$("$VARVE" find d@1 "/d${FF}/*" | wc -l)" = 1 ] || exit 7
            "$VARVE" find d@2 'bad*' --json | grep -q '"path_bytes":"2f626164ff6e616d65"' || exit 8
            "$VARVE" diff --files d@1 d@2 | grep -q '^- /bad' || exit 9
            """#)
        #expect(result.status == 0, "\(result)")
    }

    @Test("Sources, targets, repositories and overlays are where they were said to be")
    func paths() throws {
        let result = try shell(
            #"""
            mkdir $'r\xff'; cp disk.img $'source\xff.img'
            "$VARVE" init -q --repo "r$FF/repo"
            [ -e $'r\xff'/repo/config ] || exit 2
            "$VARVE" backup -q --repo "r$FF/repo" source$FF.img --volume e
            "$VARVE" restore -q --repo "r$FF/repo" e@1 target$FF.img
            cmp disk.img $'target\xff.img' || exit 3
            "$VARVE" check -q --read-data --repo "r$FF/repo"
            "$VARVE" export d@1 --overlay over$FF --run 'qemu-io -f raw -c "write 0 512" "$uri"' >/dev/null
            [ -s $'over\xff' ] || exit 4
            VARVE_CACHE_DIR=$PWD/cache$FF "$VARVE" ls d@1 >/dev/null
            # None under another name.
            [ "$(ls | grep -c "$(printf '\357\277\275\|\364\217')")" = 0 ] || { ls; exit 5; }
            """#)
        #expect(result.status == 0, "\(result)")
    }
}
