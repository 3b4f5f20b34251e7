#!/usr/bin/env python3
"""Writes what an application on the rig's disk writes in one hour: log lines, database pages,
files. One process and a seed, so it takes about a second and gives the same bytes each time;
called by change-disk for moments 1 to 4, on top of what the moment before left.
Usage: write-moment.py ROOT MOMENT"""

import gzip
import os
import random
import sys

PAGE_BYTES = 8192
DATABASE_BYTES = 64 << 20
LARGE_FILE_BYTES = 100_000_000
SESSIONS = 200

root, moment = sys.argv[1], int(sys.argv[2])
source = random.Random(moment)
application = os.path.join(root, "var/lib/app")
logs = os.path.join(root, "var/log/app")


def append_log(lines):
    with open(os.path.join(logs, "app.log"), "a") as file:
        for number in range(lines):
            file.write(
                f"2026-01-01T{moment:02}:{number * 60 // lines:02} app[{source.randrange(32768)}]: "
                f"request {number} from 10.0.0.{source.randrange(256)} "
                f"took {source.randrange(32768)} us id={source.randrange(1 << 32):08x}\n")


def rotate_log():
    plain = os.path.join(logs, "app.log")
    with open(plain, "rb") as old, open(plain + ".1.gz", "wb") as new:
        new.write(gzip.compress(old.read(), mtime=0))
    os.remove(plain)


def write_random(path, byte_count):
    with open(path, "wb") as file:
        while byte_count > 0:
            file.write(source.randbytes(min(byte_count, 1 << 20)))
            byte_count -= 1 << 20


def change_pages(count):
    """Rewrites the first 600 bytes of each page, a third of them zeros, as a row update does."""
    with open(os.path.join(application, "data.db"), "r+b") as file:
        for page in source.sample(range(DATABASE_BYTES // PAGE_BYTES), count):
            file.seek(page * PAGE_BYTES)
            file.write(source.randbytes(400) + bytes(200))


def session(number):
    return os.path.join(application, f"session-{number}")


if moment == 1:
    os.makedirs(logs)
    os.makedirs(application)
    append_log(20_000)
    write_random(os.path.join(application, "data.db"), DATABASE_BYTES)
elif moment == 2:
    append_log(40_000)
    change_pages(300)
    write_random(os.path.join(root, "var/tmp/backup.tar"), LARGE_FILE_BYTES)
    for number in range(SESSIONS):
        with open(session(number), "w") as file:
            file.write(f"user {number} {source.randrange(1 << 30)}\n")
elif moment == 3:
    append_log(10_000)
    rotate_log()
    append_log(5_000)
    change_pages(300)
    for number in range(SESSIONS // 2):
        os.remove(session(number))
elif moment == 4:
    append_log(2_000)
    change_pages(50)
else:
    sys.exit(f"there is no moment {moment}: name 1, 2, 3 or 4")
