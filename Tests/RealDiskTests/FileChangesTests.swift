import Foundation
import Testing

extension MachinesInTurn {
    /// Files across snapshots of a file system that the kernel changes, compared with what it shows.
    @Suite("Files of a changing disk", .needsRoot)
    struct FileChangesTests {
        /// What a file is known by: kind, size, time, mode, owner, digest.
        private typealias Manifest = [String: [Substring]]

        @Test(
            "diff, find and history tell of what was changed at random, and of nothing else",
            .timeLimit(.minutes(60)), arguments: ["", "-I 128 -O ^64bit", "-b 1024 -O bigalloc"])
        func changes(options: String) async throws {
            let scratch = try Scratch()
            let image = scratch.file("disk.img")
            try await scratch.varve("init", "--block-size", "16K")
            try await scratch.require(
                "bash", "-euc",
                "truncate -s 200M \(image); mkfs.ext4 -q \(options) \(image)")
            var manifests: [Manifest] = []
            for round in 0..<5 {
                manifests.append(try await change(image, round, scratch))
                try await scratch.varve("backup", image, "--volume", "d")
                guard round > 0 else { continue }
                let output = try await scratch.varve(
                    "diff", "--files", "d@\(round)", "d@\(round + 1)", "--json")
                try compare(output, manifests[round - 1], manifests[round], round)
            }
            try await expectVersions(manifests, scratch)
        }

        /// Changes files by their names, at random, through a mount; gives what is there then.
        private func change(
            _ image: String,
            _ round: Int,
            _ scratch: Scratch
        ) async throws -> Manifest {
            let output = try await scratch.require(
                "bash", "-euc",
                """
                RANDOM=$((\(round) * 7 + 5))
                mkdir -p \(scratch.file("at"))
                mount -o loop \(image) \(scratch.file("at"))
                trap 'cd /; umount \(scratch.file("at"))' EXIT
                cd \(scratch.file("at"))
                for i in $(seq 30); do mkdir -p d$((RANDOM % 20))/e$((RANDOM % 3)); done
                some() { find . -mindepth 1 -type "$1" -not -name lost+found | sort | shuf -n "$2" --random-source=<(yes \(round)); }
                for i in $(seq 40); do
                    seq $RANDOM >"$(some d 300 | sed -n $((RANDOM % 20 + 1))p)/f$RANDOM"
                done
                if [ \(round) -gt 0 ]; then
                    some f 8 | xargs rm
                    some f 8 | while read -r f; do echo more >>"$f"; done
                    some f 8 | while read -r f; do
                        printf ZZ | dd of="$f" bs=1 seek=3 conv=notrunc status=none
                    done
                    some f 5 | xargs chmod 640
                    some f 5 | xargs setfattr -n user.round -v \(round)
                    some f 4 | while read -r f; do mv "$f" "$f.m\(round)"; done
                    some f 3 | while read -r f; do ln "$f" "$f.l\(round)"; done
                    some f 3 | while read -r f; do rm "$f"; mkdir "$f"; done
                    some d 2 | tail -1 | xargs rm -r
                fi
                find . -mindepth 1 -not -name lost+found -type d -printf '%P\\td\\t0\\t0\\t%m\\t%U\\n'
                find . -type f -printf '%P\\tf\\t%s\\t%T@\\t%m\\t%U\\t' -exec sh -c \\
                    'md5sum <"$1"' _ {} \\;
                sync -f .
                """)
            var manifest: Manifest = [:]
            for line in output.split(separator: "\n") {
                let fields = line.split(separator: "\t")
                manifest[String(fields[0])] = Array(fields.dropFirst())
            }
            try #require(manifest.count > 30)
            return manifest
        }

        private static let decoder = {
            let decoder = JSONDecoder()
            decoder.keyDecodingStrategy = .convertFromSnakeCase
            return decoder
        }()

        private struct Change: Decodable {
            let messageType: String
            let change: String?
            let path: String?
            let oldPath: String?
        }

