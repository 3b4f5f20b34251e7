import BlockModel
import Glibc
import RepositoryFormat
import Testing

@testable import Maintenance
@testable import Repository
@testable import RepositoryIndex

struct HoldOwnerTests {
    private func record(_ processID: UInt32, start: UInt64) -> HoldRecord {
        HoldRecord(
            purpose: "backup", host: "here", bootID: "run", processID: processID,
            processStart: start, created: Timestamp(seconds: 0), expires: Timestamp(seconds: 1))
    }

    @Test("A process has ended when its number is nobody's, or another's; not when that is unknown")
    func ended() throws {
        let own = UInt32(getpid())
        let start = try #require(HoldOwner.startTicks(of: own))
        #expect(!HoldOwner.hasEnded(record(own, start: start)))
        #expect(HoldOwner.hasEnded(record(own, start: start + 1)))
        // Taken where /proc is not mounted.
        #expect(!HoldOwner.hasEnded(record(own, start: 0)))
        #expect(HoldOwner.hasEnded(record(.max, start: start)))
        #expect(HoldOwner.hasEnded(record(UInt32(Int32.max), start: 0)))
    }

    @Test("With no descriptor left, a process that lives is not taken for one that has ended")
    func noDescriptors() async {
        await #expect(processExitsWith: .success) {
            let own = UInt32(getpid())
            var limit = rlimit(rlim_cur: 3, rlim_max: 3)
            setrlimit(__rlimit_resource_t(7), &limit)
            let record = HoldRecord(
                purpose: "backup", host: "here", bootID: "run", processID: own, processStart: 12,
                created: Timestamp(seconds: 0), expires: Timestamp(seconds: 1))
            exit(HoldOwner.startTicks(of: own) == nil && !HoldOwner.hasEnded(record) ? 0 : 1)
        }
    }
}
