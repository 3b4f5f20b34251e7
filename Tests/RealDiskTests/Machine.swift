import Foundation
import Testing

/// What this machine lets the tests do, and where they find what they run.
enum Machine {
    static let isRoot = geteuid() == 0

    /// Whether this is a continuous-integration run, where lacking something is a failure.
    static let isContinuousIntegration = ProcessInfo.processInfo.environment["CI"] == "true"

    /// Whether slow things are repeated: 'tools/test --full'.
    static let isFullRun = ProcessInfo.processInfo.environment["VARVE_TEST_FULL"] != nil

    /// Whether loop devices and mounts are to be had, or their lack is to be reported.
    static let hasRights = isRoot || isContinuousIntegration

    /// Whether a Debian disk can be built and booted, or its lack is to be reported.
    static let hasRig = isContinuousIntegration || rigPrograms.allSatisfy(isInstalled)

    private static let rigPrograms = [
        "qemu-system-x86_64", "mmdebstrap", "sgdisk", "mkfs.vfat", "mcopy", "busybox", "cpio",
    ]

    /// The program as built beside the bundle that these tests are in.
    static let program = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        .deletingLastPathComponent().appendingPathComponent("varve").path

    /// The program as it is released, where `VARVE_TEST_PROGRAM` names it: an emulated machine is slow.
    static let releasedProgram =
        ProcessInfo.processInfo.environment["VARVE_TEST_PROGRAM"] ?? program

    /// The Debian package, which only tools/test builds.
    static let package = ProcessInfo.processInfo.environment["VARVE_TEST_PACKAGE"]

    /// The bundle that these tests are in.
    static let testBundle = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().path

    /// The folder of the scripts that build, change and boot a disk.
    static let rig = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../../tools/rig").standardized.path

    /// The folder of the scripts that run in the emulated machine.
    static let scenarios = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("Scenarios").path

    /// A script below `Scripts`, which runs in the folder of a test.
    static func script(_ name: String) -> String {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("Scripts/\(name)").path
    }

    /// Folders of programs; those of the system's administration are not on everyone's path.
    static let searchPath =
        (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin") + ":/usr/sbin:/sbin"

    private static func isInstalled(_ name: String) -> Bool {
        searchPath.split(separator: ":").contains {
            FileManager.default.isExecutableFile(atPath: "\($0)/\(name)")
        }
    }
}

extension Trait where Self == ConditionTrait {
    static var needsRoot: Self {
        .enabled(
            if: Machine.hasRights, "Loop devices and mounts need root; run tools/test as root.")
    }

    static var needsPackage: Self {
        .enabled(
            if: Machine.package != nil || Machine.isContinuousIntegration,
            "The Debian package is built by tools/test.")
    }

    static var needsRig: Self {
        .enabled(
            if: Machine.hasRig,
            "Building and booting a disk needs what 'tools/install-packages rig' installs.")
    }
}
