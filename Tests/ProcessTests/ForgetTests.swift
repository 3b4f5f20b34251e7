import Foundation
import SimulationSupport
import Testing

/// Retention on the command line.
@Suite(.serialized) struct ForgetTests {
    private let place: Place

    /// A volume of twelve snapshots.
    init() throws {
        let scratch = ScratchDirectory()
        place = Place(scratch, path: scratch.path)
        #expect(try Child.run(["init"], in: place).status == 0)
        for number in 1...12 {
            var bytes = Data(repeating: 7, count: 300_000)
            bytes[number * 20_000] = 8
            try bytes.write(to: URL(fileURLWithPath: place.path + "/image"))
            let result = try Child.run(
                ["backup", place.path + "/image", "--volume", "d", "-q"], in: place)
            #expect(result.status == 0, "\(result.errors)")
        }
    }

    private func varve(_ arguments: String...) throws -> Child.Result {
        try Child.run(arguments, in: place)
    }

    private func lines(_ output: String) throws -> [[String: Any]] {
        try output.split(separator: "\n").map {
            try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
        }
    }

    private func generations() throws -> [Int] {
        try lines(varve("snapshots", "--json").output).map {
            try #require($0["generation"] as? Int)
        }
    }

    @Test("A policy says why it keeps what it keeps, and what it forgets cannot be named any more")
    func policy() throws {
        #expect(try varve("protect", "d@3").status == 0)
        #expect(try varve("tag", "d@5", "d@6", "--add", "gold,old").status == 0)
        #expect(try varve("tag", "d@6", "--remove", "gold").output.contains("old"))
        let policy = ["--keep-last", "2", "--keep-tag", "gold", "--time-zone", "Europe/Berlin"]
        let trial = try Child.run(["forget", "--dry-run", "--json"] + policy, in: place)
        #expect(trial.status == 0, "\(trial.errors)")
        #expect(try generations() == Array(1...12))
        let result = try Child.run(["forget", "--json"] + policy, in: place)
        #expect(result.status == 0, "\(result.errors)")
        let lines = try lines(result.output)
        #expect(lines.count == 13)
        var reasons: [Int: [String]] = [:]
        for line in lines where line["keep"] as? Bool == true {
            reasons[try #require(line["generation"] as? Int)] = line["reasons"] as? [String]
        }
        #expect(
            reasons == [
                3: ["protected"], 5: ["tag gold"], 11: ["last"], 12: ["the newest", "last"],
            ])
        #expect(lines[12]["forgotten"] as? Int == 8)
        #expect(lines[12]["time_zone"] as? String == "Europe/Berlin")
        #expect(try generations() == [3, 5, 11, 12])
        for name in ["d@4", "d@1", "d@10"] {
            #expect(try varve("restore", name, place.path + "/x").status == 1, "\(name)")
        }
        #expect(try varve("forget", "--now").status == 0)
        let names = try FileManager.default.contentsOfDirectory(
            atPath: place.path + "/repository/volumes/d")
        #expect(names.count == 5, "\(names)")
        #expect(try varve("check", "--read-data").status == 0)
        for generation in [3, 5, 11, 12] {
            let target = place.path + "/out\(generation)"
            #expect(try varve("restore", "d@\(generation)", target).status == 0)
            let bytes = try Data(contentsOf: URL(fileURLWithPath: target))
            #expect(bytes.indices.filter { bytes[$0] == 8 } == [generation * 20_000])
        }
        #expect(try varve("backup", place.path + "/image", "--volume", "d").status == 0)
        #expect(try generations().last == 13)
    }

    @Test("What must not be forgotten is refused, and so is what makes no sense")
    func refusals() throws {
        #expect(try varve("protect", "d@3").status == 0)
        for arguments in [["d@3"], ["d@latest"], ["d@77"]] {
            #expect(try Child.run(["forget"] + arguments, in: place).status == 1, "\(arguments)")
        }
        #expect(try varve("tag", "d@1", "d@77", "--add", "x").status == 1)
        #expect(try varve("tag", "d@1", "--add", "a\nb").status == 2)
        #expect(try !varve("snapshots", "--json").output.contains("\"x\""))
        for limit in ["0", "0%"] {
            #expect(try varve("prune", "--dry-run", "--max-unused", limit).status == 0)
        }
        for arguments in [
            [], ["d@1", "--keep-last", "3"], ["--keep-last", "-1"], ["--keep-within", "3"],
            ["--keep-last", "1", "--time-zone", "Moon/Base"], ["--keep-last", "0"],
            ["--keep-tag", ","],
        ] {
            let result = try Child.run(["forget"] + arguments, in: place)
            #expect(result.status == 2, "\(arguments): \(result.errors)")
        }
        #expect(try varve("tag", "d@1").status == 2)
        #expect(try generations() == Array(1...12))
        #expect(try varve("forget", "d@2", "d@1", "d@2").status == 0)
        #expect(try generations() == Array(3...12))
    }
}

