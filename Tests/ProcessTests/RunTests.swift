import Foundation
import LMDB
import LinuxIO
import SimulationSupport
import TestKit
import Testing

/// Jobs of a configuration, run by the program.
@Suite(.serialized) struct RunTests {
    private static func configuration(_ place: Place, more: String = "") -> String {
        """
        [repositories.main]
        path = "\(place.path)/repository"
        [jobs.sys]
        repository = "main"
        volumes.a = { source = "\(place.path)/a" }
        volumes.b = { source = "\(place.path)/b" }
        keep = { last = 2 }
        prune = { every = "0", max-unused = "0%" }
        check = { every = "1d", read-data = "100%" }
        [jobs.sys.hooks]
        before = ["/bin/sh", "-c", "echo before $VARVE_JOB >>\(place.path)/log"]
        after = ["/bin/sh", "-c", "echo after >>\(place.path)/log"]
        on-failure = ["/bin/sh", "-c", "echo failure: $VARVE_REASON >>\(place.path)/log"]
        time-limit = "2s"
        [jobs.sys.alarm]
        max-age = "1h"
        command = ["/bin/sh", "-c", "cat >>\(place.path)/alarms; echo >>\(place.path)/alarms"]
        [metrics]
        textfile = "\(place.path)/metrics/varve.prom"
        \(more)
        """
    }

    @Test("A job backs up, forgets, prunes, checks, tells and records", .timeLimit(.minutes(60)))
    func whole() throws {
        let scratch = ScratchDirectory()
        let place = Place(scratch, path: scratch.path)
        #expect(try Child.run(["init"], in: place).status == 0)
        try Directory.makeAll(place.path + "/metrics")
        try Self.configuration(place).write(
            toFile: place.path + "/varve.toml", atomically: true, encoding: .utf8)
        let script = try Child.text(of: "RunTests/whole")
        let result = try Child.shell(script, in: place)
        #expect(result.status == 0, "\(result.status): \(result.output) \(result.errors)")
    }

    @Test(
        "A volume that cannot be captured or tracked keeps neither the others nor their upkeep from being done"
    )
    func partial() throws {
        let scratch = ScratchDirectory()
        let place = Place(scratch, path: scratch.path)
        #expect(try Child.run(["init"], in: place).status == 0)
        let configuration = """
            [repositories.main]
            path = "\(place.repository)"
            [jobs.j]
            repository = "main"
            volumes.a = { source = "\(place.path)/a" }
            volumes.gone = { source = "\(place.path)/gone", track = true, store = "/nowhere" }
            volumes.untracked = { source = "\(place.path)/b", track = true, store = "/nowhere" }
            keep = { last = 1 }
            check = { every = "0", read-data = "100%" }
            [jobs.j.hooks]
            after = ["/bin/sh", "-c", "echo after >>\(place.path)/log"]
            on-failure = ["/bin/sh", "-c", "echo failure: $VARVE_REASON >>\(place.path)/log"]
            """
        _ = try place.write(Data(configuration.utf8), to: "varve.toml")
        let script = try Child.text(of: "RunTests/partial")
        let result = try Child.shell(script, in: place)
        #expect(result.status == 0, "\(result.status): \(result.output) \(result.errors)")
    }

    @Test(
        "What others can change is used by no command: configuration, hook, index, states, stores")
    func trust() throws {
        let scratch = ScratchDirectory()
        let place = Place(scratch, path: scratch.path)
        #expect(try Child.run(["init"], in: place).status == 0)
        let configuration = """
            [repositories.main]
            path = "\(place.repository)"
            [jobs.j]
            repository = "main"
            volumes.a = { source = "\(place.path)/a" }
            hooks = { before = ["\(place.path)/hooks/before"] }
            alarm = { command = ["/bin/sh", "\(place.path)/hooks/alarm"] }
            """
        _ = try place.write(Data(configuration.utf8), to: "varve.toml")
        let script = try Child.text(of: "RunTests/trust")
        let result = try Child.shell(script, in: place)
        #expect(result.status == 0, "\(result.status): \(result.output) \(result.errors)")
    }

