import BlockModel
import RepositoryFormat
import Testing

struct ObjectNameTests {
    private static let id = "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"

    @Test("Every kind of object stands where the design says")
    func layout() {
        let id = Sample.objectID
        #expect(ObjectNames.pack(id) == "packs/a0/" + Self.id)
        #expect(ObjectNames.part(id) == "parts/" + Self.id)
        #expect(
            Sample.deltaName.objectName
                == "volumes/web-1.img/000000000006-000000000007." + Self.id)
        #expect(
            Sample.marker.objectName == "volumes/web-1.img/newest.000000000007." + Self.id)
        #expect(
            ObjectNames.hold(scope: .repository, kind: .shared, id: id)
                == "locks/repository/shared." + Self.id)
        #expect(Sample.holdName == "locks/volume.web-1.img/exclusive." + Self.id)
        #expect(
            Sample.noteName
                == "notes/web-1.img/" + Sample.digest(0x20).hexadecimal + ".000000000003."
                + Self.id)
    }

    @Test("The names of feature sets are read back, and nothing else is")
    func features() {
        let name = "features/0000000000000000-8000000000000001." + Self.id
        #expect(Sample.featuresName == name)
        #expect(ObjectNames.features(of: name) == Sample.features)
        for name in [
            "features/", "features/0-1." + Self.id, String(name.dropLast()), name + "0",
            "features/000000000000000G-8000000000000001." + Self.id,
            "features/000000000000000A-8000000000000001." + Self.id,
            "features/+000000000000000-8000000000000001." + Self.id,
            "features/0000000000000000.8000000000000001." + Self.id,
            "features/0000000000000000-8000000000000001-" + Self.id, "x" + name,
        ] {
            #expect(ObjectNames.features(of: name) == nil, "\(name)")
        }
    }

    @Test("The names of packs are read back, and nothing else is")
    func packs() {
        #expect(ObjectNames.packID(of: "packs/a0/" + Self.id) == Sample.objectID)
        for name in [
            "packs/a1/" + Self.id, "packs/" + Self.id, "packs/a0/x/" + Self.id,
            "packs/a0/" + Self.id + "0", "packs/a0/", "", "/packs/a0/" + Self.id,
            "packs/a0/" + Self.id.uppercased(), "packs//a0/" + Self.id,
        ] {
            #expect(ObjectNames.packID(of: name) == nil, "\(name)")
        }
    }

    @Test(
        "Deltas and markers are read back, up to the last generation of twelve digits",
        arguments: [
            (0, 1), (6, 7), (999_999_999_998, 999_999_999_999),
        ] as [(Generation, Generation)])
    func volumeEntries(from: Generation, to: Generation) throws {
        let delta = DeltaName(volume: Sample.volume, from: from, to: to, id: Sample.objectID)
        let (volume, entry) = try #require(ObjectNames.parse(volumeEntry: delta.objectName))
        #expect(volume == Sample.volume)
        #expect(entry == .delta(delta))

        let name = ObjectNames.newest(of: Sample.volume, generation: to, id: Sample.objectID)
        let (markerVolume, marker) = try #require(ObjectNames.parse(volumeEntry: name))
        #expect(markerVolume == Sample.volume)
        #expect(marker == .newest(generation: to, id: Sample.objectID))
    }

    @Test(
        "A name that nothing was given is read as nothing",
        arguments: [
            "", "volumes/", "volumes/v", "volumes/v/", "volumes/v/x",
            "volumes/v/000000000006-000000000007", "volumes/v/6-7." + id,
            "volumes/v/000000000007-000000000006." + id,
            "volumes/v/000000000007-000000000007." + id,
            "volumes/v/0000000000006-000000000007." + id,
            "volumes/v/+00000000006-000000000007." + id,
            "volumes/v/000000000006-000000000007.00" + id,
            "volumes/v/000000000006-000000000007-000000000008." + id,
            "volumes/v/000000000006-99999999999999999999." + id,
            "volumes/v/newest." + id, "volumes/v/newest.7." + id,
            "volumes/v/Newest.000000000007." + id, "volumes/v/newest.000000000007." + id + ".",
            "volumes/.v/000000000006-000000000007." + id,
            "volumes/v/w/000000000006-000000000007." + id,
            "volume/v/000000000006-000000000007." + id,
            "/volumes/v/000000000006-000000000007." + id,
        ]
    )
    func noVolumeEntry(name: String) {
        #expect(ObjectNames.parse(volumeEntry: name) == nil)
    }

    @Test("A generation that leaves none to follow is no name of ours")
    func lastGeneration() {
        let delta = ObjectNames.delta(of: Sample.volume, from: 0, to: .max, id: Sample.objectID)
        let marker = ObjectNames.newest(of: Sample.volume, generation: .max, id: Sample.objectID)
        #expect(ObjectNames.parse(volumeEntry: delta) == nil)
        #expect(ObjectNames.parse(volumeEntry: marker) == nil)
    }

    @Test("Deltas of one volume are listed in the order of their generations")
    func order() {
        let names = [(0, 1), (1, 2), (1, 10), (2, 3), (10, 11), (100, 101)].map { from, to in
            ObjectNames.delta(of: Sample.volume, from: from, to: to, id: Sample.objectID)
        }
        #expect(names == names.sorted())
    }
}
