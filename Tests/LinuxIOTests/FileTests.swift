import Glibc
import LinuxIO
import TestKit
import Testing

struct PositionedIOTests {
    private let directory: TemporaryDirectory
    private let path: String

    init() throws {
        directory = try TemporaryDirectory()
        path = directory.path + "/file"
    }

    @Test("Reading gives fewer bytes only where the file ends")
    func shortReads() throws {
        var generator = SeededGenerator(seed: 1)
        let content = generator.bytes(10_000)
        let file = try FileHandle(path, .create)
        try PositionedIO.write(file.descriptor, content.span.bytes, at: 0, subject: path)
        let buffer = try AlignedBuffer(byteCount: 16_384)
        for (range, offset, count) in [
            (0..<10_000, 0, 10_000), (0..<16_384, 0, 10_000), (100..<4196, 9000, 1000),
            (0..<1, 9999, 1), (0..<10, 10_000, 0), (0..<10, 1 << 40, 0), (5..<5, 0, 0),
        ] as [(Range<Int>, UInt64, Int)] {
            buffer.zero(0..<16_384)
            let read = try PositionedIO.read(
                file.descriptor, into: buffer, range: range, at: offset, subject: path)
            #expect(read == count)
            var expected = [UInt8](repeating: 0, count: 16_384)
            if count > 0 {
                expected.replaceSubrange(
                    range.lowerBound..<range.lowerBound + count,
                    with: content[Int(offset)..<Int(offset) + count])
            }
            #expect(buffer.bytes.withUnsafeBytes { Array($0) } == expected)
        }
    }

    @Test("Writing behind the end leaves zeros in between")
    func sparseWrite() throws {
        let file = try FileHandle(path, .create)
        let bytes: [UInt8] = [1, 2]
        try PositionedIO.write(file.descriptor, bytes.span.bytes, at: 5, subject: path)
        var found = [UInt8](repeating: 9, count: 10)
        var span = found.mutableSpan
        var raw = span.mutableBytes
        let count = try PositionedIO.read(file.descriptor, into: &raw, at: 0, subject: path)
        #expect(count == 7)
        #expect(found == [0, 0, 0, 0, 0, 1, 2, 9, 9, 9])
    }

    @Test("What the page cache holds is read from there, and what the file lacks is not")
    func cachedReads() throws {
        let file = try FileHandle(path, .create)
        let content = [UInt8](repeating: 5, count: 8192)
        try PositionedIO.write(file.descriptor, content.span.bytes, at: 0, subject: path)
        let buffer = try AlignedBuffer(byteCount: 8192)
        let count = PositionedIO.readCached(
            file.descriptor, into: buffer, range: 4096..<8192, at: 0)
        #expect(count == 4096)
        #expect(
            buffer.bytes.withUnsafeBytes { Array($0) }
                == [UInt8](repeating: 0, count: 4096) + [UInt8](repeating: 5, count: 4096))
        #expect(
            PositionedIO.readCached(file.descriptor, into: buffer, range: 0..<4096, at: 8192)
                == nil)
    }

    @Test("A stream is read and written whole, in whatever pieces the pipe passes it on")
    func streams() throws {
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        let reader = FileHandle(adopting: ends[0])
        let writer = ends[1]
        var generator = SeededGenerator(seed: 2)
        let content = generator.bytes(300_000)
        let buffer = try AlignedBuffer(byteCount: 400_000)
        let source = reader.descriptor
        try onThreads(2) { number in
            if number == 0 {
                defer { close(writer) }
                try PositionedIO.writeStream(writer, content.span.bytes, subject: "a pipe")
            } else {
                let first = try PositionedIO.readStream(
                    source, into: buffer, range: 0..<250_000, subject: "a pipe")
                let second = try PositionedIO.readStream(
                    source, into: buffer, range: 250_000..<400_000, subject: "a pipe")
                guard first == 250_000, second == 50_000 else {
                    throw SystemError(.read, "\(first), \(second)", errno: 0)
                }
            }
        }
        let isSame = buffer.bytes.withUnsafeBytes { Array($0[..<300_000]) } == content
        #expect(isSame)
    }

    @Test("A failed call says what was tried, on what, and the kernel's reason")
    func errors() throws {
        #expect(throws: SystemError(.open, path, errno: ENOENT)) { _ = try FileHandle(path, .read) }
        let file = try FileHandle(path, .create)
        #expect(throws: SystemError(.open, path, errno: EEXIST)) {
            _ = try FileHandle(path, .create)
        }
        let readOnly = try FileHandle(path, .read)
        let bytes: [UInt8] = [1]
        #expect(throws: SystemError(.write, path, errno: EBADF)) {
            try PositionedIO.write(readOnly.descriptor, bytes.span.bytes, at: 0, subject: path)
        }
        let buffer = try AlignedBuffer(byteCount: 1)
        #expect(throws: SystemError(.read, "folder", errno: EISDIR, byteOffset: 0)) {
            let folder = try FileHandle(directory.path, .read)
            _ = try PositionedIO.read(
                folder.descriptor, into: buffer, range: 0..<1, at: 0, subject: "folder")
        }
        #expect(throws: SystemError(.read, "nothing", errno: EBADF)) {
            try PositionedIO.readStream(-1, into: buffer, range: 0..<1, subject: "nothing")
        }
        #expect(throws: SystemError(.write, "nothing", errno: EBADF)) {
            try PositionedIO.writeStream(-1, bytes.span.bytes, subject: "nothing")
        }
        #expect(throws: SystemError(.sync, "nothing", errno: EBADF)) {
            try FileOperation.synchronizeData(-1, subject: "nothing")
        }
        #expect(
            SystemError(.punchHole, "/dev/sda", errno: ENOSPC).description
                == "cannot punch hole /dev/sda: No space left on device")
        try file.close(path)
    }
}

