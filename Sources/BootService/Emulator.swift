internal import BlockModel
internal import Glibc
internal import LinuxIO
package import RepositoryModel

/// Why a machine cannot be started, or did not do what was asked.
package struct MachineError: Error, CustomStringConvertible {
    package let description: String
}

/// What a machine is made of.
package struct MachineDescription: Sendable {
    /// What the disk is attached to.
    package enum Bus: String, Hashable, Sendable, CaseIterable {
        case virtio, sata, nvme, scsi
    }
    package enum Network: String, Hashable, Sendable, CaseIterable {
        case none
        /// Out to where this machine reaches, by addresses of its own.
        case user
    }
    package enum Accelerator: String, Hashable, Sendable, CaseIterable {
        /// KVM where it works.
        case auto
        case kvm, tcg
    }

    package var firmware: BootProof.Firmware
    package var memoryByteCount: UInt64 = 2 << 30
    package var processorCount = 2
    package var bus = Bus.virtio
    package var network = Network.none
    package var accelerator = Accelerator.auto
    /// Bytes of a sector of the disk.
    package var sectorByteCount = 512

    package init(firmware: BootProof.Firmware) { self.firmware = firmware }
}

/// QEMU, as it is installed here.
package struct Emulator {
    package let program: String
    package let version: String
    private static let code = "/usr/share/OVMF/OVMF_CODE_4M.fd"
    private static let variables = "/usr/share/OVMF/OVMF_VARS_4M.fd"

    /// - Throws: ``MachineError`` when it is not installed.
    package init() throws {
        guard let program = Program.path(of: "qemu-system-x86_64") else {
            throw MachineError(
                description: "QEMU is not installed; run 'apt install qemu-system-x86 ovmf'")
        }
        self.program = program
        let words = try Self.output(of: [program, "--version"]).split(separator: " ")
        let number = words.firstIndex(of: "version").map { words.index(after: $0) }
        version =
            number.flatMap { $0 < words.endIndex ? String(words[$0]) : nil } ?? "of unknown version"
    }

    private static func output(of arguments: [String]) throws -> String {
        let (reader, writer) = try Pipe.open()
        _ = try Program.run(arguments, output: writer.descriptor)
        withExtendedLifetime(writer) {}
        return String(
            decoding: try reader.read(4096, milliseconds: 0) ?? [], as: UTF8.self)
    }

    // MARK: Accelerators

    /// How long a machine that only ends itself may take: by KVM it is a tenth of that.
    private static let probeMilliseconds = 2_000
    private static let probeStatus: Int32 = 85

    /// Whether KVM runs machines here.
    ///
    /// That its device can be opened says little: the host may itself be a machine that does not pass
    /// on what is needed. So one is run, of a disk whose only sector writes to a port that ends it.
    private func kvmWorks() -> Bool {
        guard unsafe access("/dev/kvm", R_OK | W_OK) == 0 else { return false }
        return (try? PrivateDirectory.withNew { try kvmWorks(in: $0.path) }) ?? false
    }

    private func kvmWorks(in directory: String) throws -> Bool {
        // mov al, 42; mov dx, 0xf4; out dx, al; cli; hlt
        var sector: [UInt8] = [0xB0, 0x2A, 0xBA, 0xF4, 0x00, 0xEE, 0xFA, 0xF4]
        sector += [UInt8](repeating: 0, count: 510 - sector.count) + [0x55, 0xAA]
        let disk = directory + "/disk"
        try FileOperation.replace(disk, with: sector.rawSpan)
        let process = try ChildProcess(
            [
                program, "-nodefaults", "-no-user-config", "-display", "none", "-M", "pc", "-accel",
                "kvm", "-cpu", "host", "-m", "64", "-nic", "none", "-device",
                "isa-debug-exit,iobase=0xf4,iosize=1", "-drive",
                "if=ide,format=raw,snapshot=on,file=\(disk)",
            ], errors: nil)
        defer { process.end(seconds: 1) }
        for _ in 0..<Self.probeMilliseconds / 10 {
            if let status = process.poll() { return status == Self.probeStatus }
            usleep(10_000)
        }
        return false
    }

    /// Which accelerator is used where one was asked for.
    ///
    /// - Throws: ``MachineError`` when KVM was asked for by name and does not run machines.
    package func accelerator(
        _ wanted: MachineDescription.Accelerator
    ) throws -> MachineDescription.Accelerator {
        guard wanted != .tcg else { return .tcg }
        if kvmWorks() { return .kvm }
        guard wanted == .auto else {
            throw MachineError(
                description: "KVM does not work here: check that /dev/kvm can be opened and the "
                    + "processor's virtualization is enabled, or use '--accelerator tcg'")
        }
        return .tcg
    }

    // MARK: Arguments

    /// The words that start a machine on the disk at `uri`, which it does not write to.
    ///
    /// - Parameters:
    ///   - machine: what it is made of; its accelerator is none but `kvm` or `tcg`.
    ///   - uri: address of the disk's NBD server.
    ///   - isWritable: whether what the machine writes goes to that server; else it is thrown away.
    /// - Returns: the program and its arguments.
    /// - Throws: ``MachineError`` when the firmware is not installed.
    package func arguments(
        _ machine: MachineDescription,
        diskURI uri: String,
        isWritable: Bool
    ) throws -> [String] {
        guard let guardian = Program.path(of: "setpriv") else {
            throw MachineError(
                description: "setpriv is not installed; run 'apt install util-linux'")
        }
        let isAccelerated = machine.accelerator == .kvm
        var arguments = [
            guardian, "--pdeathsig", "TERM", program, "-nodefaults", "-no-user-config", "-name",
            "varve", "-M", "q35", "-accel", isAccelerated ? "kvm" : "tcg,thread=multi", "-cpu",
            isAccelerated ? "host" : "max", "-smp", "\(machine.processorCount)", "-m",
            "\(machine.memoryByteCount >> 20)", "-device", "VGA", "-device", "virtio-rng-pci",
            "-rtc", "base=utc",
            // What runs there is not trusted: no programs, no other users, no old calls.
            "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        ]
        if machine.firmware == .uefi {
            for file in [Self.code, Self.variables] {
                guard try FileStatus(path: file) != nil else {
                    throw MachineError(
                        description: "the disk boots by UEFI, but \(file) is missing; run 'apt "
                            + "install ovmf', or use --bios")
                }
            }
            arguments += [
                "-drive", "if=pflash,unit=0,format=raw,readonly=on,file=\(Self.code)", "-drive",
                "if=pflash,unit=1,format=raw,snapshot=on,file=\(Self.variables)",
            ]
        }
        arguments += [
            "-drive",
            // What is thrown away need not last; what is kept is flushed when the machine says so.
            "if=none,id=disk,format=raw,\(isWritable ? "cache=writeback" : "snapshot=on,cache=unsafe"),"
                + "discard=unmap,file=\(uri.replacing(",", with: ",,"))",
        ]
        let sectors = try Self.sectors(machine)
        switch machine.bus {
        case .virtio: arguments += ["-device", "virtio-blk-pci,drive=disk,bootindex=0" + sectors]
        case .sata: arguments += ["-device", "ide-hd,drive=disk,bus=ide.0,bootindex=0"]
        case .nvme: arguments += ["-device", "nvme,drive=disk,serial=varve,bootindex=0" + sectors]
        case .scsi:
            arguments += [
                "-device", "virtio-scsi-pci", "-device",
                "scsi-hd,drive=disk,bootindex=0" + sectors,
            ]
        }
        switch machine.network {
        case .none: arguments += ["-nic", "none"]
        case .user: arguments += ["-nic", "user,model=virtio-net-pci"]
        }
        return arguments
    }

    /// What says that a disk has sectors of another size than usual: its partition table counts in them.
    private static func sectors(_ machine: MachineDescription) throws -> String {
        let count = machine.sectorByteCount
        guard count > 512, count <= 32768, count.nonzeroBitCount == 1 else { return "" }
        guard machine.bus != .sata else {
            throw MachineError(
                description:
                    "the disk has sectors of \(count) bytes, but a SATA disk here has sectors of "
                    + "512; use --bus virtio")
        }
        return ",logical_block_size=\(count),physical_block_size=\(count)"
    }

    /// The machine, for people.
    package func text(_ machine: MachineDescription) -> String {
        "QEMU \(version), \(machine.accelerator.rawValue), \(machine.processorCount) processors, "
            + "\(machine.memoryByteCount >> 20) MiB, \(machine.bus.rawValue)"
    }
}
