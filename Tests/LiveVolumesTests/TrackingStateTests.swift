import BlockModel
import TestKit
import Testing

@testable import LiveVolumes

@Suite struct TrackingStateTests {
    private static let common = [
        ("device", "group-data"), ("sectors", "131072"), ("began", "1700000000"),
        ("boot", "0a1b"), ("view", "7"), ("view_began", "1700003600"), ("own_view", "7"),
        (
            "binding",
            String(repeating: "1", count: 32) + " disk " + String(repeating: "2", count: 64) + " 6"
        ),
    ]
    private static let mechanisms: [[(String, String)]] = [
        [("store", "directory:/var/stores"), ("store_bytes", "67108864")],
        [("store", "device:/dev/disk1"), ("store_bytes", "4096")],
        [("thin_pool", "group-pool"), ("thin_device", "3")],
        [("era", "")], [("era", "12")],
    ]

    private static func text(_ lines: [(String, String)]) -> String {
        var text = StateText(kind: "varve_tracking")
        for (key, value) in lines { text.add(key, value) }
        return text.text
    }

    @Test("What is kept of a volume is read again, by whichever mechanism it is tracked")
    func roundTrip() throws {
        let expected: [TrackingState.Mechanism] = [
            .stores(.directory("/var/stores"), byteCount: 64 << 20),
            .stores(.device("/dev/disk1"), byteCount: 4096),
            .thinPool(identity: "group-pool", deviceID: 3), .era(diskSequence: nil),
            .era(diskSequence: 12),
        ]
        for (lines, mechanism) in zip(Self.mechanisms, expected) {
            let state = try #require(TrackingState(text: Self.text(Self.common + lines)))
            #expect(state.mechanism == mechanism)
            #expect(state.view == 7 && state.bindings.map(\.view) == [6])
            #expect(TrackingState(text: state.text) == state)
        }
    }

    @Test("A state that lacks something, or names what cannot be, is none")
    func refused() {
        for lines in Self.mechanisms {
            for number in Self.common.indices
            where !["binding", "own_view"].contains(Self.common[number].0) {
                var common = Self.common
                common.remove(at: number)
                #expect(TrackingState(text: Self.text(common + lines)) == nil)
            }
        }
        for lines in [
            [], [("store", "elsewhere"), ("store_bytes", "1")], [("store", "directory:/a")],
            [("thin_pool", "p")], [("thin_pool", "p"), ("thin_device", "16777216")],
            [("thin_pool", "p"), ("thin_device", "-3")],
            Self.mechanisms[3] + [("own_view", "x")],
        ] {
            #expect(TrackingState(text: Self.text(Self.common + lines)) == nil)
        }
    }

    @Test(
        "A snapshot takes the place of the one before it, and the oldest of too many is forgotten")
    func bindings() throws {
        var state = try #require(
            TrackingState(text: Self.text(Self.common + Self.mechanisms[0])))
        let volume = try #require(VolumeName("disk"))
        func repository(_ number: Int) -> ObjectID {
            ObjectID(hexadecimal: String(repeating: "\(number)", count: 32)) ?? .zero
        }
        let snapshot = SnapshotID(
            try #require(Digest(hexadecimal: String(repeating: "3", count: 64))))
        state.bind(snapshot, of: volume, in: repository(1))
        #expect(state.bindings.count == 1)
        #expect(state.binding(of: volume, in: repository(1))?.snapshot == snapshot)
        #expect(state.binding(of: volume, in: repository(1))?.view == 7)
        for number in 2...9 { state.bind(snapshot, of: volume, in: repository(number)) }
        #expect(state.bindings.count == 8)
        #expect(state.binding(of: volume, in: repository(1)) == nil)
    }
}
