#!/usr/bin/env python3
"""What `xfs_io -x -c shutdown` does to a sync that is under way. As root. See README.md, "The witness".

A process writes records of 200 bytes to one file, each with `pwrite` and `fdatasync`, and notes when each sync ended; the
file system is shut down under it and mounted again. Nothing of Cairn runs. A record whose sync ended before the shutdown
began has to be there: exit status 1 if one is not. One whose sync was under way may be gone although the sync returned
success; how many are is printed. Processes that do nothing keep the processors busy: that makes it more frequent.

The control comes first: without `fdatasync` records have to be lost that were noted before the shutdown.
"""

import argparse
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

RECORD_LEN = 200
PAGE = 4096
RECORDS = 20_000
CONTROL_CYCLES = 20


def record(number):
    return number.to_bytes(8, "little").ljust(RECORD_LEN, b"x")


def write(path, ledger, syncs):
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    notes = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    laid_down = 0
    for number in range(RECORDS):
        offset = number * RECORD_LEN
        if offset + RECORD_LEN > laid_down:
            os.pwrite(file, bytes(PAGE), laid_down)
            laid_down += PAGE
        os.pwrite(file, record(number), offset)
        if syncs:
            os.fdatasync(file)
        os.write(notes, f"{time.monotonic_ns()}\n".encode())


def fork(run, *arguments):
    child = os.fork()
    if child == 0:
        try:
            run(*arguments)
        except OSError:
            pass
        os._exit(0)
    return child


def spin():
    while True:
        pass


def call(*words):
    subprocess.run(words, check=True)


class Probe:
    def __init__(self, kind, place):
        self.image, self.mount, self.ledger = place / "image", place / "mnt", place / "ledger"
        self.cycles = 0
        self.mount.mkdir()
        with open(self.image, "wb") as file:
            file.truncate(512 << 20)
        call(f"mkfs.{kind}", "-q", "-F" if kind == "ext4" else "-f", str(self.image))

    def mount_image(self):
        call("mount", "-o", "loop", str(self.image), str(self.mount))

    def cycle(self, syncs):
        """How many records are gone that were noted before the shutdown began, and how many that were noted later."""
        self.cycles += 1
        path = self.mount / "file"
        path.unlink(missing_ok=True)
        self.ledger.unlink(missing_ok=True)
        os.sync()
        writer = fork(write, path, self.ledger, syncs)
        time.sleep(0.02 + 0.1 * (self.cycles % 7) / 7)
        shutdown = time.monotonic_ns()
        call("xfs_io", "-x", "-c", "shutdown", str(self.mount))
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
        call("umount", str(self.mount))
        self.mount_image()
        found = path.read_bytes() if path.exists() else b""
        notes = self.ledger.read_text().splitlines() if self.ledger.exists() else []
        before, later = 0, 0
        for number, noted in enumerate(notes):
            if found[number * RECORD_LEN :][:RECORD_LEN] != record(number):
                before += int(noted) < shutdown
                later += int(noted) >= shutdown
        return before, later


def main():
    parser = argparse.ArgumentParser(description="What a shutdown of a file system does to a sync that is under way.")
    parser.add_argument("kind", choices=["ext4", "xfs"])
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="cairn-probe.", dir=where) as place:
        probe = Probe(arguments.kind, pathlib.Path(place))
        spinners = [fork(spin) for _ in range(2 * os.cpu_count())]
        try:
            probe.mount_image()
            sys.exit(run(probe, arguments))
        finally:
            for child in spinners:
                os.kill(child, signal.SIGKILL)
            subprocess.run(["umount", str(probe.mount)], check=False)


def run(probe, arguments):
    lost = next((lost for lost, _ in (probe.cycle(False) for _ in range(CONTROL_CYCLES)) if lost), 0)
    if not lost:
        print(f"FAILED: the control lost nothing in {CONTROL_CYCLES} shutdowns")
        return 1
    print(f"control: without a sync, shutdown {probe.cycles}: {lost} records that were noted before it are gone")
    probe.cycles, before, later = 0, 0, 0
    end = time.monotonic() + arguments.seconds
    while probe.cycles == 0 or time.monotonic() < end:
        counts = probe.cycle(True)
        before, later = before + counts[0], later + counts[1]
    print(f"{probe.cycles} shutdowns of {arguments.kind} on Linux {os.uname().release}: of records whose sync had returned")
    print(f"success are gone: {before} whose sync ended before the shutdown began, {later} whose sync ended later")
    return int(before > 0)


main()
