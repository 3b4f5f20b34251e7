import Foundation
import Glibc
import SimulationSupport
import TestKit
import Testing

/// Snapshots as block devices, by the programs that others read them with.
@Suite(.serialized) struct ExportTests {
    private let place: Place
    private let images: [Data]

    /// Two snapshots of a volume, the second with a change at 5 MB.
    init() throws {
        let scratch = ScratchDirectory()
        place = Place(scratch, path: scratch.path)
        var model = ImageModel(byteCount: 6_000_000, seed: 77)
        var bytes = Data(model.bytes)
        // Whole sectors, for programs that count in them.
        bytes.append(Data(count: 6_291_456 - bytes.count))
        var images = [bytes]
        bytes[5_000_000] ^= 1
        images.append(bytes)
        model.change()
        self.images = images
        #expect(try Child.run(["init", "--block-size", "16K"], in: place).status == 0)
        for image in images {
            let file = try place.write(image, to: "disk.img")
            #expect(try Child.run(["backup", file, "--volume", "d"], in: place).status == 0)
        }
    }

    private func export(_ snapshot: String, _ arguments: String..., run: String) throws
        -> Child.Result
    {
        try Child.run(["export", snapshot, "--run", run] + arguments, in: place)
    }

    @Test("nbdcopy of an export is the image, and holes are told")
    func copied() throws {
        for (number, image) in images.enumerated() {
            let result = try export(
                "d@\(number + 1)",
                run: "nbdcopy \"$uri\" \(place.path)/out && nbdinfo --map --totals \"$uri\"")
            #expect(result.status == 0, "\(result.errors)")
            #expect(try place.read("out") == image)
            #expect(result.output.contains("hole,zero"), "\(result.output)")
            unlink(place.path + "/out")
        }
        let compared = try export(
            "d@latest", run: "qemu-img compare -f raw -F raw \(place.path)/disk.img \"$uri\"")
        #expect(compared.output.contains("Images are identical"), "\(compared)")
    }

    @Test("Ranges that fit no block, from several connections at once, are the image's")
    func ranges() throws {
        let job = """
            fio --name=a --ioengine=nbd --uri="$uri" --rw=randread --bs=512-40k --iodepth=8 \
            --numjobs=4 --size=6291456 --number_ios=500 --output-format=terse >/dev/null
            """
        #expect(try export("d@1", run: job).status == 0)
        let script = """
            random, nbd = (__import__(name) for name in ("random", "nbd"))
            h = nbd.NBD()
            h.connect_uri("$uri")
            image = open("\(place.path)/disk.img", "rb").read()
            random.seed(5)
            for _ in range(300):
                offset = random.randrange(len(image))
                count = random.randrange(1, min(100000, len(image) - offset) + 1)
                assert h.pread(count, offset) == image[offset:offset + count], (offset, count)
            print("equal")
            """
        let result = try export(
            "d@2", "--cache", "1M", run: "/usr/bin/python3 - <<E\n\(script)\nE\n")
        #expect(result.output == "equal\n", "\(result)")
    }