struct FileOperationTests {
    private let directory: TemporaryDirectory
    private let path: String

    init() throws {
        directory = try TemporaryDirectory()
        path = directory.path + "/file"
    }

    @Test("Data and holes of a sparse file are found, and a punched hole reads as zeros")
    func holes() throws {
        let file = try FileHandle(path, .create)
        let mebibyte: UInt64 = 1 << 20
        try FileOperation.truncate(file.descriptor, to: 8 * mebibyte, subject: path)
        #expect(try FileOperation.nextData(file.descriptor, from: 0, subject: path) == nil)
        #expect(try FileOperation.nextHole(file.descriptor, from: 0, subject: path) == 0)
        let data = [UInt8](repeating: 3, count: Int(2 * mebibyte))
        try PositionedIO.write(
            file.descriptor, data.span.bytes, at: 3 * mebibyte, subject: path)
        func edges() throws -> [UInt64?] {
            [
                try FileOperation.nextData(file.descriptor, from: 0, subject: path),
                try FileOperation.nextHole(file.descriptor, from: 3 * mebibyte, subject: path),
                try FileOperation.nextData(file.descriptor, from: 4 * mebibyte, subject: path),
                try FileOperation.nextData(file.descriptor, from: 5 * mebibyte, subject: path),
                try FileOperation.nextHole(file.descriptor, from: 8 * mebibyte, subject: path),
            ]
        }
        #expect(try edges() == [3 * mebibyte, 5 * mebibyte, 4 * mebibyte, nil, nil])
        #expect(
            FileOperation.punchHole(
                file.descriptor, offset: 4 * mebibyte, byteCount: 4 * mebibyte))
        #expect(try edges() == [3 * mebibyte, 4 * mebibyte, nil, nil, nil])
        let status = try file.status(path)
        #expect(status.byteCount == 8 * mebibyte)
        #expect(status.allocatedByteCount < 2 * mebibyte)
    }

    @Test("A lock is held against other open files until its own is closed")
    func locks() throws {
        let first = try FileHandle(path, .create)
        let second = try FileHandle(path, .readWrite)
        #expect(!FileOperation.isLocked(second.descriptor))
        #expect(FileOperation.tryLock(first.descriptor, exclusive: true))
        #expect(FileOperation.isLocked(second.descriptor))
        #expect(!FileOperation.isLocked(first.descriptor))
        #expect(!FileOperation.tryLock(second.descriptor, exclusive: true))
        #expect(!FileOperation.tryLock(second.descriptor, exclusive: false))
        try first.close(path)
        #expect(FileOperation.tryLock(second.descriptor, exclusive: false))
        let third = try FileHandle(path, .readWrite)
        #expect(FileOperation.tryLock(third.descriptor, exclusive: false))
        #expect(!FileOperation.tryLock(third.descriptor, exclusive: true))
    }

    @Test("A file's status says what it is and how large")
    func status() throws {
        #expect(try FileStatus(path: path) == nil)
        #expect(try FileStatus(path: path + "/below") == nil)
        let file = try FileHandle(path, .create)
        try FileOperation.truncate(file.descriptor, to: 12_345, subject: path)
        #expect(try FileStatus(path: path + "/below") == nil)
        let status = try file.status(path)
        #expect(status.kind == .regular)
        #expect(status.byteCount == 12_345)
        #expect(try FileStatus(path: path) == status)
        try #require(symlink(path, directory.path + "/link") == 0)
        #expect(try FileStatus(path: directory.path + "/link") == status)
        #expect(try FileStatus(path: directory.path)?.kind == .directory)
        #expect(try FileStatus(path: "/dev/null")?.kind == .other)
    }

    @Test("Direct I/O, where the file system has it, reads what was written")
    func direct() throws {
        let file = try FileHandle(path, .create)
        let buffer = try AlignedBuffer(byteCount: 8192)
        buffer.copy([UInt8](repeating: 6, count: 8192).span.bytes, to: 0)
        let isDirect = FileOperation.setDirect(file.descriptor, true)
        #expect((fcntl(file.descriptor, F_GETFL) & 0o40000 != 0) == isDirect)
        try PositionedIO.write(file.descriptor, buffer.bytes, at: 0, subject: path)
        #expect(FileOperation.setDirect(file.descriptor, false))
        #expect(fcntl(file.descriptor, F_GETFL) & 0o40000 == 0)
        buffer.zero(0..<8192)
        let descriptor = FileOperation.openDirect(path)
        #expect((descriptor != nil) == isDirect)
        let reader = FileHandle(adopting: descriptor ?? dup(file.descriptor))
        let count = try PositionedIO.read(
            reader.descriptor, into: buffer, range: 0..<8192, at: 0, subject: path)
        #expect(count == 8192)
        #expect(
            buffer.bytes.withUnsafeBytes { Array($0) } == [UInt8](repeating: 6, count: 8192))
        #expect(FileOperation.openDirect(path + "0") == nil)
    }

    @Test(
        "A device number is made of its halves", arguments: [(8, 17), (253, 0), (4095, 1_048_575)])
    func deviceNumbers(major: UInt32, minor: UInt32) {
        let number = DeviceNumber.make(major: major, minor: minor)
        #expect(DeviceNumber.major(number) == major)
        #expect(DeviceNumber.minor(number) == minor)
    }
}

