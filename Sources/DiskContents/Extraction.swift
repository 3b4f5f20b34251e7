internal import BlockModel
package import LinuxIO

/// Writes files of an image to a directory of this system: content, owners, modes, times, links and
/// extended attributes, as far as this process may.
///
/// Nothing that exists is written over, and nothing is followed that was there before or that the image
/// made: names come from the image, which may be hostile.
package final class Extraction {
    /// What was done.
    package struct Summary: Hashable, Sendable {
        package var fileCount = 0
        package var directoryCount = 0
        package var otherCount = 0
        package var byteCount: UInt64 = 0
        /// What could not be set or made, in words, the first of each kind.
        package var remarks: [String] = []
        /// How many there were of them all.
        package var remarkCount = 0
        /// What could not be read, and is not there, with the reasons; the first of them.
        package var failures: [String] = []
        package var failureCount = 0
    }

    /// Deeper trees take more open directories than a process has.
    private static let depthLimit = 400
    private static let failureLimit = 20

    private let tree: FileTree
    private let isInterrupted: () -> Bool
    private let progress: (Summary) -> Void
    private var summary = Summary()
    /// Where the files with several names were written first.
    private var firstNames: [UInt64: [UInt8]] = [:]
    private var seenDirectories: Set<UInt64> = []

    package init(
        _ tree: FileTree,
        isInterrupted: @escaping () -> Bool,
        progress: @escaping (Summary) -> Void
    ) {
        self.tree = tree
        self.isInterrupted = isInterrupted
        self.progress = progress
    }

    /// Writes `inode` as `name` into `directory`, with everything below it; durable when this returns.
    ///
    /// What is damaged below a directory is left out, and told of in the summary.
    ///
    /// - Throws: ``ContentsError``, ``SystemError``; what was written until then stays.
    package func run(
        _ inode: Inode,
        as name: [UInt8],
        in directory: DirectoryHandle
    ) throws -> Summary {
        try write(inode, name, in: directory, root: directory, path: name, depth: 0)
        try directory.synchronizeFileSystem()
        return summary
    }

    private func write(
        _ inode: Inode,
        _ name: [UInt8],
        in directory: DirectoryHandle,
        root: DirectoryHandle,
        path: [UInt8],
        depth: Int
    ) throws {
        guard !isInterrupted() else { throw ExtractionInterrupted() }
        if inode.kind != .directory, inode.linkCount > 1 {
            if let first = firstNames[inode.number] {
                return try directory.link(name, to: first, in: root)
            }
            firstNames[inode.number] = path
        }
        switch inode.kind {
        case .directory: try writeDirectory(inode, name, in: directory, root, path, depth)
        case .file:
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
        case .symbolicLink:
            try directory.createLink(name, to: try tree.linkTarget(of: inode))
            try directory.setOwner(inode, of: name).map { remark($0, path) }
            try directory.setTimes(inode, of: name)
            summary.otherCount += 1
        case .pipe, .socket, .characterDevice, .blockDevice:
            guard
                try directory.createNode(
                    name, mode: inode.mode, major: inode.deviceMajor, minor: inode.deviceMinor)
            else { return remark("devices can be made by root only", path) }
            try directory.setOwner(inode, of: name).map { remark($0, path) }
            try directory.setMode(inode.mode, of: name)
            try directory.setTimes(inode, of: name)
            summary.otherCount += 1
        case .unknown:
            throw ContentsError(
                .damaged, "inode \(inode.number) (\(Self.text(path))) is of no kind that is known")
        }
        progress(summary)
    }

    private func writeDirectory(
        _ inode: Inode,
        _ name: [UInt8],
        in directory: DirectoryHandle,
        _ root: DirectoryHandle,
        _ path: [UInt8],
        _ depth: Int
    ) throws {
        guard depth < Self.depthLimit else {
            throw ContentsError(
                .unsuitable, "\(Self.text(path)) is more than \(Self.depthLimit) directories deep")
        }
        guard seenDirectories.insert(inode.number).inserted else {
            throw ContentsError(
                .damaged, "\(Self.text(path)) is a directory that is in two places")
        }
        let made = try directory.createDirectory(name)
        for entry in try tree.system.entries(of: inode.number) {
            let path = path + [0x2f] + entry.name
            do {
                try write(
                    try tree.system.inode(entry.inode), entry.name, in: made, root: root,
                    path: path, depth: depth + 1)
            } catch {
                // What this system refuses ends it; what the image refuses ends that file.
                guard !(error is SystemError), !(error is ExtractionInterrupted) else {
                    throw error
                }
                summary.failureCount += 1
                if summary.failures.count < Self.failureLimit {
                    summary.failures.append("\(Self.text(path)): \(error)")
                }
            }
        }
        try finish(inode, made.file, path)
        summary.directoryCount += 1
    }

    private func writeContent(_ inode: Inode, _ file: NewFile) throws {
        try tree.system.forEachPiece(of: inode) { offset, bytes in
            guard !isInterrupted() else { throw ExtractionInterrupted() }
            try file.write(bytes, at: offset)
            summary.byteCount += UInt64(bytes.byteCount)
            progress(summary)
        }
        try file.setByteCount(inode.byteCount)
    }

    /// What is not content.
    ///
    /// The mode comes after the owner, which takes rights away, and the times last.
    private func finish(_ inode: Inode, _ file: NewFile, _ path: [UInt8]) throws {
        for attribute in try tree.system.attributes(of: inode) {
            try file.setAttribute(attribute.name, attribute.value).map { remark($0, path) }
        }
        try file.setOwner(user: inode.user, group: inode.group).map { remark($0, path) }
        try file.setMode(inode.mode)
        try file.setTimes(accessed: inode.accessed, modified: inode.modified)
    }

    private func remark(_ words: String, _ path: [UInt8]) {
        summary.remarkCount += 1
        guard !summary.remarks.contains(where: { $0.hasSuffix(words) }) else { return }
        summary.remarks.append("\(Self.text(path)): \(words)")
    }

    private static func text(_ path: [UInt8]) -> String { String(decoding: path, as: UTF8.self) }
}

/// Somebody asked to stop; what was written stays.
package struct ExtractionInterrupted: Error, CustomStringConvertible {
    package let description = "interrupted; what was written stays"

    package init() {}
}

extension DirectoryHandle {
    fileprivate func setOwner(_ inode: Inode, of name: [UInt8]) throws -> String? {
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
