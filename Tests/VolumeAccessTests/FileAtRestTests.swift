import Glibc
import TestKit
import Testing

@testable import LinuxIO
@testable import VolumeAccess

/// What shows that a file was changed while it was read.
struct FileAtRestTests {
    private static func status(
        kind: FileStatus.Kind = .regular,
        byteCount: UInt64 = 8192,
        allocated: UInt64 = 8192,
        device: UInt64 = 5,
        inode: UInt64 = 77,
        modified: (Int64, Int64) = (1_700_000_000, 5),
        changed: (Int64, Int64) = (1_700_000_001, 6)
    ) -> FileStatus {
        FileStatus(
            kind: kind, byteCount: byteCount, allocatedByteCount: allocated, device: device,
            inode: inode, representedDevice: 0, modifiedSeconds: modified.0,
            modifiedNanoseconds: modified.1, changedSeconds: changed.0,
            changedNanoseconds: changed.1)
    }

    @Test(
        "Each fact that is another shows it alone",
        arguments: [
            (status(inode: 78), "different file"), (status(device: 6), "different file"),
            (status(kind: .other), "different file"), (status(byteCount: 8193), "size"),
            (status(modified: (1_700_000_002, 5)), "modification"),
            (status(modified: (1_700_000_000, 4)), "modification"),
            (status(changed: (1_700_000_002, 6)), "change time"),
            (status(changed: (1_700_000_001, 7)), "change time"),
        ])
    func facts(now: FileStatus, word: String) throws {
        #expect(try #require(FileAtRest.change(Self.status(), now)).contains(word))
        #expect(try #require(FileAtRest.change(now, Self.status())).contains(word))
    }

    @Test("Room that the file system sets aside or gives back is no change")
    func room() {
        #expect(FileAtRest.change(Self.status(), Self.status()) == nil)
        #expect(FileAtRest.change(Self.status(), Self.status(allocated: 0)) == nil)
    }

    @Test("The step of the clock in which it was changed last is over before it is read")
    func step() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/image"
        let file = try FileHandle(path, .create)
        try FileOperation.synchronizeData(file.descriptor, subject: path)
        for mode in 0..<20 as Range<UInt32> {
            // Nothing is left to be written to the disk, which would take its time too.
            try #require(fchmod(file.descriptor, 0o600 | mode & 1) == 0)
            let status = try FileAtRest.status(of: file.descriptor, path)
            let now = SystemClock.now()
            let passed =
                (now.seconds - status.changedSeconds) * 1_000_000_000
                + Int64(now.nanoseconds) - status.changedNanoseconds
            #expect(passed >= 20_000_000)
        }
    }
}
