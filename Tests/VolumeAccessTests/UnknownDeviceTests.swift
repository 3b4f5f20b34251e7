import Testing
import VolumeAccess

/// A device of which the system says nothing.
struct UnknownDeviceTests {
    @Test("What uses it cannot be told, and that is a reason to leave it alone")
    func reason() throws {
        // The last number that a device may have.
        let number: UInt64 = 0xFFFF_F0FF_FFFF_FFFF
        let reason = try #require(DeviceUse.wideReason(forDevice: number))
        #expect(reason.contains("/sys"))
    }
}
