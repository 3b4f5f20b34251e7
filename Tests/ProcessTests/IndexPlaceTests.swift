import Foundation
import Glibc
import SimulationSupport
import TestKit
import Testing

/// The directory of the index fails, or its file is not what was written: as a user meets it.
@Suite struct IndexPlaceTests {
    private let place: Place
    private let image: Data

    init() throws {
        let scratch = ScratchDirectory()
        place = Place(scratch, path: scratch.path)
        #expect(try Child.run(["init"], in: place).status == 0)
        var generator = SeededGenerator(seed: 8)
        image = Data(generator.bytes(700_000))
        let file = try place.write(image, to: "disk.img")
        let backup = try Child.run(["backup", file, "--volume", "d"], in: place)
        #expect(backup.status == 0, "\(backup)")
    }

    private static let commands = [
        "restore d@1 out", "snapshots", "check --read-data", "stats", "stats --snapshots",
        "diff d@1 d@1", "forget --keep-last 1 --volume d", "prune",
    ]

    @Test("Without a directory for the index all works but what keeps it", arguments: commands)
    func noDirectory(command: String) throws {
        for cache in ["VARVE_CACHE_DIR=/dev/null/x", "VARVE_CACHE_DIR=/proc/nothing"] {
            let result = try Child.shell(
                "cd \(place.path); rm -f out; export \(cache); $VARVE \(command)", in: place)
            #expect(result.status == 0, "\(cache): \(result.errors)")
            #expect(result.errors.contains("cannot be used"), "\(result.errors)")
            #expect(result.errors.split(separator: "\n").count == 1, "\(result.errors)")
        }
        if command.hasPrefix("restore") { #expect(try place.read("out") == image) }
    }

    @Test("A backup without a directory for the index says what to do, and leaves all as it was")
    func backup() throws {
        for cache in ["VARVE_CACHE_DIR=/dev/null/x", "VARVE_CACHE_DIR=/proc/nothing"] {
            let result = try Child.shell(
                "cd \(place.path); export \(cache); $VARVE backup disk.img --volume d", in: place)
            #expect(result.status == 1)
            let lines = result.errors.split(separator: "\n")
            #expect(lines.count == 1, "\(result.errors)")
            #expect(result.errors.contains(cache.dropFirst("VARVE_CACHE_DIR=".count)))
            #expect(result.errors.contains("set VARVE_CACHE_DIR to"))
        }
        #expect(try Child.run(["check"], in: place).status == 0)
    }

    @Test("Without HOME and a cache directory, commands that need no index work")
    func noHome() throws {
        let user = "setpriv --reuid 65534 --regid 65534 --clear-groups"
        let result = try Child.shell(
            """
            cd \(place.path); chmod -R a+rX .; mkdir -m 777 free; cd free
            unset VARVE_CACHE_DIR HOME XDG_CACHE_HOME
            \(geteuid() == 0 ? user : "") $VARVE restore d@1 out && cmp out ../disk.img
            """, in: place)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.errors.contains("neither HOME nor VARVE_CACHE_DIR is set"))
    }

    private static let limits = [4_000_000, 8_000_000, 80_000_000]

    @Test("A limited address space takes a smaller map", arguments: limits)
    func addressSpace(kibibytes: Int) throws {
        let result = try Child.shell(
            """
            cd \(place.path); ulimit -v \(kibibytes)
            $VARVE backup disk.img --volume d && $VARVE restore d@2 out && cmp out disk.img
            """, in: place)
        #expect(result.status == 0, "\(result.errors)")
    }

    @Test(
        "A full cache directory ends nothing by a signal",
        .enabled(if: geteuid() == 0, "needs root"))
    func fullDirectory() throws {
        for size in ["64k", "300k", "1m"] {
            let result = try Child.shell(
                """
                cd \(place.path); mkdir full; export VARVE_CACHE_DIR=$PWD/full
                unshare -m bash -uc '
                    mount -t tmpfs -o size=\(size) tmpfs full
                    $VARVE snapshots >/dev/null 2>&1
                    cat /dev/zero > full/fill 2>/dev/null
                    rm -f out; $VARVE restore d@1 out --quiet && cmp out disk.img; echo restore $?
                    $VARVE check --quiet; echo check $?
                    $VARVE backup disk.img --volume n; echo backup $?'
                rmdir full
                """, in: place)
            #expect(result.output.contains("restore 0\n"), "\(size): \(result.errors)")
            #expect(result.output.contains("check 0\n"), "\(size): \(result.errors)")
            #expect(result.output.contains("backup 1\n"), "\(size): \(result.errors)")
            #expect(result.errors.contains("\(place.path)/full/"))
            #expect(result.errors.contains("No space left"), "\(size): \(result.errors)")
        }
        let check = try Child.run(["check"], in: place)
        #expect(check.status == 0, "\(check.output)\(check.errors)")
    }

    @Test(
        "A repository on a full disk is read all the same",
        .enabled(if: getuid() == 0, "mounting needs root"))
    func fullRepository() throws {
        let result = try Child.shell(
            """
            cd \(place.path); mkdir full
            unshare -m bash -uc '
                mount -t tmpfs -o size=64m tmpfs full
                cp -r repository full/ && rm -f full/repository/reserve; cat /dev/zero >full/fill 2>/dev/null
                export VARVE_REPOSITORY=$PWD/full/repository
                rm -f out; $VARVE restore d@1 out --quiet && cmp out disk.img; echo restore $?
                $VARVE check --quiet; echo check $?
                $VARVE diff d@1 d@1; echo diff $?
                $VARVE backup disk.img --volume d; echo backup $?'
            rmdir full
            """, in: place)
        for line in ["restore 0", "check 0", "diff 0", "backup 1"] {
            #expect(result.output.contains("\(line)\n"), "\(line): \(result)")
        }
    }
}

