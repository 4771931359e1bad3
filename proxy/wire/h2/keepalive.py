"""How a dead peer of an HTTP/2 connection is noticed.

By the kernel; and by PING while requests are open (RFC 9113 section 6.7):

──interval without a byte──▶ PING ──timeout without a byte──▶ lost
"""

import asyncio
import socket
from contextlib import suppress
from typing import Final

from proxy.wire.alarm import NEVER

PAYLOAD: Final = b"keepaliv"
_DEAD_SECONDS: Final = 20
"""A peer that acknowledges nothing for so long is dead (TCP_USER_TIMEOUT)."""


class Keepalive:
    """The times of one connection, in monotonic seconds. `asked_at`: a PING is unanswered since."""

    __slots__ = ("asked_at", "heard_at", "interval", "timeout")

    def __init__(self, interval: float, timeout: float) -> None:
        """`interval` 0: no PING."""
        self.interval = interval
        self.timeout = timeout
        self.heard_at = 0.0
        self.asked_at = 0.0

    def hear(self, now: float) -> None:
        """Bytes have come: the peer lives."""
        self.heard_at = now
        self.asked_at = 0.0

    @property
    def due(self) -> float:
        """When to look again, while requests are open."""
        if not self.interval:
            return NEVER
        if self.asked_at:
            return self.asked_at + self.timeout
        return self.heard_at + self.interval

    def asks(self, now: float) -> bool:
        """Whether a PING is to be sent now; it is then unanswered."""
        if self.asked_at or now < self.due:
            return False
        self.asked_at = now
        return True

    def is_lost(self, now: float) -> bool:
        """Whether a PING was not answered in time."""
        return self.asked_at > 0.0 and now >= self.due


def notice_death(transport: asyncio.BaseTransport) -> None:
    """Let the kernel end a connection whose peer has vanished; no server objects to that."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return
    with suppress(OSError):  # not every kind of socket has them
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _DEAD_SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _DEAD_SECONDS // 2)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_SECONDS * 1000)
