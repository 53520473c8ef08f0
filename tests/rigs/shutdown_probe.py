#!/usr/bin/env python3
"""What `xfs_io -x -c shutdown` does to a sync that is under way. As root. See README.md, "The witness".

    tests/rigs/shutdown_probe.py ext4|xfs [--seconds S]      60 seconds by default

A process writes records of 200 bytes to one file, each with `pwrite` and `fdatasync`, and notes when each sync began and
ended; the file system is shut down under it and mounted again. Nothing of Cairn runs. A record whose sync ended before the
shutdown began has to be there: exit status 1 if one is not. One whose sync was under way may be gone although the sync
returned success; how many are is printed. Processes that do nothing keep the processors busy: that makes it more frequent.
"""

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


def write(path, ledger):
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    notes = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    laid_down = 0
    for number in range(RECORDS):
        record = number.to_bytes(8, "little").ljust(RECORD_LEN, b"x")
        offset = number * RECORD_LEN
        if offset + RECORD_LEN > laid_down:
            os.pwrite(file, bytes(PAGE), laid_down)
            laid_down += PAGE
        os.pwrite(file, record, offset)
        began = time.monotonic_ns()
        os.fdatasync(file)
        os.write(notes, f"{began} {time.monotonic_ns()}\n".encode())


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


def main():
    if len(sys.argv) not in (2, 4) or sys.argv[1] not in ("ext4", "xfs"):
        sys.exit(__doc__)
    kind = sys.argv[1]
    seconds = float(sys.argv[3]) if len(sys.argv) == 4 else 60.0
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="cairn-probe.", dir=where) as place:
        probe(kind, seconds, pathlib.Path(place))


def probe(kind, seconds, place):
    image, mount, ledger = place / "image", place / "mnt", place / "ledger"
    mount.mkdir()
    with open(image, "wb") as file:
        file.truncate(512 << 20)
    call(f"mkfs.{kind}", "-q", "-F" if kind == "ext4" else "-f", str(image))
    spinners = [fork(spin) for _ in range(2 * os.cpu_count())]
    cycles, under_way, before = 0, 0, 0
    end = time.monotonic() + seconds
    call("mount", "-o", "loop", str(image), str(mount))
    try:
        while time.monotonic() < end:
            cycles += 1
            (mount / "file").unlink(missing_ok=True)
            ledger.unlink(missing_ok=True)
            os.sync()
            writer = fork(write, mount / "file", ledger)
            time.sleep(0.02 + 0.1 * (cycles % 7) / 7)
            shutdown = time.monotonic_ns()
            call("xfs_io", "-x", "-c", "shutdown", str(mount))
            os.kill(writer, signal.SIGKILL)
            os.waitpid(writer, 0)
            call("umount", str(mount))
            call("mount", "-o", "loop", str(image), str(mount))
            found = (mount / "file").read_bytes() if (mount / "file").exists() else b""
            notes = ledger.read_text().splitlines() if ledger.exists() else []
            for number, line in enumerate(notes):
                at = number * RECORD_LEN
                if found[at : at + RECORD_LEN] != number.to_bytes(8, "little").ljust(RECORD_LEN, b"x"):
                    if int(line.split()[1]) < shutdown:
                        before += 1
                    else:
                        under_way += 1
    finally:
        for child in spinners:
            os.kill(child, signal.SIGKILL)
        subprocess.run(["umount", str(mount)], check=False)
    print(f"{cycles} shutdowns of {kind} on Linux {os.uname().release}: of records whose sync had returned success, these were")
    print(f"gone: {before} whose sync ended before the shutdown began, {under_way} whose sync ended while it was made, or later")
    sys.exit(before > 0)


main()
