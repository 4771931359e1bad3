"""Ports that nobody else takes: below the range from which the kernel picks for connections."""

import itertools
import os
import socket

FIRST, LAST = 10000, 32000

_next = itertools.count(os.getpid() * 37)


def free_port(host: str = "127.0.0.1") -> int:
    """A port that can be bound now, and that this process hands out only once."""
    for number in _next:
        port = FIRST + number % (LAST - FIRST)
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise AssertionError("unreachable: the counter has no end")


def has_ipv6() -> bool:
    """Whether this machine has ::1."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
