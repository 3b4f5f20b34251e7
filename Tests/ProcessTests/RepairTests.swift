import Foundation
import LMDB
import SimulationSupport
import TestKit
import Testing

/// `varve repair` as a user runs it, on a repository whose files were lost.
@Suite(.serialized) struct RepairTests {
    private let place: Place
    private let images: [Data]

    /// A volume of four snapshots.
    init() throws {
        let scratch = ScratchDirectory()
        place = Place(scratch, path: scratch.path)
        #expect(try Child.run(["init"], in: place).status == 0)
        var generator = SeededGenerator(seed: 5)
        var bytes = Data(generator.bytes(500_000))
        var images: [Data] = []
        for number in 0..<4 {
            bytes.replaceSubrange(
                number * 100_000..<number * 100_000 + 70_000, with: generator.bytes(70_000))
            images.append(bytes)
            let image = try place.write(bytes, to: "image\(number + 1)")
            let result = try Child.run(
                ["backup", image, "--volume", "d", "--same-volume"], in: place)
            #expect(result.status == 0, "\(result.errors)")
        }
        self.images = images
    }

    private func varve(_ arguments: String...) throws -> Child.Result {
        try Child.run(arguments, in: place)
    }

    private func summary(_ output: String) throws -> [String: Any] {
        let last = try #require(output.split(separator: "\n").last)
        return try #require(
            try JSONSerialization.jsonObject(with: Data(last.utf8)) as? [String: Any])
    }

    private func names(_ directory: String) throws -> [String] {
        try FileManager.default.subpathsOfDirectory(atPath: place.repository + "/" + directory)
            .filter { $0.split(separator: "/").last?.contains(".") == true || directory == "packs" }
            .map { directory + "/" + $0 }.sorted()
    }

    private func remove(_ name: String) throws {
        try FileManager.default.removeItem(atPath: place.repository + "/" + name)
    }

    private func expectWhole(_ generations: [Int]) throws {
        #expect(try varve("snapshots").status == 0)
        #expect(try varve("check", "--read-data").output.hasPrefix("no damage"))
        for generation in generations {
            try? FileManager.default.removeItem(atPath: place.path + "/out")
            #expect(try varve("restore", "d@\(generation)", place.path + "/out").status == 0)
            #expect(try place.read("out") == images[generation - 1])
        }
    }

    @Test("A lost delta comes back from the index, and nothing is said where nothing is lost")
    func delta() throws {
        #expect(try varve("repair").output == "nothing is lost\n")
        let delta = try #require(try names("volumes").first { $0.contains("000000000001-") })
        try remove(delta)
        #expect(try varve("snapshots").status == 13)
        #expect(try varve("prune").status == 13)
        let result = try varve("repair", "--json")
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output.contains(#""from":"index""#))
        #expect(try summary(result.output)["snapshots_mended"] as? Int == 1)
        try expectWhole([1, 2, 3, 4])
    }

    @Test("An inconsistent index is rebuilt")
    func index() throws {
        let names = try FileManager.default.contentsOfDirectory(atPath: place.cache)
        let directory = try #require(names.first { $0.count == 32 })
        do {
            let environment = try Environment(
                path: "\(place.cache)/\(directory)/index.mdb", tableLimit: 17)
            try environment.write { try $0.clear(try $0.table("history")) }
        }
        let result = try varve("restore", "d@2", place.path + "/two")
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.errors.contains("rebuilding the index"))
        #expect(try varve("repair").output == "nothing is lost\n")
        try expectWhole([1, 2, 3, 4])
    }

    @Test("Blocks of a lost pack are marked as lacking, until a disk that has them is named")
    func pack() throws {
        let packs = try names("packs").filter { $0.split(separator: "/").count == 3 }
        for pack in packs { try remove(pack) }
        let result = try varve("repair", "--json", "--from", place.path + "/image4")
        #expect(result.status == 13)
        let left = try summary(result.output)
        #expect((left["blocks_mended"] as? Int ?? 0) > 0)
        #expect(left["snapshots_lacking_blocks"] as? Int == 3)
        let listing = try varve("snapshots")
        #expect(listing.status == 13)
        #expect(listing.output.split(separator: "\n").count { $0.contains("LACKS-BLOCKS") } == 3)
        #expect(try varve("restore", "d@4", place.path + "/four").status == 0)
        #expect(try varve("restore", "d@1", place.path + "/one").status == 13)
        var arguments = ["repair"]
        for number in 1...3 { arguments += ["--from", place.path + "/image\(number)"] }
        let second = try Child.run(arguments, in: place)
        #expect(second.status == 0, "\(second.errors)")
        #expect(second.output.hasSuffix("every snapshot can be restored\n"), "\(second.output)")
        try expectWhole([1, 2, 3, 4])
    }

    @Test("Another repository gives back what is lost here; a wrong one is refused")
    func otherRepository() throws {
        let other = place.path + "/other"
        #expect(try varve("init", "-r", other).status == 0)
        #expect(try varve("copy", "-r", other, "--from-repo", place.repository).status == 0)
        for name in try names("packs").filter({ $0.split(separator: "/").count == 3 }) {
            try remove(name)
        }
        for name in try names("volumes") where !name.contains("newest") { try remove(name) }
        try FileManager.default.removeItem(atPath: place.cache)
        #expect(try varve("repair", "--from-repo", place.path + "/nothing").status == 10)
        #expect(try varve("init", "-r", place.path + "/small", "--block-size", "4K").status == 0)
        #expect(try varve("repair", "--from-repo", place.path + "/small").status == 1)
        #expect(try varve("repair", "--from", place.path + "/nothing").status == 1)
        // The marker tells of the newest only, and of that the other has all.
        let result = try varve("repair", "--from-repo", other)
        #expect(result.status == 0, "\(result.errors) \(result.output)")
        try expectWhole([4])
        #expect(try varve("copy", "--from-repo", other).status == 0)
        try expectWhole([1, 2, 3, 4])
    }

    @Test("What nothing knows any more is given up by word only")
    func givenUp() throws {
        let delta = try #require(try names("volumes").first { $0.contains("000000000002-") })
        try remove(delta)
        try FileManager.default.removeItem(atPath: place.cache)
        let result = try varve("repair")
        #expect(result.status == 13)
        #expect(result.errors.contains("--forget-lost"), "\(result.errors)")
        #expect(result.output.contains("d@3: lost"))
        #expect(try varve("snapshots").status == 13)
        #expect(try varve("repair", "--forget-lost").status == 0)
        try expectWhole([1, 2])
        let image = place.path + "/image2"
        #expect(try varve("backup", image, "--volume", "d", "--same-volume").status == 0)
        #expect(try varve("snapshots", "--json").output.contains(#""generation":5"#))
        #expect(try varve("prune").status == 0)
        try expectWhole([1, 2])
    }
}
