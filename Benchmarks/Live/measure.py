"""Measures, in the emulated machine, what tracking costs a writer: run by ../live.

Prints one line for each figure: its name, the median of the pairs, and all of them.
"""

import ctypes
import json
import mmap
import os
import random
import statistics
import subprocess
import sys
import threading
import time

VARVE = os.environ["varve"]
PAIRS = int(sys.argv[1])
DEVICE = "/dev/mapper/data"
CHUNK = 8192
BLOCK = 4096
AREA = 40 << 20


def run(*arguments):
    return subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True).stdout


def report(name, values, unit):
    values = list(values)
    texts = " ".join(f"{value:.2f}" for value in values)
    print(f"{name:58} {statistics.median(values):8.2f} {unit:8} ({texts})", flush=True)


class Writer:
    """Writes blocks past the page cache; one buffer, one descriptor."""

    def __init__(self, path):
        self.file = os.open(path, os.O_RDWR | os.O_DIRECT)
        self.buffer = mmap.mmap(-1, 1 << 20)
        self.buffer.write(os.urandom(1 << 20))

    def write(self, offset, count):
        os.pwrite(self.file, memoryview(self.buffer)[:count], offset)

    def close(self):
        os.close(self.file)


def seconds_of(path, offsets, count):
    writer = Writer(path)
    start = time.monotonic()
    for offset in offsets:
        writer.write(offset, count)
    seconds = time.monotonic() - start
    writer.close()
    return seconds


def begin_tracking():
    run(VARVE, "track", "begin", DEVICE, "--store", "/run/stores", "--store-size", "60M", "--quiet")


def end_tracking():
    run(VARVE, "track", "end", DEVICE, "--quiet")


def measure_writes(name, offsets, count):
    """Without tracking, then the first and the second write after a view began, as ratios."""
    first, again = [], []
    for _ in range(PAIRS):
        before = seconds_of(DEVICE, offsets, count)
        begin_tracking()
        tracked = seconds_of(DEVICE, offsets, count)
        second = seconds_of(DEVICE, offsets, count)
        end_tracking()
        first.append(tracked / before)
        again.append(second / before)
    report(f"{name}, first after a backup", first, "x")
    report(f"{name}, again", again, "x")


class BareCalls:
    """A suspend and a resume by libdevmapper, and nothing between them."""

    def __init__(self):
        self.library = ctypes.CDLL("libdevmapper.so.1.02.1")
        self.library.dm_task_create.restype = ctypes.c_void_p

    def call(self, kind):
        task = ctypes.c_void_p(self.library.dm_task_create(kind))
        self.library.dm_task_set_name(task, b"data")
        assert self.library.dm_task_run(task) == 1
        self.library.dm_task_destroy(task)

    def run(self):
        start = time.monotonic()
        self.call(4)
        self.call(5)
        return (time.monotonic() - start) * 1000


def stall_during(action, path):
    """The longest write, in milliseconds, of a writer that never stops while `action` runs."""
    writer = Writer(path)
    latencies = []
    stopped = threading.Event()

    def work():
        while not stopped.is_set():
            start = time.monotonic()
            writer.write(random.randrange(AREA // 2 // BLOCK) * BLOCK, BLOCK)
            latencies.append((time.monotonic() - start) * 1000)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.5)
    value = action()
    time.sleep(0.3)
    stopped.set()
    thread.join()
    writer.close()
    return max(latencies), value


def backup():
    output = run(VARVE, "backup", DEVICE, "--json")
    summary = [json.loads(line) for line in output.splitlines() if '"summary"' in line][0]
    return summary["window_milliseconds"]


def measure_stall(name, path):
    bare = BareCalls()
    rows = {"nothing": [], "bare": [], "bare_time": [], "backup": [], "window": []}
    backup()
    for _ in range(PAIRS):
        rows["nothing"].append(stall_during(lambda: time.sleep(0.5), path)[0])
        stall, length = stall_during(bare.run, path)
        rows["bare"].append(stall)
        rows["bare_time"].append(length)
        stall, length = stall_during(backup, path)
        rows["backup"].append(stall)
        rows["window"].append(length)
    report(f"{name}: longest write, nothing else done", rows["nothing"], "ms")
    report(f"{name}: bare suspend and resume", rows["bare_time"], "ms")
    report(f"{name}: longest write then", rows["bare"], "ms")
    report(f"{name}: window of a backup", rows["window"], "ms")
    report(f"{name}: longest write in a backup", rows["backup"], "ms")


def main():
    random.seed(7)
    chunks = random.sample(range(AREA // CHUNK), 1000)
    measure_writes("4 KiB, at random", [chunk * CHUNK for chunk in chunks], BLOCK)
    measure_writes("1 MiB, in order", range(0, AREA, 1 << 20), 1 << 20)
    run(VARVE, "init", "--quiet")
    begin_tracking()
    measure_stall("no file system", DEVICE)
    end_tracking()
    run("mkfs.ext4", "-q", "-F", DEVICE)
    os.makedirs("/mnt/data", exist_ok=True)
    run("mount", DEVICE, "/mnt/data")
    with open("/mnt/data/file", "wb") as file:
        file.write(bytes(AREA // 2))
        os.fsync(file.fileno())
    begin_tracking()
    measure_stall("ext4, mounted", "/mnt/data/file")


main()
