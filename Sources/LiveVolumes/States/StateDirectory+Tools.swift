internal import Glibc
internal import LinuxIO

extension StateDirectory {
    /// What a tool may print at most: more than the lists that are kept.
    private static let outputByteLimit = 256 << 20
    private static let lockAttempts = 200
    private static let lockPauseMicroseconds: UInt32 = 50_000

    /// Reads the metadata of a target with a tool, while the target holds a snapshot of it, of which
    /// there is one at a time.
    ///
    /// A snapshot that a killed command left is let go first; one of another program is not touched.
    ///
    /// - Parameters:
    ///   - name: the device that has the target.
    ///   - isHeld: whether a snapshot is held now.
    ///   - hold: makes it be held.
    ///   - release: lets go of it.
    ///   - body: reads it.
    /// - Throws: ``NothingKnown`` when another program holds one.
    func withMetadataSnapshot<Value>(
        of name: String,
        isHeld: () throws -> Bool,
        hold: () throws -> Void,
        release: () throws -> Void,
        _ body: () throws -> Value
    ) throws -> Value {
        let lock = try patientLock("\(name).metadata")
        defer { withExtendedLifetime(lock) {} }
        let mark = "metadata-snapshot"
        if try isHeld() {
            guard text(name, mark) != nil else {
                throw NothingKnown(
                    description:
                        "another program holds the one snapshot of the metadata of /dev/mapper/\(name)"
                )
            }
            try release()
        }
        try save("", name, mark)
        do {
            try hold()
        } catch {
            try? remove(name, mark)
            throw error
        }
        let result = Result { try body() }
        try release()
        try remove(name, mark)
        return try result.get()
    }

    private func patientLock(_ name: String) throws -> DeviceLock {
        for _ in 1..<Self.lockAttempts {
            if let lock = try? lock(name) { return lock }
            usleep(Self.lockPauseMicroseconds)
        }
        return try lock(name)
    }

    /// What a tool prints, from whichever package it is.
    ///
    /// - Throws: ``NothingKnown`` when it is not installed, fails, or prints too much.
    func output(of tool: String, _ arguments: [String], package: String) throws -> [UInt8] {
        guard let program = Program.path(of: tool) else {
            throw NothingKnown(
                description: "\(tool) is not installed; run 'apt-get install \(package)'")
        }
        let file = "\(path)/\(tool).\(getpid())"
        let handle = try FileHandle(file, .create, mode: 0o600)
        defer { try? FileOperation.remove(file) }
        let status = try Program.run([program] + arguments, output: handle.descriptor)
        guard status == 0 else {
            throw NothingKnown(description: "\(tool) failed with status \(status)")
        }
        guard let text = Directory.text(of: file, limit: Self.outputByteLimit) else {
            throw NothingKnown(description: "\(tool) told of too many extents")
        }
        return Array(text.utf8)
    }
}
