import Glibc
import SimulationSupport
import Testing

/// What tests leave is removed, and nothing else.
@Suite struct ScratchDirectoryTests {
    @Test("A symbolic link to a directory is removed, and the directory is not gone into")
    func links() {
        let kept = ScratchDirectory()
        #expect(mkdir(kept.path + "/inside", 0o700) == 0)
        var scratch: ScratchDirectory? = ScratchDirectory()
        let path = scratch?.path ?? ""
        #expect(mkdir(path + "/deep", 0o700) == 0)
        #expect(symlink(kept.path, path + "/deep/link") == 0)
        #expect(symlink("/nowhere/at/all", path + "/dangling") == 0)
        scratch = nil
        #expect(access(path, F_OK) != 0)
        #expect(access(kept.path + "/inside", F_OK) == 0)
    }
}