/// Others work on the repository while snapshots are forgotten.
@Suite(.serialized) struct ForgetBesideOthersTests {
    @Test(
        "Restores, checks and listings beside a forget that is killed and begun again never see damage",
        .timeLimit(.minutes(60)))
    func beside() throws {
        let scratch = ScratchDirectory()
        let place = Place(scratch, path: scratch.path)
        #expect(try Child.run(["init"], in: place).status == 0)
        let image = place.path + "/image"
        for number in 1...40 {
            var bytes = Data(repeating: 7, count: 2_000_000)
            bytes[number * 20_000] = 8
            try bytes.write(to: URL(fileURLWithPath: image))
            #expect(try Child.run(["backup", image, "--volume", "d", "-q"], in: place).status == 0)
        }
        let script = """
            cd \(place.path)
            forgetting() {
                for i in $(seq 2 39); do
                    "$VARVE" forget d@$i --now -q & p=$!
                    [ $((i % 4)) != 0 ] || { sleep 0.0$((i % 7)); kill -9 $p 2>/dev/null; }
                    wait $p 2>/dev/null
                done
                touch done
            }
            forgetting 2>/dev/null & f=$!
            n=0
            # Slow machines come round once while all is forgotten; then once more.
            while [ ! -e done ] || [ "$n" -lt 2 ]; do
                # Without the index of the last time, every other time.
                n=$((n + 1)); [ $((n % 2)) = 0 ] || rm -rf cache2
                export VARVE_CACHE_DIR=$PWD/cache2
                "$VARVE" restore d@latest - 2>errors | cmp - image || { cat errors; exit 3; }
                "$VARVE" check >report 2>&1 || { cat report; exit 4; }
                "$VARVE" snapshots -q >list 2>&1 || { cat list; exit 5; }
                case $((n % 3)) in
                    0) "$VARVE" stats --snapshots -q >list 2>&1 || { cat list; exit 10; } ;;
                    1) rm -rf copy; "$VARVE" init -r copy -q
                       "$VARVE" copy --from-repo repository -r copy -q >list 2>&1 ||
                           { cat list; exit 12; } ;;
                    2) "$VARVE" prune -n -q >list 2>&1 || { cat list; exit 11; } ;;
                esac
            done
            wait $f
            unset VARVE_CACHE_DIR; export VARVE_CACHE_DIR=\(place.cache)
            "$VARVE" forget --keep-last 1 --now -q
            "$VARVE" check --read-data >report 2>&1 || { cat report; exit 6; }
            "$VARVE" restore d@latest - -q | cmp - image || exit 7
            [ "$(ls repository/volumes/d | wc -l)" = 2 ] || exit 8
            """
        let result = try Child.shell(script, in: place)
        #expect(result.status == 0, "\(result.status): \(result.output) \(result.errors)")
    }

    @Test(
        "Prunes that are killed, beside backups and restores of two indexes, lose nothing",
        .timeLimit(.minutes(60)))
    func prune() throws {
        let scratch = ScratchDirectory()
        let place = Place(scratch, path: scratch.path)
        #expect(try Child.run(["init"], in: place).status == 0)
        let script = """
            cd \(place.path)
            head -c 3000000 /dev/urandom >image
            head -c 1000000 image >common
            # What another command holds is tried again.
            patiently() {
                while :; do
                    "$VARVE" "$@" 2>errors.$BASHPID; s=$?
                    [ $s = 11 ] || { [ $s = 0 ] || cat errors.$BASHPID; return $s; }
                    sleep 0.05
                done
            }
            other() {
                export VARVE_CACHE_DIR=$PWD/cache2
                while [ ! -e done ]; do
                    { cat common; head -c 500000 /dev/urandom; } >image2
                    patiently backup image2 --volume e -q || return 3
                    patiently restore e@latest - -q | cmp - image2 || return 4
                    patiently forget --volume e --keep-last 2 -q || return 5
                done
            }
            other & o=$!
            for i in $(seq 30); do
                dd if=/dev/urandom of=image bs=4096 count=40 seek=$((i * 17 % 600)) \\
                    conv=notrunc status=none
                patiently backup image --volume d -q || exit 6
                patiently forget --volume d --keep-last 2 --now -q || exit 7
                "$VARVE" prune --max-unused 0% -q 2>/dev/null & p=$!
                [ $((i % 3)) = 0 ] || { sleep 0.0$((i % 9)); kill -9 $p 2>/dev/null; }
                wait $p 2>/dev/null
                patiently restore d@latest - -q | cmp - image || exit 8
            done
            touch done
            wait $o || exit 9
            patiently prune --max-unused 0% --recount --json >report || exit 10
            grep -q '"packs_counted_wrong":[1-9]' report && { cat report; exit 11; }
            "$VARVE" check --read-data >report 2>&1 || { cat report; exit 12; }
            # Two snapshots of each, and little else.
            [ "$(du -sm repository/packs | cut -f1)" -lt 8 ] || exit 13
            [ -z "$(ls repository/pruning 2>/dev/null)" ] || exit 14
            """
        let result = try Child.shell(script, in: place)
        #expect(result.status == 0, "\(result.status): \(result.output) \(result.errors)")
    }
}
