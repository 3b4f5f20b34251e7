internal import CShims
internal import Glibc

/// Whether nobody but root and the user of this process can change what a path leads to.
///
/// What root is told by a file that others can write, others tell root. So it is with programs, and with
/// directories whose content is believed.
package enum Trust {
    /// Why something is not trusted, with the file that is the reason.
    package struct Refusal: Error, Hashable, CustomStringConvertible {
        package let description: String
    }

    /// A chain of links is never longer than this, as the kernel has it.
    private static let linkLimit = 40

    /// Refuses a file or directory that somebody else can change or replace: by its own owner and mode, by
    /// those of a directory above it, or by a symbolic link on the way.
    ///
    /// What does not exist is looked at as far as the path goes.
    ///
    /// - Parameters:
    ///   - path: what is to be trusted.
    ///   - what: what it is, in words, such as `the configuration`.
    /// - Throws: ``Refusal``; ``SystemError`` when the path cannot be followed.
    package static func require(_ path: String, as what: String) throws {
        let start = path.hasPrefix("/") ? path : try currentDirectory() + "/" + path
        var rest = components(start)
        var directory = "/"
        var above = try facts("/")
        try requireOwn(above, "/", what, path)
        var linkCount = 0
        while let name = rest.popLast() {
            if name == ".." {
                directory = Directory.parent(of: directory)
                guard let found = try facts(directory) else { return }
                above = found
                continue
            }
            let next = directory == "/" ? "/" + name : directory + "/" + name
            guard let found = try facts(next) else {
                // Nothing can be put below what is no directory.
                if let above, !above.isDirectory { return }
                // Whoever may write to the last directory that is there may put it there. In a sticky one
                // it is this user's once it was made: that has to be looked at again then.
                if let above, above.isDirectory, above.mode & UInt32(S_ISVTX) != 0 { return }
                return try requireClosed(above, directory, nil, what, path)
            }
            try requireClosed(above, directory, found, what, path)
            if found.isLink {
                linkCount += 1
                guard linkCount <= linkLimit, let target = Self.target(of: next) else {
                    throw SystemError(.open, path, errno: ELOOP)
                }
                try requireOwner(found, next, what, path)
                rest += components(target)
                if target.hasPrefix("/") {
                    directory = "/"
                    above = try facts("/")
                }
                continue
            }
            try requireOwner(found, next, what, path)
            if rest.isEmpty { return try requireClosed(found, next, found, what, path) }
            directory = next
            above = found
        }
        try requireClosed(above, directory, above, what, path)
    }

    /// The same of a program with its arguments; where that is an interpreter, of its script too.
    package static func require(program arguments: [String], as what: String) throws {
        guard let name = arguments.first, let path = executable(name) else { return }
        try require(path, as: what)
        let interpreter = Directory.baseName(of: path)
        guard
            ["sh", "bash", "dash", "ksh", "zsh", "python", "perl", "ruby"].contains(
                where: interpreter.hasPrefix),
            let script = arguments.dropFirst().first, script.contains("/"),
            !script.contains(where: \.isWhitespace)
        else { return }
        try require(script, as: what)
    }

    /// Where a program is that is called by that name; nil when there is none.
    private static func executable(_ name: String) -> String? {
        guard !name.contains("/") else { return name }
        let path = SystemEnvironment.value(of: "PATH") ?? "/usr/bin:/bin"
        return path.split(separator: ":").map { "\($0)/\(name)" }
            .first { unsafe access($0.systemBytes, X_OK) == 0 }
    }

    // MARK: Rules

    private static func requireOwn(
        _ facts: Facts?,
        _ place: String,
        _ what: String,
        _ path: String
    ) throws {
        if let facts { try requireOwner(facts, place, what, path) }
    }

    private static func requireOwner(
        _ facts: Facts,
        _ place: String,
        _ what: String,
        _ path: String
    ) throws {
        guard !Accounts.isTrusted(user: facts.owner) else { return }
        throw Refusal(
            description:
                "\(what) \(path) is not used: \(place) (mode \(facts.permissions)) belongs to "
                + "user \(Accounts.name(ofUser: facts.owner)), who could change it; "
                + (place == path
                    ? "run 'chown \(Accounts.name(ofUser: geteuid())) \(place)', or use another"
                    : "use one in a directory of your own"))
    }

    /// Refuses what others can write to, unless it is a directory with the sticky bit and `inside` is of
    /// somebody who is trusted.
    private static func requireClosed(
        _ facts: Facts?,
        _ place: String,
        _ inside: Facts?,
        _ what: String,
        _ path: String
    ) throws {
        guard let facts, !facts.isLink else { return }
        if facts.isDirectory, facts.mode & UInt32(S_ISVTX) != 0, let inside, inside != facts,
            Accounts.isTrusted(user: inside.owner)
        {
            return
        }
        let byOthers = facts.mode & UInt32(S_IWOTH) != 0
        let byGroup =
            facts.mode & UInt32(S_IWGRP) != 0
            && (!Accounts.isPrivate(group: facts.group) || hasAccessList(place))
        guard byOthers || byGroup else { return }
        throw Refusal(
            description:
                "\(what) \(path) is not used: \(place) has mode \(facts.permissions), so "
                + (byOthers
                    ? "everybody" : "group \(Accounts.name(ofGroup: facts.group))")
                + " can change it; "
                + (facts.mode & UInt32(S_ISVTX) != 0
                    ? "use another" : "run 'chmod \(byOthers ? "o-w" : "g-w") \(place)'"))
    }

    // MARK: Facts

    private struct Facts: Hashable {
        let owner: uid_t
        let group: gid_t
        let mode: UInt32
        let device: UInt64
        let inode: UInt64

        var permissions: String { String(mode & 0o7777, radix: 8) }
        var isDirectory: Bool { mode & UInt32(S_IFMT) == UInt32(S_IFDIR) }
        var isLink: Bool { mode & UInt32(S_IFMT) == UInt32(S_IFLNK) }

        init(_ raw: Glibc.stat) {
            owner = raw.st_uid
            group = raw.st_gid
            mode = UInt32(raw.st_mode)
            device = UInt64(raw.st_dev)
            inode = UInt64(raw.st_ino)
        }
    }

    /// Nil when nothing is there.
    private static func facts(_ path: String) throws(SystemError) -> Facts? {
        var raw = Glibc.stat()
        guard unsafe lstat(path.systemBytes, &raw) == 0 else {
            if errno == ENOENT || errno == ENOTDIR { return nil }
            throw SystemError(.status, path)
        }
        return Facts(raw)
    }

    /// In the order in which they are taken from the end.
    private static func components(_ path: String) -> [String] {
        // By bytes: a name may begin with what a text would join to the one before.
        path.utf8.split(separator: 0x2F).map { String(Substring($0)) }.filter { $0 != "." }
            .reversed()
    }

    private static func target(of link: String) -> String? {
        var bytes = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = unsafe readlink(link.systemBytes, &bytes, bytes.count - 1)
        guard count > 0 else { return nil }
        return String(fromSystem: bytes.prefix(count).map(UInt8.init(bitPattern:)))
    }

    private static func currentDirectory() throws(SystemError) -> String {
        guard let path = Directory.resolve(".") else { throw SystemError(.open, ".") }
        return path
    }

    /// Whether more users may write than owner and group: the mode shows a mask then.
    private static func hasAccessList(_ path: String) -> Bool {
        unsafe varve_has_access_list(path.systemBytes) != 0
    }
}

