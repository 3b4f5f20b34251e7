import Configuration
import Glibc
import JobService
import LinuxIO
import Logging
import TestKit
import Testing

@Suite struct JobServiceTests {
    private static let text = """
        [repositories.main]
        path = "/srv/back up"
        [jobs.a]
        repository = "main"
        volumes.disk = { source = "/dev/vda" }
        schedule = { on-calendar = ["hourly", "*:0/7"], randomized-delay = "2m" }
        check = { every = "7d" }
        limits = { nice = 7, io = "idle", cpu = "150%" }
        alarm = { max-age = "2h" }
        [jobs.b]
        repository = "main"
        volumes.x = { source = "/tmp/x" }
        boot-test = { volume = "x" }
        schedule = { on-calendar = "daily" }
        [jobs.c]
        repository = "main"
        volumes.y = { source = "/y" }
        """

    private static var places: ScheduleUnits.Places {
        ScheduleUnits.Places(
            program: "/bin/true", configuration: "/etc/varve/varve.toml",
            stateDirectory: "/var/lib/varve", cacheDirectory: "/var/cache/varve")
    }

    @Test("Units say when, what, and what may be written")
    func units() throws {
        let units = ScheduleUnits(try Configuration(parsing: Self.text), places: Self.places).units
        let byName = Dictionary(uniqueKeysWithValues: units)
        #expect(
            byName.keys.sorted() == [
                "varve-a.service", "varve-a.timer", "varve-b.service", "varve-b.timer",
                "varve-watch.service", "varve-watch.timer",
            ])
        let timer = try #require(byName["varve-a.timer"])
        for line in [
            "OnCalendar=hourly", "OnCalendar=*:0/7", "Persistent=true", "RandomizedDelaySec=120",
        ] { #expect(timer.contains(line + "\n")) }
        let service = try #require(byName["varve-a.service"])
        for line in [
            "ExecStart=/bin/true run --config /etc/varve/varve.toml a", "Nice=7",
            "IOSchedulingClass=idle", "ReadWritePaths=-\"/srv/back up\"", "PrivateTmp=yes",
            "MemoryDenyWriteExecute=yes", "RuntimeDirectory=varve-a", "CPUQuota=150%",
        ] { #expect(service.contains(line + "\n"), "\(line)") }
        let other = try #require(byName["varve-b.service"])
        #expect(other.contains("PrivateTmp=no\n") && other.contains("MemoryDenyWriteExecute=no\n"))
    }

    @Test("systemd finds nothing wrong with the units")
    func verify() throws {
        let program = try #require(
            Program.path(of: "systemd-analyze"), "install the package systemd")
        let home = try TemporaryDirectory()
        var places = Self.places
        places.unitDirectory = home.path + "/units"
        places.stateDirectory = home.path + "/state"
        places.cacheDirectory = home.path + "/cache"
        let units = ScheduleUnits(try Configuration(parsing: Self.text), places: places)
        let names = try units.install(isStarting: false)
        #expect(try units.installed() == names.sorted())
        let paths = names.map { "\(places.unitDirectory)/\($0)" }
        let log = try FileHandle(home.path + "/log", .create)
        let status = try Program.run(
            [program, "verify", "--man=no"] + paths, output: log.descriptor,
            errors: log.descriptor)
        #expect(status == 0, "\(Directory.text(of: home.path + "/log") ?? "")")
        // What is not ours stays, and what is of no job any more goes.
        let foreign = "\(places.unitDirectory)/varve-mine.service"
        try FileOperation.replace(foreign, with: Array("[Unit]\n".utf8).span.bytes)
        var fewer = try Configuration(parsing: Self.text)
        fewer.jobs.removeFirst()
        _ = try ScheduleUnits(fewer, places: places).install(isStarting: false)
        #expect(try !units.installed().contains("varve-a.timer"))
        #expect(try units.remove(isStarting: false).count == 4)
        #expect(try Directory.names(in: places.unitDirectory) == ["varve-mine.service"])
    }

