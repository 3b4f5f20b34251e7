import Glibc
import LinuxIO
import Testing

/// Whether these tests run in the emulated machine of tools/rig, where there is device-mapper and
/// nothing that matters: /run/varve-machine exists there alone.
enum Machine {
    static let isHere = access("/run/varve-machine", F_OK) == 0

    /// The disk of that number, which may be written over.
    static func disk(_ number: Int) -> String { "/dev/test/disk\(number)" }

    /// Loads modules of the kernel.
    static func load(_ modules: String...) throws {
        for module in modules { try run("modprobe", module) }
    }

    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    /// Runs a program that has to succeed.
    static func run(_ arguments: String...) throws {
        var process = pid_t()
        var pointers = arguments.map { strdup($0) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        let code = posix_spawnp(&process, arguments[0], nil, nil, &pointers, environ)
        guard code == 0 else { throw SystemError(.open, arguments[0], errno: code) }
        var status: Int32 = 0
        waitpid(process, &status, 0)
        guard status == 0 else { throw Failure(description: "\(arguments) ended with \(status)") }
    }
}

extension Trait where Self == ConditionTrait {
    static var inMachine: Self {
        .enabled(if: Machine.isHere, "These run in the emulated machine; RealDiskTests starts it.")
    }
}