/// Pages of the index's file go back to an older version, are zeros, or the file goes away.
@Suite struct StalePageTests {
    private static let pageByteCount = 4096

    @Test("No page that a disk lost makes a snapshot that cannot be restored", arguments: [1, 2])
    func pages(age: Int) throws {
        let scratch = ScratchDirectory()
        let place = Place(scratch, path: scratch.path)
        #expect(try Child.run(["init", "--block-size", "4K"], in: place).status == 0)
        var generator = SeededGenerator(seed: 6)
        var image = Data(generator.bytes(900_000))
        var indexes: [Data] = []
        var images: [Data] = []
        func path() throws -> String {
            let found = try Child.shell("echo \(place.cache)/*/index.mdb", in: place).output
            return String(found.dropLast())
        }
        for _ in 0..<4 {
            for _ in 0..<5 {
                let start = Int(generator.next() % 800_000)
                image.replaceSubrange(start..<start + 9000, with: generator.bytes(9000))
            }
            let file = try place.write(image, to: "disk.img")
            #expect(try Child.run(["backup", file, "--volume", "d"], in: place).status == 0)
            images.append(image)
            indexes.append(try Data(contentsOf: URL(fileURLWithPath: try path())))
        }
        let saved = try Child.shell("cp -r \(place.repository) \(place.path)/saved", in: place)
        #expect(saved.status == 0)
        let (old, new) = (indexes[3 - age], indexes[3])
        for start in stride(from: 0, to: old.count, by: Self.pageByteCount) {
            let range = start..<start + Self.pageByteCount
            guard old[range] != new[range] else { continue }
            var stale = new
            stale.replaceSubrange(range, with: old[range])
            _ = try Child.shell(
                "rm -rf \(place.repository); cp -r \(place.path)/saved \(place.repository)",
                in: place)
            let index = try path()
            try stale.write(to: URL(fileURLWithPath: index))
            // What was there before: a stale fingerprint calls that unchanged.
            let file = try place.write(images[3 - age], to: "disk.img")
            var backup = try Child.run(["backup", file, "--volume", "d"], in: place)
            // LMDB gives up on pages that do not fit together; the next command has a new index.
            if backup.status != 0 {
                backup = try Child.run(["backup", file, "--volume", "d"], in: place)
            }
            #expect(backup.status == 0, "page \(start / 4096): \(backup.errors)")
            let proof = try Child.shell(
                """
                export VARVE_CACHE_DIR=\(place.path)/fresh; rm -rf $VARVE_CACHE_DIR \(place.path)/out
                $VARVE check && $VARVE restore d@latest \(place.path)/out --quiet
                """, in: place)
            #expect(proof.status == 0, "page \(start / 4096): \(proof.output)\(proof.errors)")
            #expect(try place.read("out") == images[3 - age], "page \(start / 4096)")
        }
    }

    @Test(
        "An index that goes away, or becomes another, under a backup harms nothing",
        .timeLimit(.minutes(60)))
    func replaced() throws {
        let scratch = ScratchDirectory()
        let place = Place(scratch, path: scratch.path)
        #expect(try Child.run(["init"], in: place).status == 0)
        var generator = SeededGenerator(seed: 7)
        for change in ["rm -f $i", "cp -f $old $i", "cat $old > $i", ": > $i", "mv $old $i"] {
            let image = Data(generator.bytes(3_000_000))
            let file = try place.write(image, to: "disk.img")
            // The change comes while the backup waits for the rest of its stream.
            let result = try Child.shell(
                """
                cd \(place.path); $VARVE backup disk.img --volume d --same-volume --quiet
                i=$(echo \(place.cache)/*/index.mdb); old=$PWD/old.mdb
                cp $i $old
                $VARVE backup disk.img --volume e --same-volume --quiet
                mkfifo pipe
                $VARVE backup - --volume s --quiet < pipe 2>errors &
                exec 3>pipe
                head -c 1500000 disk.img >&3; \(change)
                tail -c +1500001 disk.img >&3 2>>errors; exec 3>&-; wait $!; rm -f pipe
                VARVE_CACHE_DIR=$PWD/fresh; export VARVE_CACHE_DIR
                rm -rf $VARVE_CACHE_DIR; $VARVE check
                """, in: place)
            #expect(result.status == 0, "\(change): \(result.output)\(result.errors) \(file)")
        }
    }
}

extension IndexPlaceTests {
    @Test("A check of all data takes back what a repair said of blocks that are there again")
    func takenBack() throws {
        let result = try Child.shell(
            """
            cd \(place.path); p=$(find repository/packs -type f | head -1)
            cp -p $p good; chmod u+w $p
            printf x | dd of=$p bs=1 seek=2000 conv=notrunc status=none
            $VARVE repair --quiet; echo repair $?
            find repository/notes -type f | wc -l
            cp -p good $p
            $VARVE check --read-data --quiet; echo check $?
            find repository/notes -type f | wc -l
            """, in: place)
        let lines = result.output.split(separator: "\n").map(String.init)
        #expect(
            lines.suffix(4) == ["repair 13", "1", "check 0", "0"],
            "\(result.output)\(result.errors)")
    }
}
