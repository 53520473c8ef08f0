"""redis-cli against the server on the port that is given, as people and scripts use it."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

# `--piped N`, and the port.
PIPED, PORT = int(sys.argv[2]), sys.argv[3]

# What is typed before it is thrown away.
PROMPT = rb"127\.0\.0\.1:\d+(\(TX\))?> "


def cli(*words, data=None):
    done = subprocess.run(["redis-cli", "-p", PORT, *words], input=data, capture_output=True, timeout=60)
    assert done.returncode == 0, done
    return done.stdout


def one_command():
    assert cli("flushall") == b"OK\n"
    assert cli("set", "greeting", "hello") == b"OK\n"
    assert cli("get", "greeting") == b"hello\n"
    assert cli("-x", "set", "binary", data=bytes(range(256))) == b"OK\n"
    assert cli("get", "binary") == bytes(range(256)) + b"\n"
    assert cli("-3", "get", "absent") == b"\n"
    assert cli("-n", "3", "exists", "greeting") == b"0\n"
    assert cli("--no-raw", "mget", "greeting", "absent") == b'1) "hello"\n2) (nil)\n'
    assert cli(data=b"set a 1\nincr a\nget a\n") == b"OK\n2\n2\n"
    assert b"PONG" in cli("-r", "3", "ping")


def terminal():
    """Typed at a terminal, where redis-cli first asks for the documentation of every command."""
    child, screen = pty.fork()
    if child == 0:
        # Without a size, redis-cli would ask the terminal for it.
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        os.environ.update(TERM="xterm", HOME="/nonexistent")
        os.execvp("redis-cli", ["redis-cli", "-p", PORT])
    shown = b""

    def until(pattern):
        nonlocal shown
        end = time.monotonic() + 20
        while not re.search(pattern, shown):
            assert time.monotonic() < end, (pattern, shown)
            if select.select([screen], [], [], 0.2)[0]:
                try:
                    shown += os.read(screen, 65_536)
                except OSError:
                    break
        found = re.search(pattern, shown)
        assert found, (pattern, shown)
        shown = shown[found.end():]

    # What is waited for is in no hint, which redis-cli shows while a command is typed.
    for typed, expected in [
        (b"set typed \"two words\"", rb"OK"),
        (b"get typed", rb"\"two words\""),
        (b"multi", rb"OK"),
        (b"incr counted", rb"QUEUED"),
        (b"exec", rb"\(integer\) 1"),
        (b"hello 3", rb"\"proto\" => \(integer\) 3"),
        (b"get absent", rb"\(nil\)"),
        (b"lpush list x", rb"ERR unknown command"),
        (b"help set", rb"(?s)SET.*group:"),
    ]:
        until(PROMPT)
        os.write(screen, typed + b"\r")
        until(expected)
    until(PROMPT)
    os.write(screen, b"quit\r")
    os.waitpid(child, 0)
    os.close(screen)


def piped():
    """Generated as it is sent; the end is an empty line and an ECHO."""
    loading = subprocess.Popen(
        ["redis-cli", "-p", PORT, "--pipe"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    for start in range(0, PIPED, 1_000):
        keys = (b"piped:%09d" % n for n in range(start, start + 1_000))
        loading.stdin.write(b"".join(b"*3\r\n$3\r\nSET\r\n$15\r\n%s\r\n$5\r\nvalue\r\n" % key for key in keys))
    told, _ = loading.communicate(timeout=300)
    assert loading.returncode == 0 and b"errors: 0, replies: %d" % PIPED in told, told
    assert cli("get", "piped:%09d" % (PIPED - 1)) == b"value\n"
    assert b"%d" % 1 == cli("exists", "piped:%09d" % (PIPED // 2)).strip()


def walks():
    found = set(cli("--scan", "--pattern", "piped:00000000?").split())
    assert found == {b"piped:%09d" % n for n in range(10)}, found
    cli("flushall")
    cli("mset", "large", "x" * 1_000, "small", "x")
    assert b'Biggest string found \'"large"\' has 1000 bytes' in cli("--bigkeys")
    assert b"large" in cli("--memkeys")


def exporter():
    """What redis_exporter asks on each scrape; one that fails breaks the scrape."""
    told = cli(data=b"CLIENT SETNAME redis_exporter\nCONFIG GET *\nINFO ALL\n")
    assert told.startswith(b"OK\n"), told[:100]
    lines = told.split(b"\n")
    info = next(n for n, line in enumerate(lines) if line.startswith(b"# Server"))
    names = lines[1:info:2]
    assert {b"maxclients", b"maxmemory", b"databases"} <= set(names), names
    fields = dict(line.strip().split(b":", 1) for line in lines[info:] if b":" in line)
    for name in [
        b"redis_version", b"redis_mode", b"uptime_in_seconds", b"connected_clients", b"used_memory", b"loading",
        b"total_commands_processed", b"total_connections_received", b"keyspace_hits", b"keyspace_misses", b"role",
        b"expired_keys",
    ]:
        assert name in fields, name
    assert re.fullmatch(rb"keys=\d+,expires=\d+,avg_ttl=\d+(,.*)?", fields[b"db0"]), fields[b"db0"]


one_command()
terminal()
piped()
exporter()
walks()
print(f"{cli('--version').decode().strip()}: one command, a terminal, {PIPED} piped, walks, the exporter's three")
