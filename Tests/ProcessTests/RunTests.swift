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
        let script = """
            cd \(place.path)
            export VARVE_CONFIG=$PWD/varve.toml VARVE_STATE_DIR=$PWD/state
            head -c 3000000 /dev/urandom >a; head -c 1000000 /dev/urandom >b
            "$VARVE" config check -q || exit 2
            "$VARVE" status >/dev/null && exit 3
            for i in 1 2 3 4; do
                dd if=/dev/urandom of=a bs=4096 count=100 seek=$((i * 100)) conv=notrunc status=none
                "$VARVE" run -q || exit 4
            done
            [ "$("$VARVE" snapshots a --json | grep -c '"message_type":"snapshot"')" = 2 ] || exit 5
            "$VARVE" status >status || { cat status; exit 6; }
            grep -q '^green  sys' status || { cat status; exit 7; }
            grep -q '^varve_job_healthy{job="sys"} 1$' metrics/varve.prom || exit 8
            grep -q '^varve_snapshot_generation{job="sys",volume="b"} 4$' metrics/varve.prom || exit 9
            [ "$(stat -c %a metrics/varve.prom)" = 644 ] || exit 10
            [ "$(cat log | tr '\\n' ' ' | cut -d' ' -f1-6)" = "before sys after before sys after" ] || exit 11
            # Two snapshots of a are some 3.4 MB; all four would be 4.6.
            [ "$(du -sk repository/packs | cut -f1)" -lt 4700 ] || exit 12
            # Trouble is told once, and that it is over.
            [ ! -e alarms ] || exit 13
            mv b gone
            "$VARVE" run -q 2>errors && exit 14
            "$VARVE" run -q 2>errors && exit 14
            grep -q "$PWD/b" errors || exit 15
            grep -q '^failure: .*b' log || exit 16
            "$VARVE" status >status && exit 17
            grep -q '^RED' status || exit 18
            [ "$(grep -c '"event":"trouble"' alarms)" = 1 ] || { cat alarms; exit 19; }
            grep -q '^varve_job_healthy{job="sys"} 0$' metrics/varve.prom || exit 20
            mv gone b
            "$VARVE" run -q || exit 21
            [ "$(grep -c '"event":"recovered"' alarms)" = 1 ] || exit 22
            # Silence: nothing ran for longer than is allowed.
            sed -i 's/"snapshotTime" : [0-9]*/"snapshotTime" : 1000000/' state/jobs/sys.json
            "$VARVE" status --notify -q && exit 23
            "$VARVE" status --notify -q && exit 23
            [ "$(grep -c 'the limit is' alarms)" = 1 ] || { cat alarms; exit 24; }
            "$VARVE" restore a@latest - -q | cmp - a || exit 25
            # A configuration that cannot be used is told, once, to those whom the last good one names.
            cp varve.toml good; echo 'x = ' >>varve.toml
            "$VARVE" status --notify -q 2>/dev/null; [ $? = 2 ] || exit 26
            "$VARVE" status --notify -q 2>/dev/null; [ $? = 2 ] || exit 26
            [ "$(grep -c 'varve.toml has 1 error' alarms)" = 1 ] || { cat alarms; exit 27; }
            mv good varve.toml
            # Metrics that cannot be written are no success.
            mv metrics elsewhere
            "$VARVE" run -q 2>errors; [ $? = 3 ] || exit 28
            grep -q 'metrics could not be written' errors || exit 29
            mv elsewhere metrics
            # What is damaged, or may not be read, is not said to have never been there.
            echo '{' >state/jobs/sys.json
            "$VARVE" status >status && exit 30
            grep -q 'is damaged' status || exit 31
            "$VARVE" run -q || exit 32
            # Neither are files that are none.
            mkdir folder; printf '\\377' >bytes; head -c 2000000 /dev/zero | tr '\\0' '#' >long
            for file in folder bytes long; do
                "$VARVE" config check --config $file -q 2>errors; [ $? = 2 ] || exit 33
            done
            """
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
        let script = """
            cd \(place.path)
            export VARVE_CONFIG=$PWD/varve.toml VARVE_STATE_DIR=$PWD/state
            head -c 300000 /dev/urandom >a; head -c 100000 /dev/urandom >b
            for i in 1 2; do
                "$VARVE" run >said 2>errors; [ $? = 3 ] || { cat said errors; exit 1; }
                grep -q "j backup a: a@$i" said || { cat said; exit 2; }
                # One that cannot be tracked is captured when it is at rest.
                grep -q "j backup untracked: untracked@$i" said || { cat said; exit 3; }
            done
            grep -q 'j forget a: kept 1, forgot 1' said || { cat said; exit 4; }
            grep -q 'j check: no damage' said || exit 5
            grep -q "1 of 3 volumes were not captured: gone: .*there is nothing at $PWD/gone" errors || exit 6
            grep -q 'untracked: .*is not a block device' errors || { cat errors; exit 7; }
            grep -q '^failure: ' log && ! grep -q after log || exit 8
            "$VARVE" status >said && exit 9
            grep -q '^RED' said || exit 10
            # When all fail nothing else is done.
            mv a a2; mv b b2
            "$VARVE" run >said 2>errors; [ $? = 1 ] || { cat errors; exit 11; }
            grep -q 'j check' said && exit 12
            # With all of them there, and none to be tracked, all is well.
            mv a2 a; mv b2 b; cp a gone
            sed -i 's/, track = true, store = "\\/nowhere"//' varve.toml
            "$VARVE" run >said 2>errors || { cat errors; exit 13; }
            grep -q after log || exit 14
            "$VARVE" status -q || exit 15
            """
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
        let script = """
            cd \(place.path)
            umask 022
            export VARVE_CONFIG=$PWD/varve.toml VARVE_STATE_DIR=$PWD/state
            export VARVE_CACHE_DIR=$PWD/cache
            head -c 300000 /dev/urandom >a; mkdir hooks state
            for hook in before alarm; do
                printf '#!/bin/sh\ntouch %s/ran-%s\n' "$PWD" $hook >hooks/$hook; chmod 755 hooks/$hook
            done
            "$VARVE" run -q || exit 1
            rm ran-before
            # refused STATUS WORDS COMMAND...
            refused() {
                local wanted=$1 words=$2; shift 2
                "$@" >said 2>&1; local status=$?
                [ $status = "$wanted" ] && grep -q "$words" said || { echo "$status $*"; cat said; exit 2; }
            }
            chmod 666 varve.toml
            for command in run status "config check" "schedule install --no-start --unit-directory units"; do
                refused 2 "$PWD/varve.toml has mode 666, so everybody" "$VARVE" $command
            done
            chmod 644 varve.toml
            chmod 777 hooks
            refused 2 "before is not used: $PWD/hooks has mode 777" "$VARVE" run
            chmod 755 hooks; chmod 757 hooks/alarm
            refused 2 "hooks/alarm has mode 757" "$VARVE" run
            chmod 755 hooks/alarm
            [ ! -e ran-before ] || exit 3
            chmod 707 cache; refused 2 "the index .*$PWD/cache has mode 707" "$VARVE" snapshots
            refused 2 "$PWD/cache has mode 707" "$VARVE" backup a
            chmod 700 cache
            chmod 707 state; refused 2 "the state directory .*$PWD/state has mode 707" "$VARVE" run
            refused 1 "$PWD/state has mode 707" "$VARVE" status
            refused 2 "$PWD/state has mode 707" "$VARVE" track status
            refused 2 "$PWD/state has mode 707" "$VARVE" trial status
            chmod 700 state
            unset VARVE_REPOSITORY
            echo "\(place.repository)" >file; export VARVE_REPOSITORY_FILE=$PWD/file
            "$VARVE" snapshots -q >said || exit 4
            chmod 646 file; refused 2 "$PWD/file has mode 646" "$VARVE" snapshots
            chmod 600 file
            if [ "$(id -u)" = 0 ]; then
                chown 54321 varve.toml; refused 2 "belongs to user 54321" "$VARVE" run
                chown 0 varve.toml; chown 54321 hooks; refused 2 "belongs to user 54321" "$VARVE" run
                chown 0 hooks
            fi
            "$VARVE" run -q || exit 5
            [ -e ran-before ] || exit 6
            """
        let result = try Child.shell(script, in: place)
        #expect(result.status == 0, "\(result.status): \(result.output) \(result.errors)")
    }

    @Test("A job whose index has rotted builds it anew, and backs up in the same run")
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
