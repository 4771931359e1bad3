"""Ports that nobody else takes: below the range from which the kernel picks for connections.

Each process takes a block of them for itself, by the lock of a file, so that tests that run at
the same time never meet, not even on a port on which nobody listens at the moment.
"""

import fcntl
import itertools
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

FIRST, BLOCK, BLOCKS = 10000, 500, 44

_held: list[IO[str]] = []


def _block() -> int:
    """The first port of a block that no other process holds; it is held to the process's end."""
    directory = Path(tempfile.gettempdir(), "resilience-proxy-test-ports")
    directory.mkdir(exist_ok=True)
    for number in range(BLOCKS):
        block = (os.getpid() + number) % BLOCKS
        file = (directory / str(block)).open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        _held.append(file)
        return FIRST + block * BLOCK
    raise AssertionError(f"all {BLOCKS} blocks of ports are taken")


def _ports() -> Iterator[int]:
    first = _block()
    for number in itertools.count():
        yield first + number % BLOCK


_next = _ports()


def free_port(host: str = "127.0.0.1") -> int:
    """A port of this process that can be bound now; the same one comes again after 500."""
    for port in itertools.islice(_next, BLOCK):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise AssertionError("no port of this process's block is free")


def has_ipv6() -> bool:
    """Whether this machine has ::1."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
