import Glibc
import LinuxIO
import TestKit
import Testing
import VolumeAccess

/// Devices that share bytes with others, as the kernel's loop devices make them.
@Suite(
    "A device in use", .serialized,
    .enabled(if: geteuid() == 0 && access("/dev/loop-control", R_OK) == 0, "needs root and loops"))
struct DeviceUseTests {
    private let directory: TemporaryDirectory
    private let file: String

    init() throws {
        directory = try TemporaryDirectory()
        file = directory.path + "/disk.img"
        let handle = try FileHandle(file, .create)
        try FileOperation.truncate(handle.descriptor, to: 8 << 20, subject: file)
    }

    /// What a mounted file system has.
    private func claim(_ path: String) throws -> FileHandle {
        try FileHandle(path, .read, flags: O_EXCL)
    }

    private func expectIdle(_ path: String) throws {
        _ = try VolumeSource(path: path, allowsUse: false)
        _ = try TargetVolume(path: path, neededByteCount: 4096, inPlace: false)
    }

    private func expectBusy(_ path: String, because reason: String) throws {
        for body in [
            { _ = try VolumeSource(path: path, allowsUse: false) },
            { _ = try TargetVolume(path: path, neededByteCount: 4096, inPlace: false) },
        ] {
            let error = #expect(throws: VolumeError.self) { try body() }
            #expect(error?.kind == .busy)
            #expect(error?.description.contains(reason) == true, "\(error?.description ?? "")")
        }
        #expect(try VolumeSource(path: path, allowsUse: true).useReason?.contains(reason) == true)
    }

    @Test("An idle one is read and written")
    func idle() throws {
        let loop = try LoopDevice(over: file)
        try expectIdle(loop.path)
    }

    @Test("A part of it that another loop device shows and somebody holds is use of the whole")
    func partOfDevice() throws {
        let disk = try LoopDevice(over: file)
        let part = try LoopDevice(over: disk.path, 1 << 20..<2 << 20)
        try expectBusy(disk.path, because: "attached to \(part.path)")
        let claim = try claim(part.path)
        try expectBusy(disk.path, because: "\(part.path) has the same data")
        withExtendedLifetime(claim.descriptor) {}
    }

    @Test("Of two devices over one file, the one is in use while the other is held")
    func twoOverOneFile() throws {
        let first = try LoopDevice(over: file)
        let second = try LoopDevice(over: file)
        try expectIdle(first.path)
        do {
            let claim = try claim(second.path)
            try expectBusy(first.path, because: "\(second.path) has the same data")
            withExtendedLifetime(claim.descriptor) {}
        }
        try expectIdle(first.path)
    }

    @Test("Devices over other parts of the same file do not matter to each other")
    func otherParts() throws {
        let first = try LoopDevice(over: file, 0..<1 << 20)
        let second = try LoopDevice(over: file, 1 << 20..<2 << 20)
        let third = try LoopDevice(over: file, 1 << 19..<3 << 19)
        let claim = try claim(second.path)
        _ = try VolumeSource(path: first.path, allowsUse: false)
        let error = #expect(throws: VolumeError.self) {
            _ = try VolumeSource(path: third.path, allowsUse: false)
        }
        #expect(error?.description.contains("\(second.path) has the same data") == true)
        withExtendedLifetime(claim.descriptor) {}
    }

    @Test("A chain of loop devices is followed to its end, both ways")
    func chain() throws {
        let lowest = try LoopDevice(over: file)
        let middle = try LoopDevice(over: lowest.path, 0..<4 << 20)
        let upper = try LoopDevice(over: middle.path, 0..<1 << 20)
        let claim = try claim(upper.path)
        try expectBusy(lowest.path, because: upper.path)
        let error = #expect(throws: VolumeError.self) {
            _ = try VolumeSource(path: middle.path, allowsUse: false)
        }
        #expect(error?.description.contains(upper.path) == true)
        withExtendedLifetime(claim.descriptor) {}
    }

    @Test("What lies on a device that somebody holds is in use")
    func below() throws {
        let lower = try LoopDevice(over: file)
        let upper = try LoopDevice(over: lower.path)
        let claim = try claim(lower.path)
        try expectBusy(upper.path, because: "\(lower.path) has the same data")
        withExtendedLifetime(claim.descriptor) {}
    }

    @Test("A lock on the node, as virtual machines have one, is use", arguments: [true, false])
    func locked(isExclusive: Bool) throws {
        let loop = try LoopDevice(over: file)
        let machine = try FileHandle(loop.path, .readWrite)
        try #require(FileOperation.tryLock(machine.descriptor, exclusive: isExclusive))
        try expectBusy(loop.path, because: "running virtual machine")
    }

    @Test("A lock on the node of another device with the same bytes is use")
    func lockedBeside() throws {
        let loop = try LoopDevice(over: file)
        let other = try LoopDevice(over: file)
        let machine = try FileHandle(other.path, .readWrite)
        try #require(FileOperation.tryLock(machine.descriptor, exclusive: false))
        try expectBusy(loop.path, because: "\(other.path) is locked by another program")
    }

    @Test("A lock on the file below is use")
    func lockedBelow() throws {
        let loop = try LoopDevice(over: file)
        let machine = try FileHandle(file, .readWrite)
        try #require(FileOperation.tryLock(machine.descriptor, exclusive: false))
        try expectBusy(loop.path, because: "running virtual machine")
    }

    @Test("A refusal hears of the file that a loop device writes")
    func refusedFile() throws {
        let lower = try LoopDevice(over: file)
        let upper = try LoopDevice(over: lower.path)
        let wanted = try #require(try FileStatus(path: file))
        let error = #expect(throws: VolumeError.self) {
            _ = try TargetVolume(path: upper.path, neededByteCount: 4096, inPlace: true) {
                $0.isSameFile(as: wanted) ? "is precious" : nil
            }
        }
        #expect(error?.description.contains("is precious") == true)
    }
}
