import Foundation
import Hashing
import SimulationSupport
import Testing

/// Whole repositories that earlier versions wrote, one of each version of the format and each set of
/// features: every version reads them, as the README promises, and goes on with them.
///
/// `Golden/make-repository` made them, each once.
struct GoldenRepositoryTests {
    private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("Golden")

    /// Checksums and names of the snapshots of a golden repository.
    private static func sums(_ name: String) throws -> [(digest: String, snapshot: String)] {
        let text = try String(
            contentsOf: folder.appendingPathComponent("\(name).sums"), encoding: .utf8)
        return try text.split(separator: "\n").map { line in
            let fields = line.split(separator: " ").map(String.init)
            try #require(fields.count == 2)
            return (fields[0], fields[1])
        }
    }

    private static func digest(of path: String) throws -> String {
        let hash = SHA256()
        let bytes = try Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped)
        hash.update(bytes.span.bytes)
        let words = hash.finish()
        return [words.0, words.1, words.2, words.3]
            .map { String($0 >> 32, radix: 16).padded + String($0 & 0xFFFF_FFFF, radix: 16).padded }
            .joined()
    }

    @Test(
        "A repository of an earlier version is read whole, written to, forgotten from and pruned",
        arguments: ["format-1"])
    func golden(_ name: String) throws {
        let scratch = ScratchDirectory()
        let place = Place(scratch, path: scratch.path)
        let archive = Self.folder.appendingPathComponent("\(name).tar.gz").path
        let unpacked = try Child(
            ["-xzf", archive, "-C", place.path], in: place, program: "/usr/bin/tar"
        ).wait()
        #expect(unpacked.status == 0, "\(unpacked.errors)")
        try FileManager.default.moveItem(
            atPath: "\(place.path)/\(name)", toPath: place.repository)

        let sums = try Self.sums(name)
        #expect(try snapshots(place) == sums.map(\.snapshot))
        try expectSound(place)
        try expectRestores(sums, place)

        // And goes on: the newest is backed up again, and what is between the ends is forgotten.
        let (last, kept) = (try #require(sums.last { $0.snapshot.hasPrefix("disk@") }), "disk@1")
        let image = place.path + "/image"
        try varve(place, "restore", last.snapshot, image)
        try varve(place, "backup", image, "--volume", "disk", "--same-volume")
        let between = sums.map(\.snapshot).filter {
            $0.hasPrefix("disk@") && ![kept, last.snapshot, "disk@7"].contains($0)
        }
        try varve(place, ["forget", "--now"] + between)
        try varve(place, "prune", "--max-unused", "0")
        try expectSound(place)
        let left = sums.filter { !between.contains($0.snapshot) }
        let next = (digest: last.digest, snapshot: "disk@latest")
        try expectRestores(left + [next], place)
    }

    private func varve(_ place: Place, _ arguments: String...) throws {
        try varve(place, arguments)
    }

    private func varve(_ place: Place, _ arguments: [String]) throws {
        let result = try Child.run(arguments, in: place)
        try #require(result.status == 0, "\(arguments): \(result.output)\(result.errors)")
    }

    private func expectSound(_ place: Place) throws {
        try FileManager.default.removeItem(atPath: place.cache)
        try varve(place, "check", "--read-data")
    }

    private func snapshots(_ place: Place) throws -> [String] {
        let listed = try Child.run(["snapshots", "--json"], in: place)
        #expect(listed.status == 0, "\(listed.errors)")
        return try listed.output.split(separator: "\n").map { line in
            let row = try #require(
                try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
            return "\(try #require(row["volume"]))@\(try #require(row["generation"]))"
        }
    }

    private func expectRestores(
        _ sums: [(digest: String, snapshot: String)],
        _ place: Place
    ) throws {
        let target = place.path + "/restored"
        for (digest, snapshot) in sums {
            try varve(place, "restore", snapshot, target)
            #expect(try Self.digest(of: target) == digest, "\(snapshot)")
            try FileManager.default.removeItem(atPath: target)
        }
    }
}

extension String {
    /// Eight hexadecimal digits.
    fileprivate var padded: String { String(repeating: "0", count: 8 - count) + self }
}