        private func compare(
            _ output: String,
            _ before: Manifest,
            _ after: Manifest,
            _ round: Int
        ) throws {
            var told: [String: Set<String>] = [:]
            for line in output.split(separator: "\n") {
                let change = try Self.decoder.decode(Change.self, from: Data(line.utf8))
                guard let kind = change.change, let path = change.path else { continue }
                if kind == "renamed", let old = change.oldPath {
                    told["removed", default: []].insert(String(old.dropFirst()))
                    told["added", default: []].insert(String(path.dropFirst()))
                } else {
                    told[kind, default: []].insert(String(path.dropFirst()))
                }
            }
            let added = Set(after.keys).subtracting(before.keys)
            let removed = Set(before.keys).subtracting(after.keys)
            // A name that one file had and another has then is changed, or lost and won.
            let swapped = told["added", default: []].intersection(told["removed", default: []])
            for (kind, paths) in [("added", added), ("removed", removed)] {
                let difference = told[kind, default: []].subtracting(swapped)
                    .symmetricDifference(paths)
                #expect(difference.isEmpty, "\(kind) in round \(round)")
            }
            let touched = told["modified", default: []].union(swapped)
            for (path, facts) in after {
                guard let old = before[path] else { continue }
                let isDirectory = facts[0] == "d" && old[0] == "d"
                let isOther = facts != old && !isDirectory
                if isOther {
                    #expect(
                        touched.contains(path) || told["metadata", default: []].contains(path),
                        "\(path) of round \(round)")
                } else {
                    #expect(!touched.contains(path), "\(path) of round \(round)")
                }
            }
        }

        private struct Version: Decodable {
            let path: String
            let state: String
            let firstGeneration: Int
            let lastGeneration: Int
            let size: Int?
        }

        /// What find and history say of each file in each snapshot is what was there.
        private func expectVersions(_ manifests: [Manifest], _ scratch: Scratch) async throws {
            let found = try await scratch.varve("find", "d", "f*", "--json").split(separator: "\n")
                .map { try Self.decoder.decode(Version.self, from: Data($0.utf8)) }
            for (position, manifest) in manifests.enumerated() {
                let there = found.filter {
                    ($0.firstGeneration...$0.lastGeneration).contains(position + 1)
                }
                let names = Set(
                    manifest.keys.filter { $0.split(separator: "/").last?.first == "f" })
                #expect(Set(there.map { String($0.path.dropFirst()) }) == names)
                #expect(there.count == names.count)
                for version in there {
                    let facts = try #require(manifest[String(version.path.dropFirst())])
                    if facts[0] == "f" { #expect(version.size == Int(facts[1]), "\(version.path)") }
                }
            }
            for path in manifests[0].keys.filter({ $0.contains("/f") }).sorted().prefix(12) {
                let lines = try await scratch.varve("history", "d:/\(path)", "--json")
                    .split(separator: "\n")
                    .map { try Self.decoder.decode(Version.self, from: Data($0.utf8)) }
                #expect(lines.first?.firstGeneration == 1 && lines.last?.lastGeneration == 5)
                for version in lines {
                    for generation in version.firstGeneration...version.lastGeneration {
                        let facts = manifests[generation - 1][path]
                        #expect((version.state == "present") == (facts != nil), "\(path)")
                        if let facts, facts[0] == "f" {
                            #expect(version.size == Int(facts[1]), "\(path)")
                        }
                    }
                }
            }
        }

        @Test(
            "The files of a snapshot are mounted without a trace of how",
            .timeLimit(.minutes(60)), arguments: ["ext4", "ext2"])
        func mounted(type: String) async throws {
            let scratch = try Scratch()
            try await scratch.varve("init")
            let result = try await scratch.run(
                "bash", "-euc",
                """
                cd \(scratch.file("."))
                mkdir tree at; cp -a /etc/skel tree/; echo kept >tree/file; seq 100000 >tree/long
                truncate -s 64M disk.img; mke2fs -q -t \(type) -d tree disk.img
                # As if it had been in use: the journal is not to be replayed.
                [ \(type) != ext4 ] || debugfs -w -R 'feature needs_recovery' disk.img 2>/dev/null
                $VARVE backup disk.img --volume d -q
                losetup -nO BACK-FILE -l >before || true
                $VARVE mount --files d@1 at -q & p=$!
                for i in $(seq 300); do [ ! -e at/file ] || break; sleep 0.1; done
                rsync -nac --delete --exclude /lost+found tree/ at/ -i | grep -v ' \\./$' && exit 3
                device=$(grep " $PWD/at " /proc/self/mountinfo | sed 's/.* - [^ ]* \\([^ ]*\\) .*/\\1/')
                ! flock -n "$device" true
                ! touch at/new 2>/dev/null
                ! grep fuse.varve /proc/self/mountinfo
                kill -INT $p; wait $p
                ! grep " $PWD/at " /proc/self/mountinfo
                # Unmounted by another: it ends by itself, and the device is free again.
                $VARVE mount --files d@1 at -q & p=$!
                for i in $(seq 300); do [ ! -e at/file ] || break; sleep 0.1; done
                umount at; wait $p
                for i in $(seq 100); do losetup -a | grep -q '(/image)' || break; sleep 0.1; done
                ! losetup -a | grep '(/image)'
                """)
            #expect(result.status == 0, "\(result)")
        }
    }
}