    @Test("A job with a rotten index rebuilds it, and backs up in the same run")
    func rottenIndex() throws {
        let scratch = ScratchDirectory()
        let place = Place(scratch, path: scratch.path)
        #expect(try Child.run(["init"], in: place).status == 0)
        var image = Data((0..<500_000).map { UInt8(truncatingIfNeeded: $0 &* $0 / 77) })
        let source = try place.write(image, to: "image")
        let configuration = """
            [repositories.main]
            path = "\(place.repository)"
            [jobs.j]
            repository = "main"
            volumes.v = { source = "\(source)" }
            """
        let file = try place.write(Data(configuration.utf8), to: "varve.toml")
        #expect(try Child.run(["run", "--config", file], in: place).status == 0)
        let index = try #require(
            FileManager.default.enumerator(atPath: place.cache)?.allObjects
                .compactMap { $0 as? String }.first { $0.hasSuffix("/index.mdb") })
        try rotNumbers("\(place.cache)/\(index)")
        image[1000] ^= 1
        _ = try place.write(image, to: "image")
        let run = try Child.run(["run", "--config", file], in: place)
        #expect(run.status == 0, "\(run)")
        #expect(run.errors.contains("rebuilding the index"), "\(run)")
        #expect(try Child.run(["check", "--read-data"], in: place).status == 0)
        #expect(try Child.run(["restore", "v@2", place.path + "/out"], in: place).status == 0)
        #expect(try place.read("out") == image)
    }

    /// Changes a byte of the first row of `numbers`, as a disk may.
    private func rotNumbers(_ path: String) throws {
        let environment = try Environment(path: path, tableLimit: 20)
        try environment.write { transaction in
            let table = try transaction.table("numbers")
            let key = Key().appending(UInt64(0))
            var row = try #require(
                try transaction.value(in: table, for: key) { row in
                    row.withUnsafeBytes { Array($0) }
                })
            row[100] ^= 4
            try transaction.put(row.span.bytes, in: table, for: key)
        }
    }

    @Test("A hook that fails keeps the job from being done; one that hangs is ended")
    func hooks() throws {
        let scratch = ScratchDirectory()
        let place = Place(scratch, path: scratch.path)
        #expect(try Child.run(["init"], in: place).status == 0)
        let script = """
            cd \(place.path)
            export VARVE_CONFIG=$PWD/varve.toml VARVE_STATE_DIR=$PWD/state
            head -c 100000 /dev/urandom >a
            pids() {
                for p in /proc/[0-9]*; do
                    [ "$(tr '\\0' ' ' 2>/dev/null <$p/cmdline)" != "$1 " ] || echo ${p#/proc/}
                done
            }
            await() { # until a command is true
                for i in $(seq 1200); do ! "$@" || return 0; sleep 0.05; done
                echo "waited too long for: $*"; exit 40
            }
            is_gone() { [ -z "$(pids "$1")" ]; }
            write() { # time limit, hook before, hook after
                printf '[repositories.m]\\npath = "%s"\\n[jobs.j]\\nrepository = "m"\\n' \
                    $PWD/repository >varve.toml
                printf 'volumes.a = { source = "%s" }\\n[jobs.j.hooks]\\ntime-limit = "%s"\\n' \
                    $PWD/a $1 >>varve.toml
                printf 'before = ["/bin/sh", "-c", "%s"]\\n' "$2" >>varve.toml
                [ -z "${3:-}" ] || printf 'after = ["/bin/sh", "-c", "%s"]\\n' "$3" >>varve.toml
            }
            write 1m 'exit 7'
            "$VARVE" run -q 2>errors && exit 3
            grep -q 'status 7' errors || { cat errors; exit 4; }
            write 1s 'sleep 100'
            "$VARVE" run -q 2>errors && exit 5
            grep -q 'took longer than 1 s' errors || { cat errors; exit 6; }
            [ -z "$("$VARVE" snapshots -q)" ] || exit 7
            # The second of two at once is left out.
            write 1m "touch $PWD/began; until [ -e $PWD/go ]; do sleep 0.05; done"
            "$VARVE" run -q & p=$!
            await [ -e began ]
            "$VARVE" run -q 2>errors; [ $? = 11 ] || { cat errors; exit 8; }
            grep -q 'already running' errors || exit 9
            touch go
            wait $p || exit 10
            # A run that is killed keeps what it had done, and is told of.
            write 1m 'exit 0' "touch $PWD/after; exec sleep 60"
            "$VARVE" run -q & p=$!
            await [ -e after ]
            kill -9 $p; wait $p
            pids 'sleep 60' | xargs -r kill -9
            "$VARVE" status >status && exit 20
            grep -q 'was killed' status || { cat status; exit 21; }
            grep -q 'a@2' status || { cat status; exit 22; }
            # One that is interrupted takes back what its hooks began.
            write 1m 'exit 0' "touch $PWD/later; exec sleep 60"
            echo "on-failure = ["'"/bin/sh", "-c", "echo back >'$PWD'/back"]' >>varve.toml
            "$VARVE" run -q 2>errors & p=$!
            await [ -e later ]
            kill $p; wait $p; [ $? = 130 ] || { cat errors; exit 23; }
            [ "$(cat back)" = back ] || exit 24
            # What a hook left behind does not outlive its time.
            write 1s "trap '' TERM; sleep 61 & sleep 62"
            "$VARVE" run -q 2>errors && exit 25
            await is_gone 'sleep 61'; await is_gone 'sleep 62'
            # What one job sets is not there for the next.
            printf '[repositories.m]\\npath = "%s"\\n' $PWD/repository >varve.toml
            for job in p1 p2; do
                printf '[jobs.%s]\\nrepository = "m"\\nvolumes.%s = { source = "%s" }\\n' $job $job $PWD/a
                printf 'hooks.before = ["/bin/sh", "-c", "echo %s $(nice) $TZ >>%s"]\\n' $job $PWD/seen
                [ $job = p2 ] || printf 'limits.nice = 15\\nkeep = { last = 9, time-zone = "Pacific/Auckland" }\\n'
            done >>varve.toml
            "$VARVE" run -q || exit 27
            if [ "$(id -u)" = 0 ]; then
                [ "$(tail -n 1 seen)" = "p2 $(nice) ${TZ:-}" ] || [ "$(tail -n 1 seen)" = "p2 $(nice)" ] ||
                    { cat seen; exit 28; }
            fi
            "$VARVE" run nothing 2>/dev/null; [ $? = 2 ] || exit 11
            "$VARVE" config example >varve.toml && "$VARVE" config check -q || exit 12
            echo 'x = ' >>varve.toml
            "$VARVE" config check -q 2>errors; [ $? = 2 ] || exit 13
            grep -q "varve.toml:[0-9]*: " errors || exit 14
            """
        let result = try Child.shell(script, in: place)
        #expect(result.status == 0, "\(result.status): \(result.output) \(result.errors)")
    }
}
