import Foundation
import Glibc
import SimulationSupport
import TestKit
import Testing

/// Files on disks with several partitions, and with sectors of 4,096 bytes.
@Suite(.serialized) struct PartitionTests {
    private let place: Place

    init() throws {
        let scratch = ScratchDirectory()
        place = Place(scratch, path: scratch.path)
        #expect(try Child.run(["init"], in: place).status == 0)
    }

    private func shell(_ script: String) throws -> Child.Result {
        try Child.shell("cd \(place.path)\nset -e\n\(script)", in: place)
    }

    @Test("All partitions are searched, and those that cannot be are named, with a status of 3")
    func search() throws {
        let result = try shell(Child.text(of: "PartitionTests/search"))
        #expect(result.status == 0, "\(result)")
    }

    @Test(
        "A disk whose sectors have 4,096 bytes has partitions and files", arguments: [false, true])
    func largeSectors(isDevice: Bool) throws {
        let result = try shell(
            """
            mkdir a; echo large >a/file; truncate -s 16M part.img; mke2fs -q -F -t ext4 -d a part.img
            # What sfdisk writes to a disk of such sectors.
            /usr/bin/python3 - <<'END'
            struct, uuid, zlib = (__import__(name) for name in ("struct", "uuid", "zlib"))
            S, size = 4096, 24 << 20
            last = size // S - 1
            first = 256
            entry = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4").bytes_le + uuid.uuid4().bytes_le
            entry += struct.pack("<QQQ", first, first + 4095, 0) + "part".encode("utf-16-le").ljust(72, b"\\0")
            entries = entry.ljust(128 * 128, b"\\0")
            disk = uuid.uuid4().bytes_le
            def header(own, other, table):
                def pack(crc):
                    return struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, crc, 0, own, other,
                        6, last - 5, disk, table, 128, 128, zlib.crc32(entries))
                return pack(zlib.crc32(pack(0)))
            image = bytearray(size)
            image[446:462] = struct.pack("<B3sB3sII", 0, b"\\0\\2\\0", 0xEE, b"\\xff\\xff\\xff", 1, last)
            image[510:512] = b"\\x55\\xaa"
            def put(sector, data): image[sector * S:sector * S + len(data)] = data
            put(1, header(1, last, 2)); put(2, entries)
            put(last, header(last, 1, last - 4)); put(last - 4, entries)
            put(first, open("part.img", "rb").read())
            open("disk", "wb").write(image)
            END
            source=disk
            if \(isDevice); then
                source=$(losetup -f --show -b 4096 disk) || { echo no loop device; exit 0; }
                trap "losetup -d $source" EXIT
            fi
            "$VARVE" backup -q $source --volume k
            [ "$("$VARVE" cat k@1:/file)" = large ] || exit 2
            "$VARVE" ls k@1 | grep -q '^file$' || exit 3
            "$VARVE" extract -q k@1:/file out; [ "$(cat out)" = large ] || exit 4
            "$VARVE" find k file | grep -q /file || exit 5
            "$VARVE" history k:/file | grep -q '^k@1 ' || exit 6
            "$VARVE" backup -q $source --volume k
            "$VARVE" diff --files k@1 k@2 >/dev/null || exit 7
            """)
        #expect(result.status == 0, "\(result)")
    }
}
