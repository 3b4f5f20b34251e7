import LinuxIO
import ObjectStore
import SnapshotService
import TestKit
import Testing

struct RepositoryLocationTests {
    @Test(
        "The index is where the environment says, else in the system's cache, else in the user's",
        arguments: [
            (["VARVE_CACHE_DIR": "/c", "HOME": "/h"], true, "/c/id"),
            (["VARVE_CACHE_DIR": "/c"], false, "/c/id"),
            (["VARVE_CACHE_DIR": "", "HOME": "/h"], true, "/var/cache/varve/id"),
            (["XDG_CACHE_HOME": "/x", "HOME": "/h"], true, "/var/cache/varve/id"),
            (["XDG_CACHE_HOME": "/x", "HOME": "/h"], false, "/x/varve/id"),
            (["XDG_CACHE_HOME": "relative", "HOME": "/h"], false, "/h/.cache/varve/id"),
            (["HOME": "/h"], false, "/h/.cache/varve/id"),
        ])
    func indexDirectory(
        environment: [String: String],
        isRoot: Bool,
        expected: String
    ) throws {
        #expect(
            try RepositoryLocation.indexDirectory(
                of: "id", environment: environment, isRoot: isRoot) == expected)
    }

    @Test("Without a home there is no place for the index")
    func noHome() {
        for environment in [[:], ["HOME": ""]] {
            let error = #expect(throws: ServiceError.self) {
                try RepositoryLocation.indexDirectory(
                    of: "id", environment: environment, isRoot: false)
            }
            #expect(error?.kind == .failed)
        }
    }

    @Test("A directory is opened, made only when a repository is created")
    func stores() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/a/b"
        let missing = #expect(throws: ServiceError.self) {
            _ = try RepositoryLocation.store(path, creating: false)
        }
        #expect(missing?.kind == .noRepository)
        #expect(try FileStatus(path: path) == nil)
        #expect(try RepositoryLocation.store(path + "//", creating: true).location == path)
        #expect(try FileStatus(path: path)?.kind == .directory)
        #expect(try RepositoryLocation.store(path, creating: false).location == path)
    }

    @Test("What is no directory's path is a fault of use", arguments: ["", "s3://bucket/x"])
    func noDirectory(text: String) {
        let error = #expect(throws: ServiceError.self) {
            _ = try RepositoryLocation.store(text, creating: true)
        }
        #expect(error?.kind == .usage)
    }
}
