package import BlockModel
package import FileModel

/// The files of a file system, by their paths.
package final class FileTree {
    /// As many as Linux follows.
    private static let linkLimit = 40
    private static let linkByteLimit: UInt64 = 4096

    package let system: any FileSystem

    package init(_ system: any FileSystem) { self.system = system }

    // MARK: Paths

    /// The file at `path`; symbolic links on the way are followed within the file system, and the last
    /// one if `followsLast`.
    ///
    /// - Throws: ``ContentsError``.
    package func find(_ name: ByteString, followsLast: Bool = false) throws -> Inode {
        let path = name.carrier
        var rest = Array(Self.parts(name.bytes).reversed())
        var directories = [try system.inode(system.rootInode)]
        var linkCount = 0
        /// The last link that was followed, and where it leads.
        var link: (name: [UInt8], target: [UInt8])?
        func missing(_ reason: String) -> ContentsError {
            guard let link else { return ContentsError(.missing, "there is no \(path)\(reason)") }
            return ContentsError(
                .missing,
                "\(path) leads to \(Self.text(link.target)), which does not exist"
                    + " (by the link \(Self.text(link.name)))")
        }
        while let name = rest.popLast() {
            guard let directory = directories.last, directory.kind == .directory else {
                throw missing(": a part of it is not a directory")
            }
            if name == [0x2e] { continue }
            if name == [0x2e, 0x2e] {
                if directories.count > 1 { directories.removeLast() }
                continue
            }
            guard let number = try system.lookUp(name, in: directory.number) else {
                throw missing("")
            }
            let found = try system.inode(number)
            guard found.kind == .symbolicLink, followsLast || !rest.isEmpty else {
                directories.append(found)
                continue
            }
            linkCount += 1
            guard linkCount <= Self.linkLimit else {
                throw ContentsError(.unsuitable, "\(path) leads through too many symbolic links")
            }
            let target = try linkTarget(of: found)
            link = (name, target)
            if target.first == 0x2f { directories.removeLast(directories.count - 1) }
            rest += Self.parts(target).reversed()
        }
        return directories[directories.count - 1]
    }

    /// The file at a path that a `String` carries.
    package func find(_ path: String, followsLast: Bool = false) throws -> Inode {
        try find(ByteString(carrying: path), followsLast: followsLast)
    }

    private static func text(_ name: [UInt8]) -> String { ByteString(bytes: name).carrier }

    private static func parts(_ path: [UInt8]) -> [[UInt8]] {
        path.split(separator: 0x2f).map(Array.init)
    }

    package func linkTarget(of inode: Inode) throws -> [UInt8] {
        guard inode.kind == .symbolicLink, inode.byteCount <= Self.linkByteLimit else {
            throw ContentsError(.damaged, "inode \(inode.number) is not a symbolic link")
        }
        var target: [UInt8] = []
        try system.forEachPiece(of: inode) { _, bytes in target += [UInt8](copying: bytes) }
        // The system ends one at its first zero.
        return Array(target.prefix { $0 != 0 })
    }

    /// Goes through everything below a directory, itself not; a directory before what is in it.
    ///
    /// `body` gets the path below it, without a slash in front. A directory is gone into once, whatever
    /// leads to it.
    package func walk(
        _ directory: Inode,
        _ body: (_ path: [UInt8], Inode) throws -> Void
    ) throws {
        var seen: Set<UInt64> = [directory.number]
        var pending: [(path: [UInt8], number: UInt64)] = [([], directory.number)]
        while let next = pending.popLast() {
            var found: [(path: [UInt8], number: UInt64)] = []
            for entry in try system.entries(of: next.number) {
                let path = next.path.isEmpty ? entry.name : next.path + [0x2f] + entry.name
                let inode = try system.inode(entry.inode)
                try body(path, inode)
                if inode.kind == .directory, seen.insert(inode.number).inserted {
                    found.append((path, inode.number))
                }
            }
            pending += found.reversed()
        }
    }
}
