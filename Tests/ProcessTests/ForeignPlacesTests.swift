import Foundation
import Glibc
import SimulationSupport
import Testing

/// Links, lost files and targets in and around a repository, as a user meets them.
@Suite(.serialized) struct ForeignPlacesTests {
    private let place: Place

    /// A repository with a volume, and another beside it.
    init() throws {
        let scratch = ScratchDirectory()
        place = Place(scratch, path: scratch.path)
        try expect(
            """
            head -c 300000 /dev/urandom > image; head -c 200000 /dev/urandom > other
            $VARVE init -q; $VARVE backup image --volume d -q
            $VARVE init -q -r theirs; $VARVE backup other --volume d -q -r theirs
            """)
    }

    /// Runs lines of a shell in the scratch directory, which have to end with this status.
    @discardableResult
    private func expect(
        _ script: String,
        status: Int32 = 0,
        says: String = "",
        at location: SourceLocation = #_sourceLocation
    ) throws -> Child.Result {
        let result = try Child.shell("cd \(place.path)\n\(script)", in: place)
        #expect(
            result.status == status, "\(script): \(result.output)\(result.errors)",
            sourceLocation: location)
        #expect(
            says.isEmpty || (result.output + result.errors).contains(says),
            "\(result.output)\(result.errors)",
            sourceLocation: location)
        return result
    }

    @Test("Packs of another repository are kept by prune, moved there or reached through a link")
    func foreignPacks() throws {
        try expect("cp -r theirs copy; cp -rn theirs/packs/. repository/packs")
        try expect("$VARVE check", says: "another repository")
        try expect("$VARVE prune --min-age 0s", says: "is kept: it belongs to another repository")
        try expect(
            "for f in $(cd theirs; find packs -type f); do cmp theirs/$f repository/$f || exit 1; done"
        )
        try expect(
            "rm -r repository/packs/??; $VARVE init -q -r r2; $VARVE backup image --volume d -q -r r2"
        )
        try expect("for d in theirs/packs/*; do ln -s $PWD/$d r2/packs/; done 2>/dev/null; true")
        try expect("$VARVE prune -r r2 --min-age 0s", says: "symbolic link")
        try expect("$VARVE check -r r2", status: 13, says: "symbolic link")
        try expect("diff -r theirs copy && $VARVE check -r theirs --read-data -q")
    }

    @Test("Where packs that are needed lie behind a link, nothing is deleted")
    func neededPacksBehindLink() throws {
        try expect(
            "mkdir far; mv repository/packs/?? far; cp -r far far2; ln -s $PWD/far/?? repository/packs/"
        )
        try expect("$VARVE prune --min-age 0s", status: 13, says: "symbolic link")
        try expect("$VARVE restore d@1 out", status: 13)
        try expect("$VARVE repair --forget-lost", status: 13)
        try expect("diff -r far far2 && rm repository/packs/?? && mv far/?? repository/packs/")
        try expect("rm out; $VARVE check --read-data && $VARVE restore d@1 out && cmp out image")
    }

    @Test("A volume behind a link is damage, and neither forgotten, pruned, nor given up")
    func linkedVolume() throws {
        try expect(
            "mv repository/volumes/d away; cp -r away away2; ln -s $PWD/away repository/volumes/d")
        try expect("$VARVE snapshots", status: 13, says: "symbolic link")
        try expect("$VARVE backup image --volume d", status: 13, says: "has damage")
        try expect("$VARVE forget --keep-last 1; true")
        try expect("$VARVE prune", status: 13, says: "volumes/d")
        try expect("! $VARVE repair --forget-lost", says: "symbolic link")
        try expect("$VARVE check", status: 13, says: "volumes/d")
        try expect("diff -r away away2 && rm repository/volumes/d && mv away repository/volumes/d")
        try expect("$VARVE check --read-data")
    }

    @Test("A lost, empty or damaged config is written again by repair, and told by all others")
    func lostConfiguration() throws {
        for harm in [
            "rm", "truncate -s 0", "truncate -s 30",
            "dd if=/dev/zero bs=1 count=20 seek=10 conv=notrunc status=none of=",
        ] {
            try expect(
                harm.hasSuffix("of=") ? "\(harm)repository/config" : "\(harm) repository/config")
            try expect("$VARVE snapshots", status: 13, says: "run 'varve repair'")
            try expect("$VARVE check", status: 13, says: "run 'varve repair'")
            let result = try expect(
                "$VARVE init; s=$?; ls repository; exit $s", status: harm == "rm" ? 1 : 13)
            #expect(result.errors.contains("run 'varve repair'"))
            #expect(result.output.contains("config") == (harm != "rm"))
            try expect("$VARVE repair", says: "config was restored")
            try expect(
                "$VARVE check --read-data && $VARVE restore d@1 out && cmp out image && rm out")
        }
    }

    @Test("A restore refuses files that the program lives by, whatever leads to them")
    func ownFiles() throws {
        try expect("$VARVE snapshots >/dev/null; cp -r repository before; echo '# x' > varve.toml")
        try expect(
            "ln repository/config hard; ln -s repository/config soft; ln $(find repository/packs -type f | head -1) pack"
        )
        for target in ["repository/config", "hard", "soft", "pack"] {
            try expect(
                "$VARVE restore d@1 \(target) --in-place", status: 1,
                says: "a file of the repository")
        }
        try expect(
            "export VARVE_CACHE_DIR=$PWD/cache2; $VARVE snapshots >/dev/null; $VARVE restore d@1 cache2/*/index.mdb --in-place",
            status: 1,
            says: "a file of the index")
        try expect(
            "VARVE_CONFIG=$PWD/varve.toml $VARVE restore d@1 varve.toml --in-place", status: 1,
            says: "needs")
        try expect(
            "$VARVE restore d@1 repository/packs/new", status: 1, says: "inside the repository")
        try expect("rm hard pack; diff -r repository before && $VARVE check --read-data")
    }

    @Test(
        "A loop device over a file of the repository is refused",
        .enabled(
            if: geteuid() == 0 && access("/dev/loop-control", R_OK) == 0, "needs root and loops"))
    func loopOverOwnFile() throws {
        try expect(
            """
            cp -r repository before; F=$(find repository/packs -type f | head -1); L=$(losetup -f --show $F)
            $VARVE restore d@1 $L; s=$?; losetup -d $L; diff -r repository before || exit 9; exit $s
            """, status: 1, says: "a file of the repository")
    }

    @Test(
        "A target and a source are opened by their paths once",
        .enabled(if: access("/usr/bin/strace", X_OK) == 0, "needs strace"))
    func openedOnce() throws {
        try expect(
            """
            set -e
            strace -f -o trace -e trace=open,openat,openat2,truncate,stat,lstat $VARVE restore d@1 new-target -q
            grep 'new-target' trace | grep -v ENOENT > uses; cat uses
            [ $(wc -l < uses) = 1 ]
            grep -q 'O_CREAT|O_EXCL.*O_NOFOLLOW\\|O_CREAT.*O_EXCL' uses
            strace -f -o trace -e trace=open,openat,openat2 $VARVE backup image --volume e -q
            grep '"image"' trace > uses; cat uses; [ $(wc -l < uses) = 1 ]
            """)
    }
}
