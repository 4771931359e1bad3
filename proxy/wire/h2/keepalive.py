"""PING while requests are open on an HTTP/2 connection (RFC 9113 section 6.7).

──interval without a byte──▶ PING ──timeout without a byte──▶ lost
"""

from typing import Final

from proxy.wire.alarm import NEVER

PAYLOAD: Final = b"keepaliv"


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
