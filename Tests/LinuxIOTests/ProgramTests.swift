import Glibc
import LinuxIO
import TestKit
import Testing

/// What other programs get of what is open here.
@Suite(.serialized) struct ProgramTests {
    /// A descriptor that the system gives to every program that is started.
    private final class Leak {
        let descriptor: Int32

        init() {
            let file = open("/dev/null", O_RDWR)
            descriptor = fcntl(file, F_DUPFD, 70)
            close(file)
        }

        deinit { close(descriptor) }
    }

    /// Numbers of the descriptors that a program has, as it says itself.
    ///
    /// The one by which it lists them is the first that is free.
    private static func descriptors(
        _ start: (_ arguments: [String], _ output: Int32) throws -> Int32
    ) throws -> [Int] {
        let (reader, writer) = try Pipe.open()
        #expect(try start(["/bin/ls", "/proc/self/fd"], writer.descriptor) == 0)
        let said = try reader.read(4096, milliseconds: 10_000) ?? []
        withExtendedLifetime(writer) {}
        return String(decoding: said, as: UTF8.self).split(separator: "\n").compactMap { Int($0) }
            .sorted()
    }

    @Test("A program has its standard descriptors, and no others, however it is started")
    func nothingElse() throws {
        let leak = Leak()
        defer { withExtendedLifetime(leak) {} }
        #expect(fcntl(leak.descriptor, F_GETFD) == 0)
        let ran = try Self.descriptors {
            try Program.run($0, output: $1, errors: STDERR_FILENO)
        }
        #expect(ran == [0, 1, 2, 3])
        for isLeader in [false, true] {
            let child = try Self.descriptors {
                try ChildProcess($0, output: $1, isLeader: isLeader).wait()
            }
            #expect(child == [0, 1, 2, 3])
        }
    }

    @Test("A file that is meant for a program is where the program looks for it", arguments: 0...1)
    func given(number: Int) throws {
        let leak = Leak()
        defer { withExtendedLifetime(leak) {} }
        let folder = try TemporaryDirectory()
        let path = "\(folder.path)/file"
        let file = try FileHandle(path, .create)
        // Also where it has that number here already.
        let copy = number == 0 ? file.descriptor : fcntl(file.descriptor, F_DUPFD_CLOEXEC, 90)
        let found = try Self.descriptors {
            try ChildProcess($0, output: $1, file: copy).wait()
        }
        #expect(found == [0, 1, 2, 3, 4])
        let status = try Program.run(
            ["/bin/sh", "-c", "echo hello >\(ChildProcess.filePath)"], file: copy)
        #expect(status == 0)
        #expect(Directory.text(of: path) == "hello\n")
    }

    @Test("A program that was started to go on by itself has no others either")
    func detached() throws {
        let leak = Leak()
        defer { withExtendedLifetime(leak) {} }
        let folder = try TemporaryDirectory()
        let path = "\(folder.path)/list"
        try Program.start([
            "/bin/sh", "-c", "ls /proc/self/fd >\(path).new; mv \(path).new \(path)",
        ])
        // Bounded by the test's time limit alone would be too long.
        for _ in 0..<2000 where Directory.text(of: path) == nil { usleep(5_000) }
        #expect(Directory.text(of: path) == "0\n1\n2\n3\n")
    }
}
