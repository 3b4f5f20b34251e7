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
        let result = try shell(
            """
            mkdir a b
            echo 1 >a/only-a; echo 2 >b/only-b; echo 3 >a/both; echo 4 >b/both
            truncate -s 8M a.img b.img
            mke2fs -q -F -t ext4 -d a a.img; mke2fs -q -F -t ext4 -d b b.img
            truncate -s 40M disk
            printf 'label: gpt\\nsize=8MiB\\nsize=8MiB\\nsize=8MiB,type=S\\nsize=4MiB\\n' | sfdisk -q disk
            dd if=a.img of=disk bs=1M seek=1 conv=notrunc,sparse status=none
            dd if=b.img of=disk bs=1M seek=9 conv=notrunc,sparse status=none
            truncate -s 8M swap.img; mkswap swap.img >/dev/null
            dd if=swap.img of=disk bs=1M seek=17 conv=notrunc,sparse status=none
            "$VARVE" backup -q disk --volume p
            [ "$("$VARVE" history p:/only-a --json | grep -c '"partition":1')" = 1 ] || exit 2
            [ "$("$VARVE" history p:/only-b --json | grep -c '"partition":2')" = 1 ] || exit 3
            [ "$("$VARVE" history p:/both | wc -l)" = 2 ] || exit 4
            [ "$("$VARVE" history p:/both --partition 2 | wc -l)" = 1 ] || exit 5
            [ "$("$VARVE" find p 'only-*' --json | grep -c '"partition":[12]')" = 2 ] || exit 6
            "$VARVE" find p both | grep -q 'partition 2  /both' || exit 7
            status=0; "$VARVE" history p:/none 2>/dev/null || status=$?; [ $status = 1 ] || exit 8
            # What holds nothing that can be read, but something.
            printf 'LUKS\\272\\276\\0\\2 and more' | dd of=disk bs=1M seek=25 conv=notrunc status=none
            "$VARVE" backup -q disk --volume p
            for command in 'history p:/only-b' 'find p only-b' 'history p:/none' 'find p@2 none'; do
                status=0; "$VARVE" $command >said 2>errors || status=$?
                [ $status = 3 ] || { echo "$command: $status"; cat said errors; exit 9; }
                grep -q 'p@2: partition 4 (.*) was not searched' errors || { cat errors; exit 10; }
            done
            [ "$("$VARVE" history p:/only-b 2>/dev/null | grep -c '^p@1…2 ')" = 1 ] || exit 11
            "$VARVE" find p@1 only-b >/dev/null || exit 12
            """)
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
