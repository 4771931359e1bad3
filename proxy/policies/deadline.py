"""Deadlines: how long an exchange and each of its attempts may take."""

from dataclasses import dataclass
from math import inf

from proxy.policies.gate import Mode


@dataclass(frozen=True, slots=True)
class InheritConfig:
    """What outbound calls take from the inbound request that they are made for."""

    deadline: bool = True
    retries: bool = True


@dataclass(frozen=True, slots=True)
class TimeoutsConfig:
    """Seconds. 0 means no limit for `max_duration` and `stream_idle`; every other is above 0.

    `stream_idle`: the longest silence of a gRPC stream, instead of `idle`.

    `body_rate`: bytes per second, 0 for no limit, None for the listener's. In mode OBSERVE they
    end nothing, except the listener's `body_rate`.
    """

    connect: float = 1.0
    attempt: float = 5.0
    request: float = 15.0
    idle: float = 60.0
    max_duration: float = 0.0
    stream_idle: float = 0.0
    body_rate: int | None = None
    inherit: InheritConfig = InheritConfig()
    propagate: bool = True
    mode: Mode = Mode.ENFORCE


class Deadline:
    """A point in monotonic time that stands still while it is paused.

    `at` is that point (inf: none). While `paused` it is the point at the pause; `resume` moves it
    by the length of the pause.
    """

    __slots__ = ("_paused_at", "at", "paused", "stood_still")

    def __init__(self, now: float, seconds: float) -> None:
        """`seconds` 0: no deadline."""
        self.at = now + seconds if seconds else inf
        self.paused = False
        self._paused_at = 0.0
        self.stood_still = 0.0  # seconds of pauses that have ended

    def remaining(self, now: float) -> float:
        """Seconds left, 0 or less when it has passed."""
        return self.at - (self._paused_at if self.paused else now)

    def standing(self, now: float) -> float:
        """Seconds of all pauses so far."""
        return self.stood_still + (now - self._paused_at if self.paused else 0.0)

    def expired(self, now: float) -> bool:
        return self.remaining(now) <= 0

    def pause(self, now: float) -> None:
        """Stop the clock, while the client's body flows; a second pause changes nothing."""
        if not self.paused:
            self.paused = True
            self._paused_at = now

    def resume(self, now: float) -> None:
        """Run again; no effect without a pause."""
        if self.paused:
            self.paused = False
            self.at += now - self._paused_at
            self.stood_still += now - self._paused_at

    def shorten(self, now: float, seconds: float) -> None:
        """Shorten to `seconds` from now; no effect if the present deadline is earlier."""
        since = self._paused_at if self.paused else now
        self.at = min(self.at, since + seconds)
