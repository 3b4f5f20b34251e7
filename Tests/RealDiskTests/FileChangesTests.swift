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
                "bash", Machine.script("change-files"), image, "\(round)")
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
                "bash", Machine.script("mount-files"), type)
            #expect(result.status == 0, "\(result)")
        }
    }
}
