import LinuxIO
import TestKit
import Testing
import VolumeAccess

@testable import LiveVolumes

@Suite struct StoreRoomTests {
    private static let chunk: UInt64 = 32 << 10
    private static let full = CopyStore.fullByteCount(ofVolume: 64 << 20)

    @Test("A store has room for all of a volume, but never takes the last tenth of what is free")
    func sizes() {
        func size(_ available: UInt64?, freed: UInt64 = 0) -> UInt64? {
            StoreRoom.byteCount(full: Self.full, available: available, freed: freed)
        }
        #expect(size(nil) == Self.full)
        #expect(size(.max, freed: .max) == Self.full)
        #expect(size(1 << 40) == Self.full)
        #expect(size(20 << 20) == 18 << 20)
        #expect(size(10 << 20, freed: 10 << 20) == 18 << 20)
        #expect(size((20 << 20) + 5) == 18 << 20)
        // Too little to be of use.
        #expect(size(1 << 20) == nil)
        #expect(size(0) == nil)
        // A small volume needs little.
        let small = CopyStore.fullByteCount(ofVolume: 4096)
        #expect(StoreRoom.byteCount(full: small, available: 1 << 20, freed: 0) == small)
    }

    @Test("A store takes no space on disk, except what is reserved")
    func sparse() throws {
        let home = try TemporaryDirectory()
        let room = StoreRoom(directory: home.path, 64 << 20)
        for (number, reserved) in ([0, 1 << 20] as [UInt64]).enumerated() {
            let path = "\(home.path)/\(number)"
            let handle = try FileHandle(path, .create)
            try room.enlarge(handle.descriptor, path, to: Self.full, reserved: reserved)
            let status = try handle.status(path)
            #expect(status.byteCount == Self.full)
            #expect(status.allocatedByteCount >= reserved)
            #expect(status.allocatedByteCount <= reserved + Self.chunk)
        }
    }

    @Test("What cannot be set aside is given back, and the store is made all the same")
    func reserveTooLarge() throws {
        let home = try TemporaryDirectory()
        let available = try #require(try FileSystemSpace.availableByteCount(home.path))
        let room = StoreRoom(directory: home.path, 64 << 20)
        let path = home.path + "/store"
        let handle = try FileHandle(path, .create)
        try room.enlarge(
            handle.descriptor, path, to: Self.full, reserved: available + (1 << 40))
        let status = try handle.status(path)
        #expect(status.byteCount == Self.full && status.allocatedByteCount < 1 << 20)
    }

    @Test("A directory that is missing is named, with what to do")
    func missing() throws {
        let home = try TemporaryDirectory()
        let error = #expect(throws: VolumeError.self) {
            try StoreRoom(directory: home.path + "/gone", 64 << 20).byteCount()
        }
        #expect(
            error?.description.contains("/gone of the store is missing; mount or make it") == true)
    }

    @Test("A physical volume of LVM is known by its label in one of the first four sectors")
    func physicalVolume() {
        for number in 0..<5 {
            var bytes = [UInt8](repeating: 0, count: 4096)
            bytes.replaceSubrange(number * 512..<number * 512 + 8, with: "LABELONE".utf8)
            #expect(!PhysicalVolume.hasLabel(bytes))
            bytes.replaceSubrange(number * 512 + 24..<number * 512 + 32, with: "LVM2 001".utf8)
            #expect(PhysicalVolume.hasLabel(bytes) == (number < 4))
        }
        #expect(!PhysicalVolume.hasLabel([]))
    }

    @Test("A device that is gone is known by each path that it had")
    func names() {
        #expect(
            LayerNames.names(ofDevice: "/dev/mapper/group-gone--one").contains("group-gone--one"))
        #expect(LayerNames.names(ofDevice: "/dev/group/gone-one").contains("group-gone--one"))
        #expect(LayerNames.names(ofDevice: "/dev/vdd").contains("varve-vdd"))
        #expect(LayerNames.names(ofDevice: "/").isEmpty)
        #expect(!LayerNames.names(ofDevice: "/dev/group/data").contains("data"))
    }

    @Test("The unit of a tracked device is no job's, and is ended before the store is unmounted")
    func releaseUnit() {
        #expect(ReleaseUnit.name("group-data") == "varve.tracked-group\\x2ddata.service")
        #expect(ReleaseUnit.name("a@b") == "varve.tracked-a\\x40b.service")
        let properties = ReleaseUnit.properties(
            "group-data", .directory("/srv/the stores"), program: "/usr/sbin/varve",
            stateDirectory: "/var/lib/varve")
        for property in [
            "RemainAfterExit=yes", "RequiresMountsFor=\"/srv/the stores\"", "SendSIGKILL=no",
            "ExecStop=\"/usr/sbin/varve\" track release \"group-data\"",
        ] { #expect(properties.contains(property), "\(property)") }
        let ofDevice = ReleaseUnit.properties(
            "d", .device("/dev/vdc"), program: "/v", stateDirectory: "/s")
        #expect(!ofDevice.contains { $0.hasPrefix("RequiresMountsFor") })
    }
}
