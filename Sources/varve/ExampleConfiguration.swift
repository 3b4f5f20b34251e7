/// What `varve config example` prints; a test reads it back.
enum ExampleConfiguration {
    static let text = """
        # The configuration of Varve; 'varve config check' says what is wrong with it.

        [repositories.main]
        path = "/srv/varve"

        [jobs.system]
        repository = "main"
        # tags = ["hourly"]

        # What is backed up: its name in the repository, and where it is. All at one moment.
        [jobs.system.volumes.disk]
        source = "/dev/vda"
        # A device of device-mapper that is in use is tracked; what is overwritten meanwhile is kept in
        # 'store', a directory on another file system (not needed for thin volumes).
        # track = true
        # store = "/var/lib/varve-store"

        # When, in the words of systemd.time(7); for 'varve schedule install'.
        [jobs.system.schedule]
        on-calendar = "hourly"
        randomized-delay = "5m"

        # Which snapshots are kept, as 'varve forget' takes it.
        [jobs.system.keep]
        hourly = 48
        daily = 30
        monthly = 12
        # within = "2d"
        # time-zone = "Europe/Berlin"

        # What is looked after, and how often.
        [jobs.system.prune]
        every = "1d"
        max-unused = "5%"
        # Small packs are written together, where there are many.
        # repack-small = false

        [jobs.system.check]
        every = "7d"
        read-data = "5%"

        # [jobs.system.boot-test]
        # volume = "disk"
        # every = "30d"
        # A system that says nothing on its serial console.
        # accept-screen = true
        # memory = "2G"

        # Programs with their arguments; one that fails before the backup keeps it from being done.
        [jobs.system.hooks]
        # before = ["/usr/local/bin/quiesce", "on"]
        # after = ["/usr/local/bin/quiesce", "off"]
        # on-failure = [["/usr/bin/logger", "backup failed"]]
        time-limit = "5m"

        [jobs.system.limits]
        nice = 10
        io = "idle"
        # threads = 1
        # Of one processor, for runs by timers.
        # cpu = "50%"
        # bandwidth = "50M"

        # Who is told when something is wrong, once, and when all is well again. A job with a schedule may
        # be silent for 7 days when nothing is said; "unlimited" is as long as it likes.
        [jobs.system.alarm]
        max-age = "6h"
        # command = ["/usr/local/bin/tell-admin"]
        # webhook = "https://example.org/hook"

        # [metrics]
        # textfile = "/var/lib/prometheus/node-exporter/varve.prom"

        """
}
