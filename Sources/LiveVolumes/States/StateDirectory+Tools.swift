internal import DeviceMapper
internal import Glibc
internal import LinuxIO

extension StateDirectory {
    /// What a tool may print at most: more than the lists that are kept.
    private static let outputByteLimit = 256 << 20

    /// Reads the metadata of a target with a tool, while the target lends a snapshot of it, of which
    /// there is one at a time.
    ///
    /// A snapshot that a killed command left is let go first; one of another program is not touched.
    ///
    /// - Returns: what `body` gives.
    /// - Throws: ``NothingKnown`` when another program has the snapshot.
    func withMetadata<Value>(of lender: MetadataLender, _ body: () throws -> Value) throws -> Value
    {
        let name = lender.device
        return try withLock(
            "\(name).metadata", attempts: Self.lockAttempts(seconds: 10)
        ) {
            let mark = "metadata-snapshot"
            if let lent = try lender.lent() {
                // An empty mark was left before the number was known: then it counts as ours.
                guard let known = text(name, mark), known.isEmpty || known == "\(lent)" else {
                    throw NothingKnown(
                        description:
                            "another program holds the only metadata snapshot of "
                            + "/dev/mapper/\(name)"
                    )
                }
                try lender.release()
            }
            try save("", name, mark)
            do {
                try lender.lend()
            } catch {
                try? remove(name, mark)
                throw error
            }
            let lent = try lender.lent()
            try save(lent.map { "\($0)" } ?? "", name, mark)
            let result = Result { try body() }
            guard try lent != nil && lender.lent() == lent else {
                throw NothingKnown(
                    description:
                        "another program removed the metadata snapshot of /dev/mapper/\(name)"
                )
            }
            try lender.release()
            try remove(name, mark)
            return try result.get()
        }
    }

    /// What a tool prints, from whichever package it is.
    ///
    /// - Throws: ``NothingKnown`` when it is not installed, fails, or prints too much.
    func output(of tool: String, _ arguments: [String], package: String) throws -> [UInt8] {
        guard let program = Program.path(of: tool) else {
            throw NothingKnown(
                description: "\(tool) is not installed; run 'apt-get install \(package)'")
        }
        // The file has no name for longer than it takes to open it.
        let file = "\(path)/\(tool).\(getpid())"
        try FileOperation.remove(file)
        let handle = try FileHandle(file, .create, mode: 0o600)
        try FileOperation.remove(file)
        let status = try Program.run([program] + arguments, output: handle.descriptor)
        guard status == 0 else {
            throw NothingKnown(description: "\(tool) failed with status \(status)")
        }
        let opened = "/proc/self/fd/\(handle.descriptor)"
        guard try handle.status(tool).byteCount <= Self.outputByteLimit,
            let text = Directory.text(of: opened, limit: Self.outputByteLimit)
        else {
            throw NothingKnown(description: "\(tool) reported too many extents")
        }
        return Array(text.utf8)
    }
}

/// A target that lends a snapshot of its metadata, to be read while the metadata itself is in use.
enum MetadataLender {
    case thinPool(String)
    case era(String)

    var device: String {
        switch self {
        case .thinPool(let name), .era(let name): name
        }
    }

    /// The metadata block of the snapshot that is lent; nil for none.
    func lent() throws -> UInt64? {
        guard let line = try DeviceMapper.status(device).first else { return nil }
        return switch self {
        case .thinPool: ThinPoolStatus(line.parameters)?.heldSnapshot
        case .era: EraStatus(line.parameters)?.heldSnapshot
        }
    }

    func lend() throws {
        switch self {
        case .thinPool(let name): try DeviceMapper.message(name, "reserve_metadata_snap")
        case .era(let name): try DeviceMapper.message(name, "take_metadata_snap")
        }
    }

    func release() throws {
        switch self {
        case .thinPool(let name): try DeviceMapper.message(name, "release_metadata_snap")
        case .era(let name): try DeviceMapper.message(name, "drop_metadata_snap")
        }
    }
}
