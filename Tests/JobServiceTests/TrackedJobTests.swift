import BlockModel
import Configuration
import JobService
import LinuxIO
import TestKit
import Testing

/// What is told of jobs whose volumes are tracked.
@Suite struct TrackedJobTests {
    private static let text = """
        [repositories.main]
        path = "/srv/backup"
        [jobs.a]
        repository = "main"
        volumes.disk = { source = "/dev/mapper/disk", track = true, store = "/srv/stores" }
        schedule = { on-calendar = "hourly" }
        """

    private static func job() throws -> Job {
        try #require(try Configuration(parsing: text).job("a"))
    }

    private static func wellRecord() -> JobRecord {
        var record = JobRecord()
        record.lastStart = 900
        record.lastEnd = 950
        record.volumes["disk"] = JobRecord.Volume()
        record.volumes["disk"]?.snapshotTime = 900
        return record
    }

    @Test("An overflow, or a layer that is gone, is a trouble until it is over")
    func tracking() throws {
        let job = try Self.job()
        let name = try #require(VolumeName("disk"))
        var tracked = TrackedVolume()
        tracked.isActive = true
        func troubles() -> [Trouble] {
            JobHealth.troubles(
                of: job, Self.wellRecord(), tracking: [name: tracked], isRunning: false, now: 1000)
        }
        #expect(troubles().isEmpty)
        tracked.isActive = false
        tracked.isOverflowed = true
        tracked.trouble = "the store overflowed"
        #expect(troubles().map(\.text) == ["disk: the store overflowed"])
    }

    @Test("A full comparison is a trouble, unless it belongs to the ordinary course of things")
    func fullComparison() throws {
        let job = try Self.job()
        var record = Self.wellRecord()
        func troubles() -> [String] {
            JobHealth.troubles(of: job, record, isRunning: false, now: 1000).map(\.text)
        }
        record.volumes["disk"]?.fullComparison = "the store overflowed"
        record.volumes["disk"]?.isFullComparisonExpected = false
        #expect(
            troubles() == ["the last backup of disk compared everything: the store overflowed"])
        record.volumes["disk"]?.fullComparison = "the machine was restarted"
        record.volumes["disk"]?.isFullComparisonExpected = true
        #expect(troubles().isEmpty)
    }

    @Test("Metrics tell how a tracked volume stands, and whether everything was compared")
    func metrics() throws {
        let job = try Self.job()
        let name = try #require(VolumeName("disk"))
        var record = Self.wellRecord()
        record.volumes["disk"]?.fullComparison = "the store overflowed"
        var tracked = TrackedVolume()
        tracked.isOverflowed = true
        tracked.usedByteCount = 5
        tracked.byteCount = 7
        let lines = Metrics([.init(job, record, tracking: [name: tracked], [])]).text
            .split(separator: "\n").map(String.init)
        let labels = "{job=\"a\",volume=\"disk\"}"
        for line in [
            "varve_backup_full_comparison\(labels) 1", "varve_tracking_active\(labels) 0",
            "varve_tracking_overflowed\(labels) 1", "varve_tracking_store_used_bytes\(labels) 5",
            "varve_tracking_store_bytes\(labels) 7",
        ] { #expect(lines.count { $0 == line } == 1, "\(line)") }
        // What is not tracked has none of these.
        let other = try Configuration(
            parsing: Self.text.replacing(", track = true, store = \"/srv/stores\"", with: ""))
        let text = Metrics([.init(try #require(other.job("a")), record, [])]).text
        #expect(!text.contains("full_comparison") && !text.contains("tracking"))
    }

    @Test("The unit that looks after jobs asks the kernel of tracked volumes, and reaches no disk")
    func watchUnit() throws {
        func watch(_ text: String) throws -> String {
            let units = ScheduleUnits(
                try Configuration(parsing: text),
                places: ScheduleUnits.Places(
                    program: "/bin/true", configuration: "/etc/varve/varve.toml",
                    stateDirectory: "/var/lib/varve", cacheDirectory: "/var/cache/varve")
            ).units
            return try #require(units.first { $0.name == "varve-watch.service" }).text
        }
        let tracking = try watch(Self.text)
        #expect(tracking.contains("DevicePolicy=closed\nDeviceAllow=/dev/mapper/control rw\n"))
        #expect(tracking.contains("CAP_SYS_ADMIN") && !tracking.contains("PrivateDevices"))
        let other = try watch(
            Self.text.replacing(", track = true, store = \"/srv/stores\"", with: ""))
        #expect(other.contains("PrivateDevices=yes\n") && !other.contains("CAP_SYS_ADMIN"))
    }

    @Test("A unit that somebody else wrote is not replaced")
    func foreignUnit() throws {
        let home = try TemporaryDirectory()
        var places = ScheduleUnits.Places(
            program: "/bin/true", configuration: "/etc/varve/varve.toml",
            stateDirectory: home.path + "/state", cacheDirectory: home.path + "/cache")
        places.unitDirectory = home.path
        let path = home.path + "/varve-a.timer"
        try FileOperation.replace(path, with: Array("[Unit]\n".utf8).span.bytes)
        let units = ScheduleUnits(try Configuration(parsing: Self.text), places: places)
        let error = #expect(throws: (any Error).self) { try units.install(isStarting: false) }
        #expect("\(error.map { "\($0)" } ?? "")".contains("\(path) exists and was not written"))
        #expect(Directory.text(of: path) == "[Unit]\n")
        #expect(try units.installed() == [])
    }
}
