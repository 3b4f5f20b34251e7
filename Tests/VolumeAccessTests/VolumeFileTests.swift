import Glibc
import LinuxIO
import TestKit
import Testing
import VolumeAccess

/// Image files that change, or whose names do, while they are used.
struct VolumeFileTests {
    private let directory: TemporaryDirectory
    private var path: String { directory.path + "/image" }

    init() throws { directory = try TemporaryDirectory() }

    private func write(_ bytes: [UInt8], to path: String, at offset: UInt64 = 0) throws {
        let isThere = try FileStatus(path: path) != nil
        let handle = try FileHandle(path, isThere ? .readWrite : .create)
        try PositionedIO.write(handle.descriptor, bytes.span.bytes, at: offset, subject: path)
    }

    private func read(_ path: String) throws -> [UInt8] {
        Array(try #require(Directory.text(of: path)).utf8)
    }

    // MARK: Sources

    @Test("One that is written while it is read is noticed, though its time is put back")
    func timePutBack() throws {
        try write([UInt8](repeating: 1, count: 8192), to: path)
        let source = try VolumeSource(path: path, allowsUse: false)
        #expect(try source.verifyUnchanged(allowsUse: false))
        let before = try #require(try FileStatus(path: path))
        try write([2], to: path, at: 5000)
        let times = [
            timespec(tv_sec: Int(before.modifiedSeconds), tv_nsec: Int(before.modifiedNanoseconds)),
            timespec(tv_sec: Int(before.modifiedSeconds), tv_nsec: Int(before.modifiedNanoseconds)),
        ]
        try #require(utimensat(AT_FDCWD, path, times, 0) == 0)
        #expect(try FileStatus(path: path)?.modifiedNanoseconds == before.modifiedNanoseconds)
        let error = #expect(throws: VolumeError.self) {
            try source.verifyUnchanged(allowsUse: false)
        }
        #expect(error?.kind == .changed)
        #expect(try source.verifyUnchanged(allowsUse: true) == false)
    }

    @Test("Memory that is shared with it is noticed, also when it was written to before")
    func sharedMemory() throws {
        try write([UInt8](repeating: 1, count: 8192), to: path)
        let writer = try FileHandle(path, .readWrite)
        let memory = mmap(nil, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, writer.descriptor, 0)
        let bytes = try #require(memory).assumingMemoryBound(to: UInt8.self)
        defer { munmap(memory, 8192) }
        bytes[0] = 2
        let source = try VolumeSource(path: path, allowsUse: false)
        bytes[1] = 3
        let error = #expect(throws: VolumeError.self) {
            try source.verifyUnchanged(allowsUse: false)
        }
        #expect(error?.kind == .changed)
    }

    @Test(
        "A file of the system whose size is not that of its content is refused",
        arguments: ["/proc/version", "/proc/self/mountinfo", "/sys/kernel/mm/ksm/run"])
    func untrueSize(path: String) throws {
        try #require(try FileStatus(path: path) != nil)
        let error = #expect(throws: VolumeError.self) {
            _ = try VolumeSource(path: path, allowsUse: false)
        }
        #expect(error?.kind == .unsuitable)
        #expect(error?.description.contains("cat \(path) | varve backup -") == true)
    }

    @Test("An empty file is read", arguments: [false, true])
    func empty(allowsUse: Bool) throws {
        try write([], to: path)
        let source = try VolumeSource(path: path, allowsUse: allowsUse)
        #expect(source.byteCount == 0)
    }

    // MARK: Targets

    @Test("What its path leads to later is not written", arguments: [false, true])
    func swappedTarget(inPlace: Bool) throws {
        let victim = directory.path + "/victim"
        try write(Array("precious".utf8), to: victim)
        if inPlace { try write([UInt8](repeating: 9, count: 5000), to: path) }
        let target = try TargetVolume(path: path, neededByteCount: 5000, inPlace: inPlace)
        try #require(rename(path, path + ".old") == 0)
        try #require(symlink(victim, path) == 0)
        let buffer = try AlignedBuffer(byteCount: 8192)
        buffer.withMutableBytes { bytes in
            for index in 0..<5000 { bytes.storeBytes(of: 7, toByteOffset: index, as: UInt8.self) }
        }
        try target.write(buffer.bytes.extracting(0..<5000), at: 0)
        try target.read(into: buffer, byteCount: 5000, at: 0)
        try target.synchronize()
        #expect(try read(victim) == Array("precious".utf8))
        #expect(try read(path + ".old") == [UInt8](repeating: 7, count: 5000))
    }

    @Test("What takes its place once it was looked up is neither opened nor written")
    func swappedMeanwhile() throws {
        let victim = directory.path + "/victim"
        try write(Array("precious".utf8), to: victim)
        try write([UInt8](repeating: 9, count: 5000), to: path)
        let target = try TargetVolume(path: path, neededByteCount: 5000, inPlace: true) { _ in
            try #require(rename(path, path + ".old") == 0)
            try #require(symlink(victim, path) == 0)
            return nil
        }
        let buffer = try AlignedBuffer(byteCount: 8192)
        // An odd end goes another way than the rest.
        try target.write(buffer.bytes.extracting(0..<5000), at: 0)
        try target.synchronize()
        #expect(try read(victim) == Array("precious".utf8))
        #expect(try read(path + ".old") == [UInt8](repeating: 0, count: 5000))
    }

    @Test("A device that is not there is not made a file beside the others")
    func missingDevice() throws {
        let devices = try #require(try FileStatus(path: "/dev"))
        // A system whose devices are no file system of their own says nothing of them.
        guard try devices.device != FileStatus(path: "/")?.device else { return }
        let path = "/dev/varve-test-\(getpid())"
        defer { unlink(path) }
        let error = #expect(throws: VolumeError.self) {
            _ = try TargetVolume(path: path, neededByteCount: 10, inPlace: false)
        }
        #expect(error?.kind == .missing)
        #expect(try FileStatus(path: path) == nil)
    }

    @Test("A new one is not made through a symbolic link, wherever that leads")
    func linkInTheWay() throws {
        let victim = directory.path + "/victim"
        try #require(symlink(victim, path) == 0)
        let error = #expect(throws: VolumeError.self) {
            _ = try TargetVolume(path: path, neededByteCount: 10, inPlace: false)
        }
        #expect(error?.kind == .unsuitable)
        #expect(try FileStatus(path: victim) == nil)
        try write([1, 2, 3], to: victim)
        #expect(throws: VolumeError.self) {
            _ = try TargetVolume(path: path, neededByteCount: 10, inPlace: false)
        }
        #expect(try read(victim) == [1, 2, 3])
    }
}
