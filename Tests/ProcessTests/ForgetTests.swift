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
        let script = try Child.text(of: "ForgetTests/beside")
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
        let script = try Child.text(of: "ForgetTests/prune")
        let result = try Child.shell(script, in: place)
        #expect(result.status == 0, "\(result.status): \(result.output) \(result.errors)")
    }
}
