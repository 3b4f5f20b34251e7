internal import BlockModel
internal import CProcessStart
internal import Glibc

/// What this process was started with, as the kernel gave it.
///
/// `CommandLine.arguments` is empty where `/proc` is not mounted or no descriptor is left, and takes
/// all bytes that are not UTF-8 for the same character; this does neither. Names are bytes: a text
/// here may carry some (see ``ByteString/carrier``).
package enum ProcessStart {
    /// The name by which the program was called, and its arguments.
    package static let arguments: [String] =
        (0..<varve_start_argument_count()).compactMap { index in
            unsafe varve_start_argument(index).map { unsafe carrier($0) }
        }

    /// The variables of the environment.
    package static let environment: [String: String] = {
        var variables: [String: String] = [:]
        var index = 0
        while let entry = unsafe varve_start_variable(index) {
            index += 1
            let text = unsafe carrier(entry)
            if let equals = text.utf8.firstIndex(of: 0x3D) {
                // The first of several is the one that getenv(3) finds.
                let name = String(text[..<equals])
                if variables[name] == nil {
                    variables[name] = String(text[text.utf8.index(after: equals)...])
                }
            }
        }
        return variables
    }()

    private static func carrier(_ text: UnsafePointer<CChar>) -> String {
        let bytes = unsafe UnsafeRawBufferPointer(start: text, count: strlen(text))
        return unsafe ByteString(bytes: bytes).carrier
    }
}
