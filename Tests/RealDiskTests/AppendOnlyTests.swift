import Testing

extension MachinesInTurn {
    /// A file system on which nothing can be deleted.
    @Suite("Append-only directories", .needsRoot)
    struct AppendOnlyTests {
        @Test(
            "Backups, restores and forgetting end well where nothing can be deleted; the owner clears up",
            .timeLimit(.minutes(60)))
        func appendOnly() async throws {
            let scratch = try Scratch()
            let result = try await scratch.run(
                "bash", "-euc",
                """
                cd \(scratch.file("."))
                truncate -s 200M disk.img; mkfs.ext4 -q disk.img; mkdir at
                mount -o loop disk.img at
                trap 'chattr -R -a at || :; umount at' EXIT
                export VARVE_REPOSITORY=$PWD/at/repository
                "$VARVE" init -q
                head -c 3000000 /dev/urandom >image
                "$VARVE" backup image --volume d -q
                "$VARVE" tag d@1 --add x -q
                cp image first
                find at/repository -type d -exec chattr +a {} +
                ! rm at/repository/volumes/d/newest* 2>/dev/null
                for i in 1 2 3 4; do
                    dd if=/dev/urandom of=image bs=4096 count=9 seek=$((i * 50)) conv=notrunc status=none
                    "$VARVE" backup image --volume d -q || { echo "backup $i: $?"; exit 2; }
                    find at/repository -type d -exec chattr +a {} +
                    cp image image$i
                done
                "$VARVE" restore d@latest - -q | cmp - image
                "$VARVE" tag d@1 --add y -q
                "$VARVE" protect d@1 -q
                "$VARVE" check --read-data -q
                "$VARVE" diff d@1 d@5 -q
                "$VARVE" forget --keep-last 2 -q
                [ "$("$VARVE" snapshots --json | wc -l)" = 3 ]
                s=0; "$VARVE" prune -q 2>errors || s=$?
                [ $s = 1 ] && grep -q 'may not delete' errors
                "$VARVE" backup image --volume d -q
                [ "$(ls at/repository/locks/repository | wc -l)" -gt 5 ]

                # The owner.
                chattr -R -a at
                "$VARVE" forget --keep-last 2 --now -q
                "$VARVE" prune --max-unused 0 -q
                "$VARVE" check --read-data -q
                [ -z "$(ls at/repository/locks/repository at/repository/pruning 2>/dev/null)" ] ||
                    [ -z "$(find at/repository/locks at/repository/pruning -type f)" ]
                [ "$(ls at/repository/volumes/d | grep -c newest)" = 1 ]
                rm -rf cache
                "$VARVE" restore d@1 - -q | cmp - first
                "$VARVE" restore d@5 - -q | cmp - image4
                "$VARVE" restore d@6 - -q | cmp - image
                """)
            #expect(result.status == 0, "\(result)")
        }
    }
}
