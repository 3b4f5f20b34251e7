internal import BlockModel
package import FileModel
internal import Glibc
package import LinuxIO

/// Writes files of an image to a directory of this system: content, owners, modes, times, links and
/// extended attributes, as far as this process may.
///
/// Nothing that exists is written over, and nothing is followed that was there before or that the image
/// made: names come from the image, which may be hostile. The directory that is written to may be another
/// user's: what is not a single file is made in a directory of its own that only this user writes to, and
/// moved to its place when it is whole.
package final class Extraction {
    /// Deeper trees take more open directories than a process has.
    private static let depthLimit = 400
    private static let failureLimit = 20
    /// What a file system says of a name, a kind or a size that it does not take; others say that it is over.
    private static let refusals: Set<Int32> = [
        EACCES, EEXIST, EFBIG, EILSEQ, EINVAL, EMLINK, ENAMETOOLONG, ENOTSUP, EOVERFLOW, EPERM,
    ]

    private let tree: FileTree
    private let isInterrupted: () -> Bool
    private let progress: (ExtractionSummary) -> Void
    private var summary = ExtractionSummary()
    /// Where the files with several names were written first.
    private var firstNames: [UInt64: [UInt8]] = [:]
    private var seenDirectories: Set<UInt64> = []
    /// Where names of files begin; nil for a file that is written alone.
    private var root: DirectoryHandle?
    /// Whether nobody else can change what a name stands for while this goes on.
    private var isExclusive = false
    /// The directory that all others are in, once it has all that is in it.
    private var topmost: NewFile?

    package init(
        _ tree: FileTree,
        isInterrupted: @escaping () -> Bool,
        progress: @escaping (ExtractionSummary) -> Void
    ) {
        self.tree = tree
        self.isInterrupted = isInterrupted
        self.progress = progress
    }

    /// Writes `inode` as `name` into `directory`, with everything below it; durable when this returns.
    ///
    /// What is damaged below a directory, or refused by the file system that is written to, is left out,
    /// and told of in the summary.
    ///
    /// - Throws: ``ContentsError``, ``SystemError``; what was written until then stays.
    package func run(
        _ inode: Inode,
        as name: [UInt8],
        in directory: DirectoryHandle
    ) throws -> ExtractionSummary {
        if inode.kind == .file {
            // One file is held by its descriptor until it is whole.
            try write(inode, name, in: directory, path: name, depth: 0)
        } else {
            try writeAside(inode, name, in: directory)
        }
        try directory.synchronizeFileSystem()
        return summary
    }

    /// Where the user has no directory for himself, names may lead elsewhere from one call to the next.
    private func writeAside(
        _ inode: Inode,
        _ name: [UInt8],
        in directory: DirectoryHandle
    ) throws {
        guard try !directory.contains(name) else {
            throw SystemError(
                .makeDirectory, Self.text(name), errno: EEXIST)
        }
        let stage = try directory.makeStage()
        defer { directory.remove(stage) }
        root = stage.directory
        isExclusive = stage.isExclusive
        defer { root = nil }
        do {
            try write(inode, name, in: stage.directory, path: name, depth: 0)
        } catch {
            // What was written stays.
            try? directory.take(name, from: stage)
            throw error
        }
        // Nothing is there of what could not be made.
        guard try stage.directory.contains(name) else { return }
        try directory.take(name, from: stage)
        // A directory cannot be moved any more when its owner may not write to it.
        if let topmost { try finish(inode, topmost, name) }
    }

    private func write(
        _ inode: Inode,
        _ name: [UInt8],
        in directory: DirectoryHandle,
        path: [UInt8],
        depth: Int
    ) throws {
        guard !isInterrupted() else { throw Interrupted.ofExtraction }
        if inode.kind != .directory, inode.linkCount > 1, let root {
            if let first = firstNames[inode.number] {
                if try directory.link(name, to: first, in: root) { return }
                remark("a hard link cannot be made there; it is a copy", path)
            }
            firstNames[inode.number] = path
        }
        switch inode.kind {
        case .directory: try writeDirectory(inode, name, in: directory, path, depth)
        case .file: try writeFile(inode, name, in: directory, path)
        case .symbolicLink:
            try directory.createLink(name, to: try tree.linkTarget(of: inode))
            if isExclusive {
                try directory.setOwner(inode, of: name).remark.map { remark($0, path) }
                try directory.setTimes(inode, of: name)
            }
            summary.otherCount += 1
        case .pipe, .socket, .characterDevice, .blockDevice:
            guard
                try directory.createNode(
                    name, mode: inode.mode, major: inode.deviceMajor, minor: inode.deviceMinor)
            else {
                return remark("devices, pipes and sockets of this kind cannot be made", path)
            }
            if isExclusive {
                let ownership = try directory.setOwner(inode, of: name)
                try directory.setMode(mode(of: inode, ownership, path), of: name)
                try directory.setTimes(inode, of: name)
            }
            summary.otherCount += 1
        case .unknown:
            throw ContentsError(
                .damaged, "inode \(inode.number) (\(Self.text(path))) is of an unknown kind")
        }
        progress(summary)
    }

    private func writeFile(
        _ inode: Inode,
        _ name: [UInt8],
        in directory: DirectoryHandle,
        _ path: [UInt8]
    ) throws {
        let file = try directory.createFile(name)
        do {
            try writeContent(inode, file)
            try finish(inode, file, path)
        } catch {
            // Half a file is none.
            directory.remove(name)
            firstNames[inode.number] = nil
            throw error
        }
        summary.fileCount += 1
    }

    private func writeDirectory(
        _ inode: Inode,
        _ name: [UInt8],
        in directory: DirectoryHandle,
        _ path: [UInt8],
        _ depth: Int
    ) throws {
        guard depth < Self.depthLimit else {
            throw ContentsError(
                .unsuitable, "\(Self.text(path)) is more than \(Self.depthLimit) directories deep")
        }
        guard seenDirectories.insert(inode.number).inserted else {
            throw ContentsError(
                .damaged, "\(Self.text(path)) is a directory with two parents")
        }
        let made = try directory.createDirectory(name)
        for entry in try tree.system.entries(of: inode.number) {
            let path = path + [0x2f] + entry.name
            do {
                try write(
                    try tree.system.inode(entry.inode), entry.name, in: made, path: path,
                    depth: depth + 1)
            } catch {
                try pass(over: error, path)
            }
        }
        summary.directoryCount += 1
        if depth == 0 { topmost = made.file } else { try finish(inode, made.file, path) }
    }

    /// Notes what ends one file only, and throws what ends it all.
    private func pass(over error: any Error, _ path: [UInt8]) throws {
        if let error = error as? SystemError {
            guard Self.refusals.contains(error.errno) else { throw error }
            summary.refusedCount += 1
        }
        guard !(error is Interrupted) else { throw error }
        summary.failureCount += 1
        if summary.failures.count < Self.failureLimit {
            summary.failures.append("\(Self.text(path)): \(error)")
        }
    }

    private func writeContent(_ inode: Inode, _ file: NewFile) throws {
        try tree.system.forEachPiece(of: inode) { offset, bytes in
            guard !isInterrupted() else { throw Interrupted.ofExtraction }
            try file.write(bytes, at: offset)
            summary.byteCount += UInt64(bytes.byteCount)
            progress(summary)
        }
        try file.setByteCount(inode.byteCount)
    }

    /// What is not content.
    ///
    /// The owner comes first: a change of it takes rights and capabilities away. Lists of rights come
    /// after the other attributes, which they may forbid; the mode after them, and the times last.
    private func finish(_ inode: Inode, _ file: NewFile, _ path: [UInt8]) throws {
        let ownership = try file.setOwner(user: inode.user, group: inode.group)
        let attributes = try tree.system.attributes(of: inode)
        let isOfRights = { (name: ByteString) in name.bytes.starts(with: "system.posix_acl_".utf8) }
        for attribute in attributes.filter({ !isOfRights($0.name) })
            + attributes.filter({ isOfRights($0.name) })
        {
            try file.setAttribute(attribute.name, attribute.value).map { remark($0, path) }
        }
        try file.setMode(mode(of: inode, ownership, path))
        try file.setTimes(accessed: inode.accessed, modified: inode.modified)
    }

    /// The mode that it gets: what runs as its owner must not run as another one.
    private func mode(of inode: Inode, _ ownership: Ownership, _ path: [UInt8]) -> UInt32 {
        ownership.remark.map { remark($0, path) }
        let bits = inode.mode & 0o6000
        guard !ownership.isKept, bits != 0 else { return inode.mode }
        remark(
            "its set-user-id and set-group-id bits were dropped: its owner could not be "
                + "set", path)
        return inode.mode & ~bits
    }

    private func remark(_ words: String, _ path: [UInt8]) {
        summary.remarkCount += 1
        guard !summary.remarks.contains(where: { $0.hasSuffix(words) }) else { return }
        summary.remarks.append("\(Self.text(path)): \(words)")
    }

    private static func text(_ path: [UInt8]) -> String { ByteString(bytes: path).carrier }
}

extension Interrupted {
    package static let ofExtraction = Interrupted(consequence: "what was written remains")
}

extension DirectoryHandle {
    fileprivate func setOwner(_ inode: Inode, of name: [UInt8]) throws -> Ownership {
        try setOwner(user: inode.user, group: inode.group, of: name)
    }

    fileprivate func setTimes(_ inode: Inode, of name: [UInt8]) throws {
        try setTimes(
            accessed: (inode.accessed.seconds, inode.accessed.nanoseconds),
            modified: (inode.modified.seconds, inode.modified.nanoseconds), of: name)
    }
}

extension NewFile {
    fileprivate func setTimes(accessed: FileTime, modified: FileTime) throws {
        try setTimes(
            accessed: (accessed.seconds, accessed.nanoseconds),
            modified: (modified.seconds, modified.nanoseconds))
    }
}
