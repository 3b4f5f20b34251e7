import BlockModel
import Repository
import RepositoryFormat
import RepositoryModel
import SimulationSupport
import TestKit
import Testing

/// What is recorded of snapshots that were started.
@Suite struct BootProofTests {
    private let lab: Lab
    private let store = MemoryStore()
    private let tip: Snapshot

    init() throws {
        lab = try Lab(store)
        try lab.capture(ImageModel(byteCount: 200_000, seed: 9).bytes)
        tip = try #require(lab.timeline().tip)
    }

    private func record(
        _ result: BootProof.Result,
        picture: [UInt8],
        seconds: Int64,
        seed: UInt64
    ) throws {
        let proof = BootProof(
            result: result, means: .loginPrompt, evidence: "login:", milliseconds: 9,
            firmware: .bios, machine: "QEMU", program: "0")
        try lab.repository.record(
            proof, picture: picture, on: tip.id, of: lab.volume,
            time: Timestamp(seconds: seconds), identifiers: SeededIdentifiers(seed: seed))
    }

    @Test("The latest record of a snapshot counts, with its picture, and makes no evidence doubted")
    func latest() throws {
        #expect(try lab.repository.standings(of: lab.volume).isEmpty)
        let picture = BootProof.pictureMagic + [UInt8](repeating: 7, count: 60_000)
        try record(.refused, picture: [], seconds: 100, seed: 1)
        try record(.proved, picture: picture, seconds: 90, seed: 2)
        let boot = try #require(lab.repository.standings(of: lab.volume)[tip.id]?.boot)
        #expect(boot.proof.result == .proved && boot.time == Timestamp(seconds: 90))
        #expect(try lab.repository.picture(of: boot) == picture)
        #expect(try lab.repository.distrust(of: lab.volume) == nil)
        #expect(try lab.check().findings.isEmpty)
    }

    @Test("A check finds a picture that is none, and a record whose bytes changed")
    func checked() throws {
        try record(.proved, picture: Array("GIF89a".utf8), seconds: 1, seed: 3)
        #expect(try lab.check().findings.count == 1)
        let name = try #require(store.objects.keys.first { $0.hasPrefix("notes/") })
        store.objects[name] = nil
        try record(.proved, picture: BootProof.pictureMagic, seconds: 1, seed: 3)
        #expect(try lab.check().findings.isEmpty)
        let last = try #require(store.objects[name]?.count) - 1
        store.objects[name]?[last] ^= 1
        #expect(try lab.check().findings.count == 1)
    }
}
