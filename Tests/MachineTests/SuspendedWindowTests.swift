import DeviceMapper
import Glibc
import LinuxIO
import Testing
import VolumeAccess

@Suite(.inMachine, .serialized) struct SuspendedWindowTests {
    private static func isSuspended(_ name: String) throws -> Bool? {
        try DeviceMapper.information(of: name)?.isSuspended
    }

    @Test("Devices go on, whatever fails in the window")
    func failures() throws {
        try Machine.load("dm-mod")
        let names = ["one", "two"]
        for (number, name) in names.enumerated() {
            try DeviceMapper.create(
                name, [.linear(Machine.disk(0), sectorCount: 64, firstSector: UInt64(number * 64))])
        }
        defer { for name in names { try? DeviceMapper.remove(name) } }
        _ = try SuspendedWindow(names, steps: []).run()
        let step = #expect(throws: DeviceMapperError.self) {
            try SuspendedWindow(names, steps: [PreparedCall(.remove, "nothing")]).run()
        }
        #expect(step?.device == "nothing")
        let device = #expect(throws: DeviceMapperError.self) {
            try SuspendedWindow(["one", "nothing", "two"], steps: []).run()
        }
        #expect(device?.device == "nothing")
        for name in names { #expect(try Self.isSuspended(name) == false) }
    }

    @Test("Steps run while all devices stand still")
    func steps() throws {
        try Machine.load("dm-mod")
        try DeviceMapper.create("still", [.linear(Machine.disk(0), sectorCount: 64)])
        defer { try? DeviceMapper.remove("still") }
        // A device that is suspended cannot be given another table without one being loaded; the
        // load takes effect with the resume that ends the window.
        let load = try PreparedCall(.load, "still")
        try load.set([.linear(Machine.disk(0), sectorCount: 32)], isReadOnly: false)
        _ = try SuspendedWindow(["still"], steps: [load]).run()
        #expect(try DeviceMapper.table("still").first?.sectorCount == 32)
    }
}
