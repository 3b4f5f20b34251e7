/// A device-mapper call that failed.
package struct DeviceMapperError: Error, CustomStringConvertible {
    package let operation: DeviceMapper.Operation
    package let device: String
    /// The kernel's error number; 0 where the library refused before the call.
    package let errno: Int32
    /// What the library or the kernel said.
    package let reason: String

    package var description: String {
        "device-mapper cannot \(operation.rawValue) \(device): \(reason)"
    }
}
