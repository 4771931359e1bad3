"""One address that an upstream can be reached at."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.upstream.pool import Pool

AVOID_FIRST = 1.0
AVOID_LONGEST = 30.0


class Endpoint:
    """A configured `scheme://host:port` at one of the addresses of its host.

    The same object for as long as look-ups keep giving the address, so that what hangs on it (its
    pool, a breaker known by `label`) lives through them. `active` counts the exchanges that hold
    one of its connections or wait for one; its pool keeps it.

    An endpoint whose last connect failed is *avoided* for a while, 1 s at first, doubling up to
    30 s: it is then picked only where no other will do. A refusal takes no time, so without that
    a dead endpoint would always be the one with the fewest active exchanges, and draw most of
    the traffic to itself. Dual-stack names with one family unreachable are the everyday case.
    """

    __slots__ = (
        "_connect_failures",
        "active",
        "avoid_until",
        "host",
        "ip",
        "label",
        "pool",
        "port",
        "removed",
        "scheme",
        "where",
    )

    pool: "Pool"

    def __init__(self, scheme: str, host: str, port: int, ip: str) -> None:
        """`host` as configured, without brackets; `ip` equals it where it is a literal."""
        self.scheme = scheme
        self.host = host
        self.port = port
        self.ip = ip
        self.label = f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
        self.where = self.label if host == ip else f"{self.label} ({host})"
        self.active = 0
        self.removed = False
        self.avoid_until = 0.0
        self._connect_failures = 0

    def note_connected(self) -> None:
        """A connect succeeded: nothing speaks against the endpoint any more."""
        self._connect_failures = 0
        self.avoid_until = 0.0

    def note_connect_failed(self, now: float) -> None:
        """A connect failed. Those that fail together count once."""
        if now < self.avoid_until:
            return
        self.avoid_until = now + min(AVOID_LONGEST, AVOID_FIRST * 2**self._connect_failures)
        self._connect_failures = min(self._connect_failures + 1, 16)

    def __repr__(self) -> str:
        return f"<Endpoint {self.scheme} {self.where}>"