    @Test("Units that systemd would not take are not written; those that are outdated are named")
    func refused() throws {
        _ = try #require(Program.path(of: "systemd-analyze"), "install the package systemd")
        let home = try TemporaryDirectory()
        var places = Self.places
        places.unitDirectory = home.path + "/units"
        places.stateDirectory = home.path + "/state"
        places.cacheDirectory = home.path + "/cache"
        var wrong = try Configuration(parsing: Self.text)
        wrong.jobs[0].schedule?.calendar = ["every blue moon"]
        #expect(throws: (any Error).self) {
            try ScheduleUnits(wrong, places: places).install(isStarting: false)
        }
        #expect(try Directory.names(in: places.unitDirectory) ?? [] == [])
        let units = ScheduleUnits(try Configuration(parsing: Self.text), places: places)
        _ = try units.install(isStarting: false)
        #expect(try units.outdated() == [])
        var other = try Configuration(parsing: Self.text)
        other.jobs[0].schedule?.calendar = ["daily"]
        #expect(try ScheduleUnits(other, places: places).outdated() == ["varve-a.timer"])
    }

    @Test("New trouble is reported once by each alert channel")
    func alarms() throws {
        let home = try TemporaryDirectory()
        let records = JobRecords(stateDirectory: home.path)
        try Directory.makeAll(records.directory)
        var configuration = try Configuration(parsing: Self.text)
        configuration.jobs[0].alarm.command = [
            "/bin/sh", "-c", "echo $VARVE_EVENT: $VARVE_MESSAGE >>\(home.path)/log",
        ]
        // Nobody listens there: this way fails again and again.
        configuration.jobs[0].alarm.webhook = "http://127.0.0.1:9/{x,y}"
        let job = configuration.jobs[0]
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let alarms = Alarms(records: records, logger: logger)
        func tell(_ troubles: Trouble...) -> String {
            try? FileOperation.remove(home.path + "/log")
            alarms.tell(of: job, troubles, now: 5)
            return Directory.text(of: home.path + "/log") ?? ""
        }
        let a = Trouble("old disk1", "disk1 is 5 h old")
        let b = Trouble("old disk2", "disk2 is old")
        #expect(tell() == "")
        #expect(tell(a) == "trouble: disk1 is 5 h old\n")
        #expect(tell(a) == "")
        #expect(tell(Trouble("old disk1", "disk1 is 2 d 1 h old")) == "")
        #expect(tell(a, b) == "trouble: disk1 is 5 h old; disk2 is old\n")
        #expect(tell(b) == "")
        #expect(tell(a) == "trouble: disk1 is 5 h old\n")
        #expect(tell() == "recovered: all is well again\n")
        #expect(tell() == "")
    }

    @Test("A job is well when its last run succeeded and no snapshot is too old")
    func health() throws {
        let job = try #require(try Configuration(parsing: Self.text).job("a"))
        var record = JobRecord()
        #expect(JobHealth.troubles(of: job, record, isRunning: false, now: 1000).count == 1)
        record.lastStart = 900
        record.lastEnd = 950
        #expect(
            JobHealth.troubles(of: job, record, isRunning: false, now: 1000).map(\.text) == [
                "disk has no snapshot"
            ])
        record.volumes["disk"] = JobRecord.Volume()
        record.volumes["disk"]?.snapshotTime = 900
        #expect(JobHealth.troubles(of: job, record, isRunning: false, now: 900 + 7200).isEmpty)
        #expect(JobHealth.troubles(of: job, record, isRunning: false, now: 900 + 7201).count == 1)
        record.check.isGood = false
        record.check.text = "lost"
        #expect(JobHealth.troubles(of: job, record, isRunning: false, now: 1000).count == 1)
        record.isUnderWay = true
        #expect(
            JobHealth.troubles(of: job, record, isRunning: false, now: 1000).map(\.kind)
                == ["killed", "check: lost"])
        #expect(JobHealth.troubles(of: job, record, isRunning: true, now: 1000).count == 1)
        record.isUnderWay = false
        record.error = "disk gone"
        #expect(JobHealth.troubles(of: job, record, isRunning: false, now: 1000).count == 2)
    }

    @Test("What was done well is due again after its time, what failed within the hour")
    func due() {
        var step = JobRecord.Step()
        #expect(JobHealth.isDue(step, every: 86_400, now: 10))
        step.time = 1000
        #expect(!JobHealth.isDue(step, every: 86_400, now: 1000 + 86_399))
        #expect(JobHealth.isDue(step, every: 86_400, now: 1000 + 86_400))
        // A clock that was set back.
        #expect(JobHealth.isDue(step, every: 86_400, now: 500))
        step.isGood = false
        #expect(!JobHealth.isDue(step, every: 86_400, now: 1000 + 3599))
        #expect(JobHealth.isDue(step, every: 86_400, now: 1000 + 3600))
    }

    @Test("Metrics are in the text format, each family once, labels escaped")
    func metrics() throws {
        let configuration = try Configuration(parsing: Self.text)
        var record = JobRecord()
        record.lastStart = 5
        record.lastEnd = 7
        record.repositoryByteCount = 42
        record.volumes["disk"] = JobRecord.Volume()
        record.volumes["disk"]?.snapshotTime = 6
        let text = Metrics(
            configuration.jobs.map {
                Metrics.Known($0, record, $0.name == "a" ? [] : [Trouble("x", "x")])
            }
        )
        .text
        let lines = text.split(separator: "\n").map(String.init)
        let heads = lines.filter { $0.hasPrefix("# TYPE") }
        #expect(Set(heads).count == heads.count)
        for line in [
            "varve_job_healthy{job=\"a\"} 1", "varve_job_healthy{job=\"b\"} 0",
            "varve_snapshot_newest_timestamp_seconds{job=\"a\",volume=\"disk\"} 6",
            "varve_repository_bytes{repository=\"main\"} 42",
        ] { #expect(lines.count { $0 == line } == 1, "\(line)") }
    }

    @Test("Records outlive the process, and a damaged one is an empty one")
    func records() throws {
        let home = try TemporaryDirectory()
        let records = JobRecords(stateDirectory: home.path)
        #expect(records.read("a") == JobRecord())
        var record = JobRecord()
        record.volumes["disk"] = JobRecord.Volume()
        record.volumes["disk"]?.bytesStored = .max
        record.error = "ö\n\"quoted\""
        record.prune.time = 12
        try records.write(record, of: "a")
        #expect(records.read("a") == record)
        try FileOperation.replace(records.directory + "/a.json", with: Array("{".utf8).span.bytes)
        #expect(records.read("a").problem?.contains("damaged") == true)
        #expect(records.read("a").volumes.isEmpty)
        #expect(!records.isRunning("a"))
        let seen = try records.withLock("a") {
            (isRunning: records.isRunning("a"), again: try records.withLock("a") { true })
        }
        #expect(seen?.isRunning == true && seen?.again == nil)
        #expect(seen != nil && !records.isRunning("a"))
    }
}
