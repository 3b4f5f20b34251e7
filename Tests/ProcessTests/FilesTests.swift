import Foundation
import Glibc
import SimulationSupport
import TestKit
import Testing

/// Single files of a snapshot, without mounting it.
@Suite(.serialized) struct FilesTests {
    private let place: Place

    /// A snapshot of an ext4 image of the directory `tree`.
    init() throws {
        let scratch = ScratchDirectory()
        place = Place(scratch, path: scratch.path)
        let made = try Self.shell(
            """
            cd \(place.path)
            mkdir -p tree/settings/deep tree/sub
            echo precious >tree/settings/fstab
            chmod 6711 tree/settings/fstab
            ln tree/settings/fstab tree/sub/again
            ln -s ../settings/fstab tree/sub/link
            ln -s /settings tree/sub/directory
            mkfifo tree/sub/pipe
            touch -d 2001-02-03T04:05:06.789 tree/settings/deep
            truncate -s 5G tree/sub/sparse
            printf x | dd of=tree/sub/sparse bs=1 seek=3000000000 conv=notrunc status=none
            printf 'strange' >"$(printf 'tree/sub/na\\033me\\nx')"
            for i in $(seq 200); do seq $i $((i * 20)) >tree/settings/deep/$i; done
            truncate -s 64M disk.img
            mke2fs -q -F -t ext4 -d tree disk.img
            """)
        #expect(made.status == 0)
        #expect(try Child.run(["init"], in: place).status == 0)
        let result = try Child.run(
            ["backup", place.path + "/disk.img", "--volume", "d"], in: place)
        #expect(result.status == 0, "\(result.errors)")
    }

