import Glibc
import LinuxIO

/// How busy the machine is.
enum MachineLoad {
    /// Seconds that all cores together were not idle since the start of the machine.
    static func busySeconds() -> Double {
        let text = Directory.text(of: "/proc/stat") ?? ""
        let fields = text.prefix { $0 != "\n" }.split(separator: " ").dropFirst()
            .compactMap { Double($0) }
        guard fields.count >= 8 else { return 0 }
        // user, nice, system, irq, softirq, steal; not idle and iowait.
        let busy = fields[0] + fields[1] + fields[2] + fields[5] + fields[6] + fields[7]
        return busy / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    /// The averages over 1, 5 and 15 minutes, as the kernel prints them.
    static func averages() -> String {
        let text = Directory.text(of: "/proc/loadavg") ?? ""
        return text.split(separator: " ").prefix(3).joined(separator: " ")
    }
}

/// On what the figures were taken.
struct MachineFacts: Encodable {
    var messageType = "machine"
    let processor: String
    let cores: Int
    let memoryBytes: UInt64
    let kernel: String
    let system: String
    let scratch: String
    let fileSystem: String
    let load: String
    let versions: [String: String]

    /// Asks the system and every program that takes part.
    init(varve: String, scratch: String, runner: ProcessRunner) throws {
        processor = Self.field("model name", of: "/proc/cpuinfo") ?? "unknown"
        cores = Workers.standardCount
        let kibibytes = Self.field("MemTotal", of: "/proc/meminfo") ?? ""
        memoryBytes = 1024 * (UInt64(kibibytes.filter(\.isNumber)) ?? 0)
        kernel = Self.line(Directory.text(of: "/proc/sys/kernel/osrelease") ?? "unknown")
        system =
            (Self.field("PRETTY_NAME", of: "/etc/os-release", separator: "=") ?? "unknown")
            .filter { $0 != "\"" }
        self.scratch = scratch
        let lines = try runner.text(of: Command("df", "--output=fstype", scratch))
        fileSystem = lines.split(separator: "\n").last.map(String.init) ?? "unknown"
        load = MachineLoad.averages()
        let commands = [
            "varve": [varve, "version"], "restic": ["restic", "version"],
            "borg": ["borg", "--version"], "zstd": ["zstd", "--version"],
            "openssl": ["openssl", "version"], "cat": ["cat", "--version"],
            // These two say it on standard error.
            "e2fsprogs": ["sh", "-c", "mkfs.ext4 -V 2>&1"],
        ]
        versions = try commands.mapValues { Self.line(try runner.text(of: Command($0))) }
    }

    var text: String {
        let gibibytes = Double(memoryBytes) / Double(1 << 30)
        var lines = [
            "machine: \(processor), \(cores) cores, \(Format.number(gibibytes, 1)) GiB, "
                + "\(system), Linux \(kernel)",
            "scratch: \(scratch) (\(fileSystem)); load at the start \(load)",
        ]
        for (name, version) in versions.sorted(by: { $0.key < $1.key }) {
            lines.append("  \(name): \(version)")
        }
        return lines.joined(separator: "\n")
    }

    private static func field(
        _ name: String,
        of path: String,
        separator: Character = ":"
    ) -> String? {
        for line in (Directory.text(of: path) ?? "").split(separator: "\n")
        where line.hasPrefix(name) {
            guard let mark = line.firstIndex(of: separator) else { continue }
            return String(line[line.index(after: mark)...].drop { $0 == " " || $0 == "\t" })
        }
        return nil
    }

    private static func line(_ text: String) -> String {
        String(text.drop { $0.isNewline }.prefix { !$0.isNewline })
    }
}
