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
        .target(name: "CShims", linkerSettings: [.linkedLibrary("uring")]),

        // Bindings: one thin, safe wrapper each.
        layer("LMDB", ["CLMDB", "XXHash"]),
        layer("Zstandard", ["CZstd"]),
        layer("XXHash", ["CXXHash"]),
        layer("Crypto", ["CCrypto"]),
        layer("DeviceMapper", ["CDeviceMapper"]),
        layer("LinuxIO", ["CShims"]),
        layer("Fuse", ["CFuse"]),
        layer("TOML", ["CTOML"]),

        // The nouns, the bytes, and where the bytes are kept.
        layer("BlockModel", []),
        layer("Retention", ["BlockModel"]),
        layer("RepositoryFormat", ["BlockModel", "Crypto", "XXHash"]),
        layer("ObjectStore", ["CShims", "LinuxIO"]),
        layer(
            "Repository",
            [
                "BlockModel", "Crypto", "LinuxIO", "LMDB", "ObjectStore", "RepositoryFormat",
                "XXHash", "Zstandard",
            ]
        ),

        // The disk, and what changed on it.
        layer("VolumeAccess", ["BlockModel", "DeviceMapper", "LinuxIO"]),
        layer("ChangeTracking", ["BlockModel", "XXHash"]),

        // Disks in use: frozen views, what was written since, trials.
        layer(
            "LiveVolumes",
            ["BlockModel", "ChangeTracking", "DeviceMapper", "LinuxIO", "VolumeAccess"],
            // What is put into the start of a machine.
            resources: [
                .embedInCode("Boot/initramfs-hook"), .embedInCode("Boot/initramfs-script"),
                .embedInCode("Boot/initramfs-root"), .embedInCode("Boot/grub-default"),
                .embedInCode("Boot/grub-entry"), .embedInCode("Boot/varve-layer.service"),
            ]
        ),

        // The two directions.
        layer(
            "CaptureEngine",
            [
                "BlockModel", "ChangeTracking", "Crypto", "LinuxIO", "ObjectStore", "Repository",
                "RepositoryFormat", "VolumeAccess", "Zstandard",
            ]
        ),
        layer(
            "RestoreEngine",
            [
                "BlockModel", "ChangeTracking", "Crypto", "LinuxIO", "Repository",
                "RepositoryFormat", "VolumeAccess",
            ]
        ),
        layer(
            "Serving",
            ["BlockModel", "LinuxIO", "Repository", "RepositoryFormat"]
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
        layer("DiskContents", ["BlockModel", "CDiskContents", "LinuxIO"]),
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
                "BlockModel", "DiskContents", "Fuse", "LinuxIO", "ObjectStore", "Repository",
                "RepositoryFormat", "RestoreEngine", "Retention", "Serving", "VolumeAccess",
                .product(name: "Logging", package: "swift-log"),
            ]
        ),
        layer(
            "BackupService",
            [
                "BlockModel", "CaptureEngine", "ChangeTracking", "LinuxIO", "LiveVolumes",
                "Repository", "RepositoryFormat", "SnapshotService", "VolumeAccess",
                .product(name: "Logging", package: "swift-log"),
            ]
        ),

        // Jobs: what the configuration wants, done, recorded and watched.
        layer(
            "JobService",
            [
                "BackupService", "BlockModel", "CShims", "CaptureEngine", "Configuration",
                "LinuxIO", "LiveVolumes", "ObjectStore", "Repository", "RepositoryFormat",
                "Retention", "SnapshotService",
                .product(name: "Logging", package: "swift-log"),
            ]
        ),

        // Snapshots as machines that run.
        layer("BootService", ["BlockModel", "LinuxIO", "RepositoryFormat"]),

        // What nbdkit loads: the C entry points, and what they do. It has no Foundation, so that it is
        // small and brings the whole of Swift along in any build.
        .target(name: "CNBDKit"),
        .target(
            name: "NBDPlugin",
            dependencies: [
                "CNBDKit", "LinuxIO", "Serving", "SnapshotService",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: library,
            linkerSettings: [.unsafeFlags(["-static-stdlib"])]
        ),
        .executableTarget(
            name: "varve",
            dependencies: [
                "BackupService", "BlockModel", "BootService", "CaptureEngine", "Configuration",
                "DiskContents", "Fuse", "JobService", "LinuxIO", "LiveVolumes", "ObjectStore",
                "Repository", "RepositoryFormat",
                "RestoreEngine", "Retention", "Serving", "SnapshotService",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: common
        ),

        // Tests: one target for each thing that is tested, and what they share.
        .target(
            name: "SimulationSupport",
            dependencies: [
                "BlockModel", "CaptureEngine", "ChangeTracking", "LinuxIO", "ObjectStore",
                "Repository", "RepositoryFormat", "RestoreEngine", "TestKit", "VolumeAccess",
            ],
            path: "Tests/SimulationSupport",
            swiftSettings: common
        ),
        .testTarget(
            name: "SimulationTests",
            dependencies: [
                "BlockModel", "CaptureEngine", "ChangeTracking", "LMDB", "ObjectStore",
                "Repository",
                "RepositoryFormat", "SimulationSupport", "TestKit",
            ],
            swiftSettings: common
        ),
        .testTarget(
            name: "ProcessTests",
            dependencies: ["LMDB", "LinuxIO", "SimulationSupport", "TestKit", "varve"],
            swiftSettings: common
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
            swiftSettings: common
        ),
        .testTarget(
            name: "RetentionTests",
            dependencies: ["BlockModel", "Retention", "TestKit"],
            swiftSettings: common
        ),
        .testTarget(
            name: "ConfigurationTests",
            dependencies: ["BlockModel", "Configuration", "Retention", "TOML"],
            swiftSettings: common
        ),
        .testTarget(
            name: "JobServiceTests",
            dependencies: [
                "Configuration", "JobService", "LinuxIO", "TestKit",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: common
        ),
        .testTarget(
            name: "ChangeTrackingTests",
            dependencies: ["BlockModel", "ChangeTracking", "TestKit"],
            swiftSettings: common
        ),
        .testTarget(
            name: "DeviceMapperTests",
            dependencies: ["DeviceMapper", "TestKit"],
            swiftSettings: common
        ),
        .testTarget(
            name: "RepositoryFormatTests",
            dependencies: ["BlockModel", "Crypto", "RepositoryFormat", "TestKit", "XXHash"],
            exclude: ["Golden"],
            swiftSettings: common
        ),
        .testTarget(
            name: "LinuxIOTests",
            dependencies: ["LinuxIO", "TestKit"],
            swiftSettings: common
        ),
        .testTarget(
            name: "ObjectStoreTests",
            dependencies: ["BlockModel", "LinuxIO", "ObjectStore", "TestKit"],
            swiftSettings: common
        ),
        .testTarget(
            name: "BindingTests",
            dependencies: ["Crypto", "LMDB", "LinuxIO", "TestKit", "XXHash", "Zstandard"],
            swiftSettings: common
        ),
        .testTarget(
            name: "RealDiskTests",
            dependencies: ["varve"],
            exclude: ["Scenarios"],
            swiftSettings: common
        ),
        // These run in the emulated machine that RealDiskTests starts.
        .testTarget(
            name: "MachineTests",
            dependencies: [
                "BlockModel", "CaptureEngine", "ChangeTracking", "DeviceMapper", "LinuxIO",
                "LiveVolumes", "Repository", "RepositoryFormat", "SimulationSupport", "TestKit",
                "VolumeAccess",
            ],
            swiftSettings: common
        ),
        .testTarget(
            name: "LiveVolumesTests",
            dependencies: ["BlockModel", "LinuxIO", "LiveVolumes", "TestKit"],
            swiftSettings: common
        ),
        .testTarget(
            name: "RepositoryTests",
            dependencies: [
                "BlockModel", "LMDB", "LinuxIO", "ObjectStore", "Repository", "RepositoryFormat",
                "TestKit", "XXHash",
            ],
            swiftSettings: common
        ),
        .testTarget(
            name: "ServingTests",
            dependencies: [
                "BlockModel", "LinuxIO", "ObjectStore", "Repository", "RepositoryFormat",
                "Serving", "SimulationSupport", "TestKit",
            ],
            swiftSettings: common
        ),
        .testTarget(
            name: "BootServiceTests",
            dependencies: ["BootService"],
            swiftSettings: common
        ),
        .testTarget(
            name: "DiskContentsTests",
            dependencies: ["DiskContents", "TestKit"],
            swiftSettings: common
        ),
        .testTarget(
            name: "SnapshotServiceTests",
            dependencies: [
                "BackupService", "BlockModel", "LinuxIO", "ObjectStore", "Repository",
                "RepositoryFormat", "SnapshotService", "TestKit",
            ],
            swiftSettings: common
        ),

        // What the numbers are measured with; not part of what is shipped.
        .executableTarget(
            name: "varve-benchmark",
            dependencies: [
                "BackupService", "BlockModel", "CaptureEngine", "Crypto", "LinuxIO", "Repository",
                "RepositoryFormat", "Retention", "SnapshotService", "Zstandard",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "Benchmarks/SideBySide",
            swiftSettings: common
        ),
    ],
    cxxLanguageStandard: .cxx17
)