    private static func shell(_ script: String) throws -> (status: Int32, output: String) {
        let process = Process()
        let pipe = Pipe()
        process.executableURL = URL(fileURLWithPath: "/bin/bash")
        process.arguments = ["-euc", script]
        process.environment = ["PATH": "/usr/sbin:/usr/bin:/sbin:/bin"]
        process.standardOutput = pipe
        try process.run()
        let output = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: output, as: UTF8.self))
    }

    private func varve(_ arguments: String...) throws -> Child.Result {
        try Child.run(arguments, in: place)
    }

    @Test("All files extracted are those that the image was made of, in every respect")
    func everything() throws {
        let result = try varve("extract", "d@1:/", place.path + "/out")
        #expect(result.status == 0, "\(result.errors)")
        let compared = try Self.shell(
            """
            cd \(place.path)
            rsync -naHAXci --delete --exclude /lost+found tree/ out/
            du -k out/sub/sparse | cut -f 1
            """)
        #expect(compared.status == 0)
        // The root of a file system has times of its own.
        let lines = compared.output.split(separator: "\n").filter { !$0.hasSuffix(" ./") }
        #expect(lines.count == 1 && Int(lines[0]) ?? .max < 1000, "\(compared.output)")
    }

    @Test("A file is shown, listed and extracted by its path, through links within the image")
    func single() throws {
        #expect(try varve("cat", "d@1:/settings/fstab").output == "precious\n")
        #expect(try varve("cat", "d:/sub/link").status == 2)
        #expect(try varve("cat", "d@latest:/sub/link").output == "precious\n")
        #expect(try varve("cat", "d@latest:/sub/directory/fstab").output == "precious\n")
        #expect(try varve("ls", "d@1:/settings").output == "deep\nfstab\n")
        #expect(try varve("ls", "d@1:/sub").output.contains("na\\x1bme\\x0ax\n"))
        let long = try varve("ls", "--long", "d@1:/sub").output
        #expect(long.contains("link -> ../settings/fstab"), "\(long)")
        let json = try varve("ls", "--json", "-R", "d@1:/sub").output
        #expect(json.contains("\"size\":5368709120"), "\(json)")
        #expect(try varve("extract", "d@1:/settings/fstab", place.path).status == 0)
        #expect(try place.read("fstab") == Data("precious\n".utf8))
        let again = try varve("extract", "d@1:/settings/fstab", place.path)
        #expect(again.status == 1 && again.errors.contains("exists"), "\(again)")
        #expect(try varve("extract", "d@1:/sub/link", place.path + "/l").status == 0)
        #expect(
            try FileManager.default.destinationOfSymbolicLink(atPath: place.path + "/l")
                == "../settings/fstab")
        for (arguments, words) in [
            (["cat", "d@1:/settings"], "is not a file but a directory"),
            (["cat", "d@1:/no"], "there is no /no"),
            (["ls", "d@1", "--partition", "1"], "has no partition 1"),
            (["ls", "d@7"], "no snapshot of generation 7"),
        ] {
            let result = try Child.run(arguments, in: place)
            #expect(result.status == 1 && result.errors.contains(words), "\(arguments): \(result)")
        }
    }

    @Test("A tree that is there already is not gone into, nor followed")
    func hostile() throws {
        let made = try Self.shell(
            """
            cd \(place.path)
            mkdir victim
            ln -s victim out
            """)
        #expect(made.status == 0)
        // A directory to be put into: the link is the user's own.
        #expect(try varve("extract", "d@1:/settings", place.path + "/out").status == 0)
        #expect(try place.read("victim/settings/fstab") == Data("precious\n".utf8))
        #expect(try varve("extract", "d@1:/settings", place.path + "/out").status == 1)
        #expect(try varve("extract", "d@1:/", place.path + "/out").status == 2)
    }

    @Test("What is damaged is left out and told of, and the rest is extracted")
    func damaged() throws {
        // Noise is in frames of its own; one thread stores them in order, so that the middle is noise.
        let noise = try Self.shell(
            """
            cd \(place.path)
            mkdir noise
            for i in 1 2 3; do head -c 3000000 /dev/urandom >noise/$i; done
            truncate -s 32M noise.img
            mke2fs -q -F -t ext4 -d noise noise.img
            """)
        #expect(noise.status == 0)
        let before = try packs()
        let backup = try varve(
            "backup", place.path + "/noise.img", "--volume", "n", "--threads", "1")
        #expect(backup.status == 0)
        let pack = try #require(packs().subtracting(before).first)
        var bytes = try Data(contentsOf: URL(fileURLWithPath: pack))
        bytes[bytes.count / 2] ^= 1
        chmod(pack, 0o600)
        try bytes.write(to: URL(fileURLWithPath: pack))
        let result = try varve("extract", "n@1:/", place.path + "/out")
        #expect(result.status == 13 && result.errors.contains("could not be read"), "\(result)")
        let there = try FileManager.default.contentsOfDirectory(atPath: place.path + "/out")
        #expect(!there.isEmpty && there.count < 4, "\(there)")
        for name in there where name != "lost+found" {
            #expect(try place.read("out/\(name)") == place.read("noise/\(name)"), "\(name)")
        }
    }

    @Test("A partition that is elsewhere now is not answered for from where it was")
    func moved() throws {
        let made = try Self.shell(
            """
            cd \(place.path)
            mkdir one two
            echo first >one/file; echo another >two/file
            truncate -s 8M a.img b.img
            mke2fs -q -F -t ext4 -d one a.img
            mke2fs -q -F -t ext4 -d two b.img
            truncate -s 32M moving.img
            dd if=a.img of=moving.img bs=1M seek=1 conv=notrunc,sparse status=none
            dd if=b.img of=moving.img bs=1M seek=16 conv=notrunc,sparse status=none
            printf 'label: gpt\\nstart=1MiB,size=8MiB\\n' | sfdisk -q moving.img
            """)
        #expect(made.status == 0)
        let disk = place.path + "/moving.img"
        #expect(try varve("backup", disk, "--volume", "m").status == 0)
        let again = try Self.shell(
            "printf 'label: gpt\\nstart=16MiB,size=8MiB\\n' | sfdisk -q --wipe never \(disk)")
        #expect(again.status == 0)
        #expect(try varve("backup", disk, "--volume", "m").status == 0)
        let history = try varve("history", "m:/file", "--json")
        #expect(history.output.contains("\"size\":6") && history.output.contains("\"size\":8"))
        let found = try varve("find", "m", "file", "--json")
        #expect(found.output.split(separator: "\n").count == 2, "\(found)")
        let difference = try varve("diff", "--files", "m@1", "m@2")
        #expect(
            difference.status == 1 && difference.errors.contains("was recreated"), "\(difference)")
    }

    private func packs() throws -> Set<String> {
        let folder = place.repository + "/packs"
        let names = try FileManager.default.subpathsOfDirectory(atPath: folder)
        return Set(
            names.map { "\(folder)/\($0)" }.filter {
                var isDirectory: ObjCBool = false
                return FileManager.default.fileExists(atPath: $0, isDirectory: &isDirectory)
                    && !isDirectory.boolValue
            })
    }

    @Test("What is no ext file system names what would read it")
    func others() throws {
        let file = try place.write(Data(repeating: 7, count: 1 << 20), to: "noise")
        #expect(try varve("backup", file, "--volume", "n").status == 0)
        let result = try varve("ls", "n@1")
        #expect(result.status == 1 && result.errors.contains("'varve mount --files'"), "\(result)")
    }
}
