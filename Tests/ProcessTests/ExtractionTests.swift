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
        let made = try Child.shell(
            """
            cd \(place.path)
            set -e
            umask 022
            "$VARVE" init -q
            mkdir -p tree/d/closed tree/d/sticky
            for name in capable own other group plain; do echo $name >tree/d/$name; done
            chown 12345:12345 tree/d/own; chmod 6755 tree/d/own
            chown 0:0 tree/d/other; chmod 4755 tree/d/other
            chown 12345:0 tree/d/group; chmod 6750 tree/d/group
            chown 0:0 tree/d/sticky; chmod 7777 tree/d/sticky
            setcap cap_net_raw+ep tree/d/capable
            setfattr -n user.note -v kept tree/d/plain
            # u:1:rwx, g:2:r, as the system has it.
            acl=0200000001000600ffffffff020007000100000004000400ffffffff
            acl=${acl}080004000200000010000700ffffffff20000400ffffffff
            setfattr -n system.posix_acl_access -v 0x$acl tree/d/plain
            ln tree/d/plain tree/d/closed/plain
            chmod 0555 tree/d/closed
            mkfifo tree/pipe
            mknod -m 0640 tree/device c 1 3
            ln -s /nowhere tree/dangling
            ln -s d/plain tree/link
            chown -h 12345:12345 tree/pipe tree/link tree/d
            chmod 4777 tree/pipe
            find tree -exec touch -h -d '2001-02-03 04:05:06' {} +
            truncate -s 32M disk.img
            mke2fs -q -F -t ext4 -d tree disk.img
            "$VARVE" backup -q disk.img --volume d
            """, in: place)
        try #require(made.status == 0, "\(made)")
    }

    private func shell(_ script: String) throws -> Child.Result {
        try Child.shell("cd \(place.path)\nset -e\n\(script)", in: place)
    }

    @Test("As root, everything is as it was: owners, rights, capabilities, lists and links")
    func everything() throws {
        let result = try shell(
            """
            umask 077
            "$VARVE" extract -q d@1:/ out 2>errors
            [ ! -s errors ] || { cat errors; exit 2; }
            getcap out/d/capable | grep -q 'cap_net_raw=ep' || exit 3
            describe() { (cd $1; find . ! -name lost+found -printf '%p %y %m %U:%G %l %n %T@\\n' | sort
                getfattr -Rhd -m 'user|capability|acl' -e hex . | sort) ; }
            describe tree >a; describe out >b
            # The root of a file system has times of its own.
            grep -q acl_access a || exit 8
            diff <(grep -v '^\\. d' a) <(grep -v '^\\. d' b) || exit 4
            [ "$(getfattr --only-values -n user.note out/d/plain)" = kept ] || exit 5
            [ "$(stat -c '%t:%T' out/device)" = 1:3 ] || exit 6
            [ "$(ls -A | grep -c varve-extract)" = 0 ] || exit 7
            """)
        #expect(result.status == 0, "\(result)")
    }

    @Test("One file by itself is as it was too, in a directory that is another user's")
    func single() throws {
        let result = try shell(
            """
            mkdir theirs; chown 12345:12345 theirs; chmod 0777 theirs
            for name in capable own other; do "$VARVE" extract -q d@1:/d/$name theirs; done
            getcap theirs/capable | grep -q 'cap_net_raw=ep' || exit 2
            [ "$(stat -c '%a %u:%g' theirs/own)" = '6755 12345:12345' ] || exit 3
            [ "$(stat -c '%a %u:%g' theirs/other)" = '4755 0:0' ] || exit 4
            "$VARVE" extract -q d@1:/pipe theirs
            [ "$(stat -c '%F %a %u:%g' theirs/pipe)" = 'fifo 4777 12345:12345' ] || exit 5
            "$VARVE" extract -q d@1:/device theirs
            [ "$(stat -c '%F %a %u:%g' theirs/device)" = 'character special file 640 0:0' ] || exit 6
            "$VARVE" extract -q d@1:/link theirs
            [ "$(stat -c '%F %u:%g' theirs/link)" = 'symbolic link 12345:12345' ] || exit 7
            "$VARVE" extract -q d@1:/pipe theirs 2>errors && exit 8
            grep -q 'exists' errors || exit 9
            [ "$(ls -A theirs | wc -l)" = 6 ] || exit 10
            """)
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
        let result = try shell(
            """
            chmod 755 .
            echo secret >victim; chmod 600 victim; mkdir below; chmod 700 below
            mkdir theirs theirs/victims; chown -R 12345 theirs
            for target in victim below; do
                setpriv --reuid 12345 --clear-groups python3 attack.py $PWD/theirs $PWD/$target & attacker=$!
                until [ -e theirs/ready ]; do sleep 0.01; done
                # The program waits behind each call that makes something: time enough to be fooled.
                for name in pipe device link d; do
                    strace -f -qq -o trace -e trace=mknodat,symlinkat,mkdirat \
                        -e inject=mknodat,symlinkat,mkdirat:delay_exit=150000 \
                        "$VARVE" extract -q d@1:/$name theirs/$name-$target >said 2>&1 || :
                    grep -q "$name\\|varve-extract" trace || { cat said trace; exit 5; }
                done
                touch theirs/stop; wait $attacker; rm theirs/stop theirs/ready
            done
            [ "$(stat -c '%a %u %h' victim)" = '600 0 1' ] || { stat victim; exit 2; }
            [ "$(stat -c '%a %u' below)" = '700 0' ] || { stat below; exit 3; }
            [ "$(ls -A below | wc -l)" = 0 ] || { ls -lA below; exit 4; }
            """)
        #expect(result.status == 0, "\(result)")
    }

    @Test("An ordinary user's copies run as nobody whom the files are not of")
    func ordinary() throws {
        let result = try shell(
            """
            chmod 755 . ; chmod -R a+rX repository disk.img; mkdir own; chown 12345:12345 own
            export VARVE_CACHE_DIR=$PWD/own/cache HOME=$PWD/own
            setpriv --reuid 12345 --regid 12345 --clear-groups \
                "$VARVE" extract d@1:/ own/out >said 2>errors || { cat errors; exit 2; }
            cd own/out/d
            [ "$(stat -c '%a %u:%g' other)" = '755 12345:12345' ] || { stat other; exit 3; }
            [ "$(stat -c '%a %u:%g' group)" = '750 12345:12345' ] || { stat group; exit 4; }
            [ "$(stat -c '%a %u:%g' own)" = '6755 12345:12345' ] || { stat own; exit 5; }
            [ "$(stat -c '%a' sticky)" = 1777 ] || { stat sticky; exit 6; }
            [ "$(stat -c '%a' closed)" = 555 ] || exit 7
            grep -q 'its owner could not be set' $OLDPWD/errors || { cat $OLDPWD/errors; exit 8; }
            grep -q 'security.capability' $OLDPWD/errors || { cat $OLDPWD/errors; exit 9; }
            # A directory that its owner may not write to can be moved to its place all the same.
            cd ../..
            setpriv --reuid 12345 --regid 12345 --clear-groups \
                "$VARVE" extract -q d@1:/d/closed . 2>>errors
            [ "$(stat -c '%a' closed)" = 555 ] || exit 10
            [ "$(ls -A | grep -c varve-extract)" = 0 ] || exit 11
            """)
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
        let result = try shell(
            """
            truncate -s 16M fat.img; mkfs.vfat fat.img >/dev/null; mkdir fat
            mount -o loop fat.img fat || { echo no vfat; exit 0; }
            mkdir -p more/x; cd more; echo 1 >x/aaa; echo 2 >x/AAA; echo 3 >'x/a:b'; mkfifo x/p
            ln x/aaa x/bbb; ln -s aaa x/link; echo 9 >x/zzz; cd ..
            truncate -s 8M more.img; mke2fs -q -F -t ext4 -d more more.img
            "$VARVE" backup -q more.img --volume m
            status=0; "$VARVE" extract m@1:/x fat/out >said 2>errors || status=$?
            ls fat/out >list; cp -r fat/out copies; umount fat
            [ $status = 3 ] || { echo "$status"; cat errors; exit 2; }
            grep -q aaa list && grep -q bbb list && grep -q zzz list || { cat list; exit 3; }
            [ "$(cat copies/bbb)" = 1 ] || exit 4
            grep -q 'x/a:b\\|out/a:b' errors && grep -q 'link' errors || { cat errors; exit 5; }
            """)
        #expect(result.status == 0, "\(result)")
    }
}
