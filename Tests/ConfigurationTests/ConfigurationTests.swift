import BlockModel
import Configuration
import Retention
import TOML
import Testing

@Suite struct ConfigurationTests {
    private static let whole = """
        [repositories.main]
        path = "/srv/varve"
        [jobs.system]
        repository = "main"
        tags = ["auto", "night"]
        volumes.disk = { source = "/dev/vda", track = true, store = "/var/store", store-size = "2G" }
        volumes.image = { source = "/srv/vm.img", live-inconsistent = true }
        schedule = { on-calendar = ["hourly", "Mon *-*-* 03:00"], randomized-delay = "5m" }
        prune = { every = "2d", max-unused = "10G", max-repack-size = "512M" }
        check = { read-data = "2.5%" }
        boot-test = { volume = "disk", every = "4w", expect = "login:", memory = "1G" }
        limits = { nice = 10, io = "idle", threads = 2, bandwidth = "50M", cpu = "50%" }
        alarm = { max-age = "6h", command = ["/bin/tell", "me"], webhook = "https://example.org/x" }
        [jobs.system.keep]
        last = 3
        hourly = 48
        within = "2d"
        within-daily = "1y6m"
        tags = ["keep,this"]
        time-zone = "Europe/Berlin"
        [jobs.system.hooks]
        before = ["/bin/true"]
        after = [["/bin/true", "1"], ["/bin/true", "2"]]
        time-limit = "30s"
        [metrics]
        textfile = "/var/lib/metrics/varve.prom"
        """

    @Test("Everything that can be said is understood")
    func everything() throws {
        let configuration = try Configuration(parsing: Self.whole)
        #expect(configuration.repositories.map(\.path) == ["/srv/varve"])
        #expect(configuration.metricsPath == "/var/lib/metrics/varve.prom")
        let job = try #require(configuration.job("system"))
        #expect(job.repository.name == "main")
        #expect(job.tags == ["auto", "night"])
        #expect(Set(job.volumes.map(\.name.rawValue)) == ["disk", "image"])
        let disk = try #require(job.volumes.first { $0.isTracked })
        #expect(disk.source == "/dev/vda" && disk.store == "/var/store")
        #expect(disk.storeByteCount == 2 << 30)
        #expect(job.volumes.first { $0.allowsUse }?.source == "/srv/vm.img")
        #expect(job.schedule?.calendar == ["hourly", "Mon *-*-* 03:00"])
        #expect(job.schedule?.randomizedDelaySeconds == 300)
        #expect(job.limits.cpuPercent == 50)
        #expect(job.prune?.everySeconds == 172_800 && job.prune?.maxUnused == "10G")
        #expect(job.prune?.maxRepackByteCount == 512 << 20)
        #expect(job.check?.percent == 2.5 && job.check?.everySeconds == 7 * 86_400)
        #expect(job.bootTest?.volume.rawValue == "disk" && job.bootTest?.expect == "login:")
        #expect(job.bootTest?.everySeconds == 28 * 86_400 && job.bootTest?.timeoutSeconds == 300)
        #expect(job.bootTest?.memoryByteCount == 1 << 30)
        #expect(job.bootTest?.acceptsStableScreen == false)
        #expect(job.limits.nice == 10 && job.limits.isIdle && job.limits.threads == 2)
        #expect(job.limits.bandwidth == 50 << 20)
        #expect(job.alarm.maximumAgeSeconds == 21_600 && job.alarm.command == ["/bin/tell", "me"])
        #expect(job.alarm.webhook == "https://example.org/x")
        let policy = try #require(job.retention?.policy)
        #expect(policy.last == 3 && policy.counts == [.hour: 48])
        #expect(policy.within == CalendarSpan("2d"))
        #expect(policy.withinIntervals == [.day: CalendarSpan("1y6m")])
        #expect(policy.tags == [["keep", "this"]])
        #expect(job.retention?.timeZone == "Europe/Berlin")
        #expect(job.hooks.before == [["/bin/true"]] && job.hooks.after.count == 2)
        #expect(job.hooks.onFailure.isEmpty && job.hooks.timeLimitSeconds == 30)
    }

