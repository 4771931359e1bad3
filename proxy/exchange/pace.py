"""Measures how fast a client sends its body or reads its response: `limits.body_rate`.

Only the time in which the proxy waits for the client counts: it has room for the client's body, or
bytes that the client does not read. Event streams, long polls and slow services are therefore not
measured. A client that after `GRACE` seconds of such time is slower than the rate, on average, has
failed. Single pieces are not counted: the streams count their bytes.
"""

from time import monotonic
from typing import Final

from proxy.wire.alarm import NEVER
from proxy.wire.streams import ClientStream

GRACE: Final = 5.0
"""Seconds of waiting before a client is judged."""
LEAST: Final = 0.1
"""The same if another exchange needs the permit. Bytes in transit arrive within this time."""
SETTLING: Final = 1.0
"""Seconds in which the kernels' buffers fill: bytes in them were not read by the client."""
_FINEST: Final = 0.05
"""Minimum seconds between two checks."""


class Pace:
    """One client in one direction of one exchange. `rate` is in bytes per second.

    `look_at`: when the client may have become too slow (monotonic seconds); NEVER while the proxy
    does not wait for it. `waiting`: whether it does.
    """

    __slots__ = (
        "_before",
        "_client",
        "_moved",
        "_settles",
        "_since",
        "_waited",
        "look_at",
        "rate",
        "waiting",
    )

    def __init__(self, client: ClientStream, rate: int, *, settles: bool = False) -> None:
        """`settles`: bytes that move in the first `SETTLING` seconds of waiting do not count."""
        self._client = client
        self.rate = rate
        self.waiting = False
        self.look_at = NEVER
        self._since = 0.0
        self._waited = 0.0
        self._moved = 0
        self._before = 0
        self._settles = settles

    def bytes_now(self) -> int:
        """A count that grows by the bytes that the client moves."""
        raise NotImplementedError

    def wait(self, waits: bool) -> None:
        """From now on the proxy waits for the client, or does not."""
        if waits == self.waiting:
            return
        now = monotonic()
        self.waiting = waits
        if waits:
            self._since = now
            self._before = self.bytes_now()
            self.look_at = self._next_look(now)
        else:
            self._waited += now - self._since
            self._moved += self.bytes_now() - self._before
            self.look_at = NEVER

    def too_slow(self, now: float) -> bool:
        """Whether the client has failed. If not, `look_at` is the time of the next check."""
        if not self.waiting or now < self.look_at:
            return False
        if self._settles and self._seconds(now) >= SETTLING:
            self._settles = False
            self._moved = 0
            self._before = self.bytes_now()
        if self._seconds(now) >= GRACE and self._missing(now) > 0:
            return True
        self.look_at = self._next_look(now)
        return False

    def behind(self, now: float) -> float:
        """Bytes that the client is behind its rate; 0 if it is fast enough or not measured yet."""
        if not self.waiting or self._settles or self._seconds(now) < LEAST:
            return 0.0
        return max(self._missing(now), 0.0)

    def begin_again(self, now: float) -> None:
        """Restart the measurement: the process was stopped, and the client waited for it."""
        self._since = now
        self._before = self.bytes_now()
        self._waited = 0.0
        self._moved = 0
        if self.waiting:
            self.look_at = self._next_look(now)

    def average(self, now: float) -> float:
        """Bytes per second so far."""
        seconds = self._seconds(now)
        return self._bytes() / seconds if seconds else 0.0

    def _seconds(self, now: float) -> float:
        return self._waited + (now - self._since if self.waiting else 0.0)

    def _bytes(self) -> int:
        return self._moved + (self.bytes_now() - self._before if self.waiting else 0)

    def _missing(self, now: float) -> float:
        return self.rate * self._seconds(now) - self._bytes()

    def _next_look(self, now: float) -> float:
        """When it will be too slow if no more bytes move."""
        if self._settles:
            return now + max(SETTLING - self._seconds(now), _FINEST)
        enough = max(self._bytes() / self.rate, GRACE)
        return now + max(enough - self._seconds(now), _FINEST)


class SendingPace(Pace):
    """The pace at which the client sends the request's body."""

    __slots__ = ()

    def bytes_now(self) -> int:
        return self._client.request_bytes


class TakingPace(Pace):
    """The pace at which the client reads the response."""

    __slots__ = ()

    def __init__(self, client: ClientStream, rate: int) -> None:
        super().__init__(client, rate, settles=True)

    def bytes_now(self) -> int:
        return -self._client.unsent_bytes