    @Test("It is read-only, or what is written is thrown away, or kept for this snapshot alone")
    func writes() throws {
        let write = "qemu-io -f raw -c 'write -P 9 4096 20000' \"$uri\""
        let read = "qemu-io -f raw -c 'read -P 9 4096 20000' \"$uri\" | grep -v failed"
        let same = "qemu-img compare -f raw -F raw \(place.path)/disk.img \"$uri\""
        #expect(try export("d@2", run: write).output.contains("wrote") == false)
        let thrown = try export("d@2", "--writable", run: "\(write) && \(read)")
        #expect(thrown.status == 0 && thrown.output.contains("wrote 20000/20000"), "\(thrown)")
        #expect(try export("d@2", "--writable", run: same).status == 0)
        let overlay = place.path + "/o,verlay"
        #expect(try export("d@2", "--overlay", overlay, run: same).status == 0)
        #expect(try export("d@2", "--overlay", overlay, run: write).status == 0)
        let kept = try export("d@2", "--overlay", overlay, run: read)
        #expect(kept.output.contains("read 20000/20000"), "\(kept)")
        let foreign = try export("d@1", "--overlay", overlay, run: "true")
        #expect(
            foreign.status == 1 && foreign.errors.contains("not an overlay of this"), "\(foreign)")
        let noOverlay = try export("d@1", "--overlay", place.path + "/disk.img", run: "true")
        #expect(noOverlay.status == 1, "\(noOverlay)")
        #expect(try place.read("disk.img") == images[1])
        #expect(try Child.run(["check", "--read-data"], in: place).status == 0)
    }

    @Test("An overlay that leads to another file is refused, and the file is not touched")
    func hostileOverlays() throws {
        let result = try Child.shell(Child.text(of: "ExportTests/hostile-overlays"), in: place)
        #expect(result.status == 0, "\(result)")
    }

    @Test("A server ends with its command, however that ends, and its socket is taken over")
    func ends() throws {
        let socket = place.path + "/s.sock"
        let child = try Child(["export", "d@1", "--socket", socket], in: place)
        let size = "nbdinfo --size \"$uri\""
        // A socket is there before anybody listens.
        try Self.wait(socket, isServed: true)
        let second = try export("d@1", "--socket", socket, run: size)
        #expect(second.status == 1 && second.errors.contains("is in use"), "\(second)")
        child.kill()
        _ = child.wait()
        try Self.wait(socket, isServed: false)
        #expect(try export("d@1", "--socket", socket, run: size).output == "6291456\n")
        #expect(access(socket, F_OK) != 0)
        let file = try place.write(Data("precious".utf8), to: "file")
        #expect(try export("d@1", "--socket", file, run: size).status == 1)
        #expect(try place.read("file") == Data("precious".utf8))
    }

    private static func wait(_ socket: String, isServed: Bool) throws {
        for _ in 0..<500 {
            if serves(socket) == isServed { return }
            usleep(20_000)
        }
        Issue.record("\(socket) is \(isServed ? "not served yet" : "served still")")
    }

    private static func serves(_ socket: String) -> Bool {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/nbdinfo")
        process.arguments = ["--size", "nbd+unix:///?socket=\(socket)"]
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return false }
        process.waitUntilExit()
        return process.terminationStatus == 0
    }

    @Test("A damaged pack is an error of the range that needs it, and the server continues")
    func damage() throws {
        let folder = place.repository + "/packs"
        let packs = try FileManager.default.subpathsOfDirectory(atPath: folder).filter {
            var isDirectory: ObjCBool = false
            return FileManager.default.fileExists(
                atPath: "\(folder)/\($0)", isDirectory: &isDirectory) && !isDirectory.boolValue
        }
        // The smallest holds the change alone.
        let sizes = try packs.map { try Data(contentsOf: URL(fileURLWithPath: "\(folder)/\($0)")) }
        let victim = try #require(zip(packs, sizes).min { $0.1.count < $1.1.count })
        var bytes = victim.1
        for index in bytes.indices.dropFirst(bytes.count / 4).prefix(bytes.count / 2) {
            bytes[index] ^= 0xff
        }
        chmod("\(folder)/\(victim.0)", 0o600)
        try bytes.write(to: URL(fileURLWithPath: "\(folder)/\(victim.0)"))
        let result = try export(
            "d@2",
            run: """
                qemu-io -r -f raw -c 'read 5000000 1' "$uri"
                qemu-io -r -f raw -c 'read 0 4000000' "$uri"
                """)
        #expect(result.output.contains("failed: Input/output error"), "\(result)")
        #expect(result.output.contains("read 4000000/4000000"), "\(result)")
        #expect(result.errors.contains("cannot be read"), "\(result)")
    }
}
