import DeviceMapper
import Glibc
import LinuxIO
import Testing

/// The calls, against a real kernel.
@Suite(.inMachine, .serialized) struct DeviceMapperTests {
    private static func sectorCount(_ path: String) throws -> UInt64 {
        let handle = try FileHandle(path, .read)
        return try BlockDevice.byteCount(handle.descriptor, subject: path)
            / UInt64(TableLine.sectorByteCount)
    }

    @Test("A device is made, described, given another table, and removed")
    func lifetime() throws {
        try Machine.load("dm-mod")
        let disk = Machine.disk(0)
        let count = try Self.sectorCount(disk)
        #expect(try DeviceMapper.information(of: "life") == nil)
        try DeviceMapper.create(
            "life", [.linear(disk, sectorCount: count)], uuid: "VARVE-life")
        let made = try #require(try DeviceMapper.information(of: "life"))
        #expect(made.hasLiveTable && !made.isSuspended && !made.isReadOnly && made.openCount == 0)
        let table = try DeviceMapper.table("life")
        #expect(table.count == 1)
        #expect(table.first?.target == "linear")
        #expect(table.first?.sectorCount == count)
        #expect(access("/dev/mapper/life", F_OK) == 0)

        try DeviceMapper.load("life", [.linear(disk, sectorCount: 8, firstSector: 16)])
        #expect(try DeviceMapper.information(of: "life")?.hasLoadedTable == true)
        try DeviceMapper.suspend("life")
        #expect(try DeviceMapper.information(of: "life")?.isSuspended == true)
        try DeviceMapper.resume("life")
        #expect(try Self.sectorCount("/dev/mapper/life") == 8)
        try DeviceMapper.remove("life")
        #expect(try DeviceMapper.information(of: "life") == nil)
        #expect(access("/dev/mapper/life", F_OK) != 0)
    }

    @Test("An error says what the kernel said")
    func errors() throws {
        try Machine.load("dm-mod")
        let missing = #expect(throws: DeviceMapperError.self) {
            try DeviceMapper.suspend("nothing")
        }
        #expect(missing?.errno == ENXIO)
        #expect(missing?.description.contains("suspend nothing") == true)
        let bad = #expect(throws: DeviceMapperError.self) {
            try DeviceMapper.create("bad", [.linear("/dev/nothing", sectorCount: 8)])
        }
        #expect(bad?.reason.isEmpty == false)
        #expect(try DeviceMapper.information(of: "bad") == nil)
        let unknown = #expect(throws: DeviceMapperError.self) {
            try DeviceMapper.create(
                "bad",
                [TableLine(firstSector: 0, sectorCount: 8, target: "no-such", parameters: "")])
        }
        #expect(unknown?.reason.contains("Invalid argument") == true, "\(unknown?.reason ?? "")")
    }
}