    /// A change that makes the configuration wrong, the line that is to be named, and a word of the reason.
    private static let mistakes: [(from: String, to: String, line: Int, word: String)] = [
        ("path = \"/srv/varve\"", "path = \"srv\"", 2, "absolute"),
        ("path = \"/srv/varve\"", "path = 7", 2, "text"),
        ("repository = \"main\"", "repository = \"other\"", 4, "not in"),
        ("repository = \"main\"", "", 3, "lacks repository"),
        ("tags = [\"auto\", \"night\"]", "tags = [1]", 5, "list of texts"),
        ("tags = [\"auto\"", "tag = [\"auto\"", 5, "unknown"),
        ("source = \"/dev/vda\"", "sauce = \"/dev/vda\"", 6, "source"),
        ("volumes.image", "volumes.\"a b\"", 7, "volume"),
        ("\"/srv/vm.img\", live", "\"/dev/vda\", live", 7, "another volume"),
        ("live-inconsistent = true", "store = \"/x\"", 7, "track"),
        ("[\"hourly\", \"Mon", "[\"hourly\\n\", \"Mon", 8, "systemd.time"),
        ("\"5m\"", "\"5 m\"", 8, "duration"),
        ("\"10G\"", "\"ten\"", 9, "share"),
        ("\"2.5%\"", "\"2.5\"", 10, "share"),
        ("volume = \"disk\"", "volume = \"dusk\"", 11, "volume of the job"),
        ("memory = \"1G\"", "memory = \"32M\"", 11, "at least 64M"),
        ("memory = \"1G\"", "accept-screen = 1", 11, "true or false"),
        ("nice = 10", "nice = 20", 12, "from 0 to 19"),
        ("io = \"idle\"", "io = \"fast\"", 12, "normal"),
        ("[\"/bin/tell\", \"me\"]", "\"tell\"", 13, "program"),
        ("https://example", "ftp://example", 13, "https"),
        ("hourly = 48", "hourly = -1", 16, "number"),
        ("hourly = 48", "hourly = 48\nhourly = 48", 17, ""),
        ("within = \"2d\"", "within = \"two\"", 17, "duration"),
        ("Europe/Berlin", "Europe/Nowhere", 20, "unknown on this system"),
        ("before = [\"/bin/true\"]", "before = [\"true\"]", 22, "path/of"),
        ("[metrics]", "[metrics]\nfile = \"x\"", 26, "unknown"),
        ("[metrics]", "[metric]", 25, "unknown"),
        ("[metrics]", "[metrics", 25, ""),
        ("\"hourly\", \"Mon", "\"every blue moon\", \"Mon", 8, "systemd.time"),
        ("[\"hourly\"", "[\"hourly\\\\\"", 8, "systemd.time"),
        ("time-limit = \"30s\"", "time-limit = \"0\"", 24, "longer than 0"),
        ("time-limit = \"30s\"", "time-limit = \"40000w\"", 24, "duration"),
        ("[metrics]", "[jobs.watch]\nrepository = \"main\"\n[metrics]", 25, "another unit"),
        ("[metrics]", "[jobs.layer]\nrepository = \"main\"\n[metrics]", 25, "another unit"),
        ("[metrics]", "[jobs.b]\nrepository = \"main\"\nvolumes = {}\n[metrics]", 27, "are empty"),
        (
            "[metrics]",
            "[jobs.b]\nrepository = \"main\"\nvolumes.disk = { source = \"/x\" }\n[metrics]", 27,
            "another disk"
        ),
    ]

    @Test("What is wrong is named, with its line", arguments: mistakes.indices)
    func mistake(index: Int) throws {
        let (from, to, line, word) = Self.mistakes[index]
        let position = try #require(Self.whole.firstRange(of: from))
        let text = Self.whole.replacingCharacters(in: position, with: to)
        do {
            _ = try Configuration(
                parsing: text, knowsTimeZone: { !$0.hasSuffix("Nowhere") },
                knowsCalendar: { !$0.contains("moon") })
            Issue.record("'\(to)' was accepted")
        } catch {
            let lines = error.problems.map { "\($0)" }
            #expect(
                error.problems.contains { $0.line == line && $0.reason.contains(word) }, "\(lines)")
        }
    }

    @Test("Any bytes in the place of a configuration are refused or understood, and never crash")
    func garbage() {
        var state: UInt64 = 0x9E37_79B9_7F4A_7C15
        func random(_ limit: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % limit
        }
        let whole = Array(Self.whole.utf8)
        for _ in 0..<500 {
            var bytes = whole
            for _ in 0...random(4) { bytes[random(bytes.count)] = UInt8(random(256)) }
            if random(3) == 0 { bytes.removeLast(random(bytes.count)) }
            _ = try? Configuration(parsing: String(decoding: bytes, as: UTF8.self))
        }
    }

    @Test("Values of TOML come with their lines")
    func toml() throws {
        let root = try TOMLNode(parsing: "a = 1\n\nb = [true,\n 2.5]\nc = 1979-05-27\n")
        guard case .table(let table) = root.value else { return #expect(Bool(false)) }
        #expect(table["a"] == TOMLNode(.integer(1), line: 1))
        #expect(table["c"] == TOMLNode(.other, line: 5))
        #expect(
            table["b"]
                == TOMLNode(
                    .array([TOMLNode(.boolean(true), line: 3), TOMLNode(.float(2.5), line: 4)]),
                    line: 3))
        #expect(throws: TOMLError.self) { try TOMLNode(parsing: "a = \"\0") }
    }
}

extension String {
    fileprivate func firstRange(of text: String) -> Range<Index>? {
        guard let start = indices.first(where: { self[$0...].hasPrefix(text) }) else { return nil }
        return start..<index(start, offsetBy: text.count)
    }

    fileprivate func replacingCharacters(in range: Range<Index>, with text: String) -> String {
        String(self[..<range.lowerBound]) + text + String(self[range.upperBound...])
    }
}