struct DirectoryTests {
    @Test("Missing directories are made, all the way down, and those that exist stay")
    func makeAll() throws {
        let directory = try TemporaryDirectory()
        let deep = directory.path + "/a/b/c"
        #expect(throws: SystemError(.makeDirectory, deep, errno: ENOENT)) {
            try Directory.make(deep)
        }
        try Directory.makeAll(deep)
        try FileHandle(deep + "/file", .create).close(deep)
        try Directory.makeAll(deep)
        try Directory.make(deep)
        #expect(try directory.files() == ["a/b/c/file"])
        #expect(try FileStatus(path: deep)?.kind == .directory)
    }

    @Test("The names in a directory are all but its own dots; a missing one has none")
    func names() throws {
        let directory = try TemporaryDirectory()
        #expect(try Directory.names(in: directory.path) == [])
        for name in ["b", ".hidden", "ä"] {
            try FileHandle(directory.path + "/" + name, .create).close(name)
        }
        try Directory.make(directory.path + "/a")
        #expect(try Directory.names(in: directory.path)?.sorted() == [".hidden", "a", "b", "ä"])
        #expect(try Directory.names(in: directory.path + "/none") == nil)
        #expect(try Directory.names(in: directory.path + "/b") == nil)
    }

    @Test(
        "A path is taken apart at its last slash",
        arguments: [
            ("/a/b/c", "/a/b", "c"), ("/a", "/", "a"), ("a", ".", "a"), ("a/b", "a", "b"),
            ("./a", ".", "a"), ("/", "/", ""),
        ])
    func parents(path: String, parent: String, name: String) {
        #expect(Directory.parent(of: path) == parent)
        #expect(Directory.baseName(of: path) == name)
    }

    @Test("A path is resolved to the one without symbolic links")
    func resolve() throws {
        let directory = try TemporaryDirectory()
        let real = directory.path + "/real"
        try Directory.make(real)
        try #require(symlink(real, directory.path + "/link") == 0)
        #expect(Directory.resolve(directory.path + "/link/../link/.") == Directory.resolve(real))
        #expect(Directory.resolve(directory.path + "/none") == nil)
    }

    @Test("A small text is read whole, and one that is not there as nothing")
    func text() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/text"
        let file = try FileHandle(path, .create)
        #expect(Directory.text(of: path) == "")
        let content = String(repeating: "zeile ß\n", count: 2000)
        try PositionedIO.write(
            file.descriptor, Array(content.utf8).span.bytes, at: 0, subject: path)
        #expect(Directory.text(of: path) == content)
        #expect(Directory.text(of: path + "0") == nil)
        #expect(Directory.text(of: "/proc/self/stat")?.hasPrefix("\(getpid()) ") == true)
    }
}

struct SystemClockTests {
    @Test(
        "A date in UTC is so many seconds after 1970",
        arguments: [
            ((1970, 1, 1), (0, 0, 0), 0), ((1969, 12, 31), (23, 59, 59), -1),
            ((2026, 11, 22), (14, 0, 0), 1_795_356_000), ((2024, 2, 29), (0, 0, 0), 1_709_164_800),
            ((9999, 12, 31), (23, 59, 59), 253_402_300_799),
        ] as [((Int32, Int32, Int32), (Int32, Int32, Int32), Int64)])
    func seconds(
        date: (Int32, Int32, Int32),
        time: (Int32, Int32, Int32),
        seconds: Int64
    ) {
        #expect(SystemClock.seconds(ofDate: date, time: time, isUTC: true) == seconds)
    }

    @Test("A local time is written as the calendar says, and read back as the same moment")
    func local() {
        for seconds in [0, 1_795_356_000, 1_782_302_400] as [Int64] {
            let text = SystemClock.localText(ofSeconds: seconds)
            let numbers = text.split { !$0.isNumber }.compactMap { Int32($0) }
            #expect(numbers.count == 6, "\(text)")
            guard numbers.count == 6 else { continue }
            #expect(
                SystemClock.seconds(
                    ofDate: (numbers[0], numbers[1], numbers[2]),
                    time: (numbers[3], numbers[4], numbers[5]), isUTC: false) == seconds)
        }
    }
}
