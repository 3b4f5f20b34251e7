import BlockModel
import RepositoryFormat
import RepositoryModel
import Testing

@testable import Maintenance
@testable import Repository
@testable import RepositoryIndex

/// Numbers that anybody can write into a name.
struct FarNumberTests {
    @Test(
        "A marker counts up to 4,096 above the joined deltas; a higher one is shown and no damage")
    func reach() {
        for (number, counts) in [(4, true), (4099, true), (4100, false), (999_999_999_999, false)]
            as [(Generation, Bool)]
        {
            let timeline = Timeline(
                volume: Chain.volume, deltas: Chain.linear(3), unreadable: [],
                markers: [Chain.marker("c", 3), Chain.marker("x", number)], unreadableMarkers: [])
            #expect(timeline.highestGeneration == (counts ? number : 3))
            #expect(timeline.isSound == !counts)
            #expect(timeline.damaged.map(\.generation) == (counts ? [number] : []))
            #expect(timeline.possibleLosses.map(\.generation) == (counts ? [] : [number]))
            #expect(timeline.newest?.generation == (counts ? number : 3))
        }
    }

    @Test(
        "The same holds for names of what cannot be read, and for deltas that nothing is joined to")
    func others() {
        let lone = Chain.delta(("x", 7000), ("y", 7001))
        let unreadable = DeltaName(volume: Chain.volume, from: 1, to: 8000, id: .zero)
        let name = ObjectNames.newest(of: Chain.volume, generation: 9000, id: .zero)
        let timeline = Chain.timeline(
            Chain.linear(3) + [lone], Chain.marker("c", 3),
            unreadable: [(unreadable, "checksum")], unreadableMarkers: [name])
        #expect(timeline.isSound)
        #expect(timeline.highestGeneration == 3)
        #expect(Set(timeline.possibleLosses.map(\.generation)) == [7001, 8000, 9000])
        let near = Chain.timeline(
            Chain.linear(3) + [Chain.delta(("x", 4000), ("y", 4001))], Chain.marker("c", 3))
        #expect(near.highestGeneration == 4001)
        // Nothing that is whole tells of it.
        #expect(near.isSound && near.damaged == [])
        #expect(near.possibleLosses.map(\.generation) == [4001])
        let marked = Timeline(
            volume: Chain.volume,
            deltas: Chain.linear(3) + [Chain.delta(("x", 4000), ("y", 4001))], unreadable: [],
            markers: [Chain.marker("c", 3), Chain.marker("y", 4001)], unreadableMarkers: [])
        #expect(marked.damaged.map(\.generation) == [4000, 4001])
    }

    @Test("A volume whose base is lost continues to count generations, and the loss stays damage")
    func lostBase() {
        let deltas = [
            Chain.delta(("a", 6000), ("b", 6001)), Chain.delta(("b", 6001), ("c", 6002)),
        ]
        let timeline = Chain.timeline(deltas, Chain.marker("c", 6002))
        #expect(timeline.highestGeneration == 6002)
        #expect(!timeline.isSound)
        #expect(timeline.possibleLosses == [])
        // Where nothing is left but a marker it is all that tells of the volume.
        let nothing = Chain.timeline([], Chain.marker("c", 6002))
        #expect(nothing.damaged.map(\.generation) == [6002])
        #expect(nothing.highestGeneration == 0)
    }

    @Test("A marker far above stands for none that is missing")
    func missingMarker() {
        let timeline = Chain.timeline(Chain.linear(2), Chain.marker("x", 9999))
        #expect(timeline.newest == nil)
        #expect(timeline.problems.count == 1)
    }
}