/// Users and groups, as the files of this system list them.
enum Accounts {
    /// Whether a user is root or the one of this process.
    ///
    /// Where a namespace knows no root, what belongs to it seems to belong to nobody.
    static func isTrusted(user: uid_t) -> Bool {
        user == 0 || user == geteuid() || user == overflowUser && !hasAllUsers
    }

    private static let overflowUser =
        uid_t(
            (Directory.text(of: "/proc/sys/kernel/overflowuid") ?? "").filter(\.isNumber)) ?? 65534

    private static let hasAllUsers =
        (Directory.text(of: "/proc/self/uid_map") ?? "0 0 4294967295")
        .split(whereSeparator: \.isWhitespace) == ["0", "0", "4294967295"]

    /// Whether a group has no members but root and this user.
    ///
    /// A group that the files do not list may have any.
    static func isPrivate(group: gid_t) -> Bool {
        let trusted: Set<uid_t> = [0, geteuid()]
        let users = entries("/etc/passwd").compactMap {
            fields -> (name: String, id: uid_t, group: gid_t)? in
            guard fields.count > 3, let id = uid_t(fields[2]), let group = gid_t(fields[3]) else {
                return nil
            }
            return (fields[0], id, group)
        }
        let names = Set(users.filter { trusted.contains($0.id) }.map(\.name))
        let found = entries("/etc/group").filter { $0.count > 3 && gid_t($0[2]) == group }
        guard !found.isEmpty else { return false }
        let members = found.flatMap { $0[3].split(separator: ",").map(String.init) }
        return members.allSatisfy(names.contains)
            && users.allSatisfy { $0.group != group || trusted.contains($0.id) }
    }

    static func name(ofUser id: uid_t) -> String {
        entries("/etc/passwd").first { $0.count > 2 && uid_t($0[2]) == id }?[0] ?? "\(id)"
    }

    static func name(ofGroup id: gid_t) -> String {
        entries("/etc/group").first { $0.count > 2 && gid_t($0[2]) == id }?[0] ?? "\(id)"
    }

    private static func entries(_ path: String) -> [[String]] {
        (Directory.text(of: path, limit: 16 << 20) ?? "").split(separator: "\n").map {
            $0.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        }
    }
}
