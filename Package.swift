// swift-tools-version: 6.2
import PackageDescription

/// Settings of every Swift target; `strictMemorySafety` is added for libraries only.
let common: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .treatAllWarnings(as: .error),
]
/// Tests are compiled once and run once: not optimised, they are ready several times as soon.
let tests: [SwiftSetting] =
    common + [.unsafeFlags(["-Onone"], .when(configuration: .release))]
let library: [SwiftSetting] =
    common + [.strictMemorySafety(), .enableExperimentalFeature("Lifetimes")]

/// A C library of the system, found by pkg-config and installed by apt.
func system(_ name: String, pkgConfig: String, debianPackage: String) -> Target {
    .systemLibrary(
        name: name,
        path: "Sources/\(name)",
        pkgConfig: pkgConfig,
        providers: [.apt([debianPackage])]
    )
}

/// A Swift library of the package; its imports go down only.
func layer(
    _ name: String,
    _ dependencies: [Target.Dependency],
    resources: [Resource] = []
) -> Target {
    .target(
        name: name, dependencies: dependencies, resources: resources, swiftSettings: library)
}

let package = Package(
    name: "varve",
    products: [
        .executable(name: "varve", targets: ["varve"]),
        // What nbdkit loads for 'varve export'.
        .library(name: "varve-nbdkit", type: .dynamic, targets: ["NBDPlugin"]),
        // What reads FAT and NTFS for it.
        .executable(name: "varve-file-reader", targets: ["varve-file-reader"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
    ],
    targets: [
        // Ground: the system's C libraries and the calls that Swift cannot import.
        system("CLMDB", pkgConfig: "lmdb", debianPackage: "liblmdb-dev"),
        system("CZstd", pkgConfig: "libzstd", debianPackage: "libzstd-dev"),
        system("CXXHash", pkgConfig: "libxxhash", debianPackage: "libxxhash-dev"),
        system(
            "CDeviceMapper", pkgConfig: "devmapper", debianPackage: "libdevmapper-dev"),
        system("CCrypto", pkgConfig: "libcrypto", debianPackage: "libssl-dev"),
        .target(name: "CFuse", linkerSettings: [.linkedLibrary("fuse3")]),
        .target(name: "CTOML"),
        .target(name: "CProcessStart"),
        .target(name: "CShims", linkerSettings: [.linkedLibrary("uring")]),

        // Bindings: one thin, safe wrapper each.
        layer("LMDB", ["CLMDB", "Hashing", "LinuxIO"]),
        layer("Zstandard", ["CZstd"]),
        layer("Hashing", ["CCrypto", "CXXHash"]),
        layer("DeviceMapper", ["CDeviceMapper"]),
        layer("LinuxIO", ["BlockModel", "CShims"]),
        layer("Fuse", ["CFuse", "LinuxIO"]),
        layer("TOML", ["CTOML"]),

        // The nouns, the bytes, and where the bytes are kept.
        layer("BlockModel", []),
        // What the kernel gave the process: arguments, environment, descriptors 0 to 2.
        layer("ProcessStart", ["BlockModel", "CProcessStart"]),
        layer("Retention", ["BlockModel"]),
        layer("RepositoryModel", ["BlockModel"]),
        layer("FileModel", []),
        layer("RepositoryFormat", ["BlockModel", "Hashing", "RepositoryModel"]),
        layer("ObjectStore", ["LinuxIO"]),
        // What a repository holds; where everything in it stands; the bytes of blocks; and what keeps it sound
        // and small.
        layer(
            "Repository",
            [
                "BlockModel", "LinuxIO", "ObjectStore", "RepositoryFormat",
                "RepositoryModel",
            ]
        ),
        layer(
            "RepositoryIndex",
            [
                "BlockModel", "Hashing", "LinuxIO", "LMDB", "ObjectStore", "Repository",
                "RepositoryFormat", "RepositoryModel",
            ]
        ),
        layer(
            "Packs",
            [
                "BlockModel", "LinuxIO", "ObjectStore", "Repository", "RepositoryFormat",
                "RepositoryIndex", "RepositoryModel", "Zstandard",
            ]
        ),
        layer(
            "Maintenance",
            [
                "BlockModel", "LinuxIO", "ObjectStore", "Packs", "Repository",
                "RepositoryFormat", "RepositoryIndex", "RepositoryModel",
            ]
        ),

        // The disk, and what changed on it.
        layer("VolumeAccess", ["BlockModel", "DeviceMapper", "LinuxIO"]),
        layer("ChangeTracking", ["BlockModel", "Hashing", "RepositoryModel"]),

        // Disks in use: frozen views, what was written since, trials.
        layer(
            "LiveVolumes",
            [
                "BlockModel", "ChangeTracking", "DeviceMapper", "LinuxIO", "RepositoryModel",
                "VolumeAccess",
            ],
            // What is put into the start of a machine.
            resources: [
                .embedInCode("Boot/initramfs-hook"), .embedInCode("Boot/initramfs-script"),
                .embedInCode("Boot/initramfs-root"), .embedInCode("Boot/grub-default"),
                .embedInCode("Boot/grub-entry"), .embedInCode("Boot/varve-layer.service"),
                .embedInCode("Boot/system-shutdown"), .embedInCode("Boot/varve-trial.service"),
            ]
        ),

        // The two directions.
        layer(
            "CaptureEngine",
            [
                "BlockModel", "ChangeTracking", "LinuxIO", "ObjectStore", "Packs",
                "Repository", "RepositoryFormat", "RepositoryIndex", "RepositoryModel",
                "VolumeAccess",
            ]
        ),
        layer(
            "RestoreEngine",
            [
                "BlockModel", "LinuxIO", "Packs", "Repository", "RepositoryFormat",
                "RepositoryIndex", "RepositoryModel", "VolumeAccess",
            ]
        ),
        layer(
            "Serving",
            [
                "BlockModel", "LinuxIO", "Packs", "Repository", "RepositoryFormat",
                "RepositoryIndex", "RepositoryModel",
            ]
        ),

        // What the administrator wants: no I/O.
        layer("Configuration", ["BlockModel", "Retention", "TOML"]),

        // What lies on a disk: partitions, file systems, files.
        .target(
            name: "CDiskContents",
            linkerSettings: [
                .linkedLibrary("ext2fs"), .linkedLibrary("com_err"), .linkedLibrary("blkid"),
            ]
        ),
        layer("DiskContents", ["BlockModel", "CDiskContents", "FileModel", "LinuxIO"]),
        // Reads file systems for DiskContents, with no rights and no files: it is all boundary with a C
        // library, and has no Swift in it whose calls to the system would have to be allowed.
        .executableTarget(
            name: "varve-file-reader",
            cSettings: [.headerSearchPath("../CDiskContents/include")],
            linkerSettings: [.linkedLibrary("tsk"), .linkedLibrary("seccomp")]
        ),

        // Composition, and the command line on top of it.
        layer(
            "SnapshotService",
            [
                "BlockModel", "DiskContents", "FileModel", "Fuse", "LinuxIO", "Maintenance",
                "ObjectStore", "Packs", "Repository", "RepositoryFormat", "RepositoryIndex",
                "RepositoryModel", "RestoreEngine", "Serving", "VolumeAccess",
                .product(name: "Logging", package: "swift-log"),
            ]
        ),
        // What each command does, once: for the command line, for jobs, and for the simulation.
        layer(
            "Workflows",
            [
                "BlockModel", "BootService", "CaptureEngine", "ChangeTracking", "Fuse", "LinuxIO",
                "LiveVolumes", "Maintenance", "ObjectStore", "Repository",
                "RepositoryFormat", "RepositoryIndex", "RepositoryModel", "RestoreEngine",
                "Retention", "Serving", "SnapshotService", "VolumeAccess",
                .product(name: "Logging", package: "swift-log"),
            ]
        ),

        // Jobs: what the configuration wants, done, recorded and watched.
        layer(
            "JobService",
            [
                "BlockModel", "CaptureEngine", "Configuration", "LinuxIO", "LiveVolumes",
                "ObjectStore", "Repository", "RepositoryFormat", "RepositoryModel", "Retention",
                "SnapshotService", "Workflows",
                .product(name: "Logging", package: "swift-log"),
            ]
        ),

        // Snapshots as machines that run.
        layer("BootService", ["BlockModel", "LinuxIO", "RepositoryModel"]),

        // What nbdkit loads: the C entry points, and what they do. It has no Foundation, so that it is
        // small and brings the whole of Swift along in any build.
        .target(name: "CNBDKit"),
        .target(
            name: "NBDPlugin",
            dependencies: [
                "BlockModel", "CNBDKit", "LinuxIO", "Serving", "SnapshotService",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: library,
            linkerSettings: [.unsafeFlags(["-static-stdlib"])]
        ),
        .executableTarget(
            name: "varve",
            dependencies: [
                "BlockModel", "Configuration", "FileModel", "JobService", "ProcessStart",
                "RepositoryModel", "Retention", "SnapshotService", "Workflows",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: common
        ),

        // Tests: one target for each thing that is tested, and what they share.
        .target(
            name: "SimulationSupport",
            dependencies: [
                "BlockModel", "CaptureEngine", "ChangeTracking", "LinuxIO", "LiveVolumes",
                "ObjectStore", "Repository", "RepositoryFormat",
                "RepositoryIndex", "RepositoryModel", "RestoreEngine", "SnapshotService", "TestKit",
                "VolumeAccess", "Workflows", .product(name: "Logging", package: "swift-log"),
            ],
            path: "Tests/SimulationSupport",
            swiftSettings: common
        ),
        .testTarget(
            name: "SimulationTests",
            dependencies: [
                "BlockModel", "CaptureEngine", "ChangeTracking", "Hashing", "LinuxIO", "LMDB",
                "Maintenance", "ObjectStore", "Packs", "Repository", "RepositoryFormat",
                "RepositoryIndex", "RepositoryModel", "Retention", "SimulationSupport",
                "SnapshotService", "TestKit", "VolumeAccess", "Workflows",
            ],
            swiftSettings: tests
        ),
        .testTarget(
            name: "ProcessTests",
            dependencies: [
                "BlockModel", "Hashing", "LinuxIO", "LMDB", "ObjectStore",
                "Repository", "RepositoryFormat", "RepositoryModel",
                "SimulationSupport", "TestKit", "varve",
            ],
            exclude: ["Golden", "Scripts"],
            swiftSettings: tests
        ),
        .target(
            name: "TestKit",
            dependencies: ["BlockModel", "LinuxIO"],
            path: "Tests/TestKit",
            swiftSettings: common
        ),
        .testTarget(
            name: "BlockModelTests",
            dependencies: ["BlockModel", "TestKit"],
            swiftSettings: tests
        ),
        .testTarget(
            name: "RetentionTests",
            dependencies: ["BlockModel", "Retention", "TestKit"],
            swiftSettings: tests
        ),
        .testTarget(
            name: "ConfigurationTests",
            dependencies: ["BlockModel", "Configuration", "Retention", "TOML"],
            swiftSettings: tests
        ),
        .testTarget(
            name: "JobServiceTests",
            dependencies: [
                "BlockModel", "Configuration", "JobService", "LinuxIO", "TestKit",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: tests
        ),
        .testTarget(
            name: "ChangeTrackingTests",
            dependencies: ["BlockModel", "ChangeTracking", "TestKit"],
            swiftSettings: tests
        ),
        .testTarget(
            name: "DeviceMapperTests",
            dependencies: ["DeviceMapper", "TestKit"],
            swiftSettings: tests
        ),
        .testTarget(
            name: "RepositoryFormatTests",
            dependencies: [
                "BlockModel", "Hashing", "RepositoryFormat", "RepositoryModel", "TestKit",
            ],
            exclude: ["Golden"],
            swiftSettings: tests
        ),
        .testTarget(
            name: "LinuxIOTests",
            dependencies: ["BlockModel", "LinuxIO", "TestKit"],
            swiftSettings: tests
        ),
        .testTarget(
            name: "VolumeAccessTests",
            dependencies: ["LinuxIO", "TestKit", "VolumeAccess"],
            swiftSettings: tests
        ),
        .testTarget(
            name: "ObjectStoreTests",
            dependencies: [
                "BlockModel", "LinuxIO", "ObjectStore", "SimulationSupport", "TestKit",
            ],
            swiftSettings: tests
        ),
        .testTarget(
            name: "BindingTests",
            dependencies: ["Hashing", "LinuxIO", "LMDB", "TestKit", "Zstandard"],
            swiftSettings: tests
        ),
        .testTarget(
            name: "RealDiskTests",
            dependencies: ["varve"],
            exclude: ["Scenarios", "Scripts"],
            swiftSettings: tests
        ),
        // These run in the emulated machine that RealDiskTests starts.
        .testTarget(
            name: "MachineTests",
            dependencies: [
                "BlockModel", "CaptureEngine", "ChangeTracking", "DeviceMapper", "LinuxIO",
                "Repository", "RepositoryFormat",
                "RepositoryModel", "SimulationSupport", "TestKit", "VolumeAccess", "Workflows",
            ],
            swiftSettings: tests
        ),
        .testTarget(
            name: "LiveVolumesTests",
            dependencies: ["BlockModel", "LinuxIO", "LiveVolumes", "TestKit", "VolumeAccess"],
            swiftSettings: tests
        ),
        .testTarget(
            name: "RepositoryTests",
            dependencies: [
                "BlockModel", "Hashing", "LinuxIO", "LMDB", "Maintenance", "ObjectStore", "Packs",
                "Repository", "RepositoryFormat", "RepositoryIndex", "RepositoryModel",
                "SimulationSupport", "TestKit",
            ],
            swiftSettings: tests
        ),
        .testTarget(
            name: "ServingTests",
            dependencies: [
                "BlockModel", "LinuxIO", "ObjectStore", "Repository",
                "RepositoryFormat", "RepositoryIndex", "RepositoryModel", "Serving",
                "SimulationSupport", "TestKit",
            ],
            swiftSettings: tests
        ),
        .testTarget(
            name: "BootServiceTests",
            dependencies: ["BootService"],
            swiftSettings: tests
        ),
        // Confines itself as varve-file-reader does, and tries what that must refuse.
        .executableTarget(
            name: "reader-probe",
            path: "Tests/ReaderProbe",
            cSettings: [
                .headerSearchPath("../../Sources/varve-file-reader"),
                .headerSearchPath("../../Sources/CDiskContents/include"),
            ],
            linkerSettings: [.linkedLibrary("seccomp")]
        ),
        .testTarget(
            name: "DiskContentsTests",
            dependencies: [
                "BlockModel", "DiskContents", "FileModel", "LinuxIO", "reader-probe", "TestKit",
            ],
            swiftSettings: tests
        ),
        .testTarget(
            name: "SnapshotServiceTests",
            dependencies: [
                "BlockModel", "LinuxIO", "LiveVolumes", "ObjectStore",
                "Repository", "RepositoryFormat", "RepositoryModel",
                "SnapshotService", "TestKit", "Workflows",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: tests
        ),

        // What the numbers are measured with; not part of what is shipped.
        .executableTarget(
            name: "varve-benchmark",
            dependencies: [
                "BlockModel", "LinuxIO", "LiveVolumes", "ProcessStart", "Repository",
                "RepositoryFormat", "RepositoryModel", "Retention", "SnapshotService", "Workflows",
                "Zstandard", .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "Benchmarks/SideBySide",
            swiftSettings: common
        ),
    ],
    cxxLanguageStandard: .cxx17
)
