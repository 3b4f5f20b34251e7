/// What `varve config example` prints; a test reads it back.
enum ExampleConfiguration {
    static let text = """
        # Configuration of Varve; 'varve config check' reports errors in it.

        [repositories.main]
        path = "/srv/varve"

        [jobs.system]
        repository = "main"
        # tags = ["hourly"]

        # What to back up: the name in the repository, and the source. All at the same moment.
        [jobs.system.volumes.disk]
        source = "/dev/vda"
        # Tracks a device-mapper device in use. Overwritten data is kept in 'store', a directory
        # on another file system (not needed for thin volumes).
        # track = true
        # store = "/var/lib/varve-store"

        # When to run, see systemd.time(7); used by 'varve schedule install'.
        [jobs.system.schedule]
        on-calendar = "hourly"
        randomized-delay = "5m"

        # Which snapshots to keep, with the rules of 'varve forget'.
        [jobs.system.keep]
        hourly = 48
        daily = 30
        monthly = 12
        # within = "2d"
        # time-zone = "Europe/Berlin"

        # Maintenance, and how often it runs.
        [jobs.system.prune]
        every = "1d"
        max-unused = "5%"
        # Combines small packs when there are many.
        # repack-small = false

        [jobs.system.check]
        every = "7d"
        read-data = "5%"

        # [jobs.system.boot-test]
        # volume = "disk"
        # every = "30d"
        # For a system without output on its serial console.
        # accept-screen = true
        # memory = "2G"

        # Programs with arguments. If one of 'before' fails, the backup does not run.
        [jobs.system.hooks]
        # before = ["/usr/local/bin/quiesce", "on"]
        # after = ["/usr/local/bin/quiesce", "off"]
        # on-failure = [["/usr/bin/logger", "backup failed"]]
        time-limit = "5m"

        [jobs.system.limits]
        nice = 10
        io = "idle"
        # threads = 1
        # Share of one processor, for runs by timers.
        # cpu = "50%"
        # bandwidth = "50M"

        # Sends one alert when something fails, and one when it has recovered. A job with a schedule
        # may be silent for 7 days by default; "unlimited" sets no limit.
        [jobs.system.alarm]
        max-age = "6h"
        # command = ["/usr/local/bin/tell-admin"]
        # webhook = "https://example.org/hook"

        # [metrics]
        # textfile = "/var/lib/prometheus/node-exporter/varve.prom"

        """
}
