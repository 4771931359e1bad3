"""The settings of a circuit breaker (`proxy.policies.circuit_breaker`)."""

from dataclasses import dataclass
from enum import Enum

from proxy.outcome import OutcomeSet
from proxy.policies.window import CountWindow, TimeWindow, Window


class BreakerMode(Enum):
    ENFORCE = "enforce"
    OBSERVE = "observe"
    OFF = "off"


class BreakerCounts(Enum):
    ATTEMPTS = "attempts"
    REQUESTS = "requests"


class BreakerScope(Enum):
    ROUTE = "route"
    UPSTREAM = "upstream"
    ENDPOINT = "endpoint"


class WindowType(Enum):
    COUNT = "count"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class WindowConfig:
    """`size`: outcomes for COUNT, whole seconds for TIME; at least 1."""

    type: WindowType = WindowType.COUNT
    size: int = 100


@dataclass(frozen=True, slots=True)
class SlowCallConfig:
    """A call longer than `duration` seconds is slow; `rate` is a ratio of 0 to 1."""

    duration: float = 60.0
    rate: float = 1.0


@dataclass(frozen=True, slots=True)
class OpenForConfig:
    """Seconds; each consecutive opening waits `multiplier` times longer, up to `max`."""

    initial: float = 30.0
    multiplier: float = 1.0
    max: float = 300.0

    def seconds(self, openings: int) -> float:
        """The wait of the last of `openings` consecutive openings."""
        try:
            return min(self.max, self.initial * float(self.multiplier) ** (openings - 1))
        except OverflowError:
            return self.max


@dataclass(frozen=True, slots=True)
class HalfOpenConfig:
    """`calls` concurrent probes; `failure_rate` None: the first failed probe opens again.

    `max_wait` seconds, above 0; with inf a probe never expires.
    """

    calls: int = 3
    max_wait: float = 30.0
    failure_rate: float | None = None


@dataclass(frozen=True, slots=True)
class CircuitBreakerConfig:
    """Rates are ratios above 0 and up to 1."""

    mode: BreakerMode = BreakerMode.ENFORCE
    window: WindowConfig = WindowConfig()
    minimum_calls: int = 20
    failure_rate: float = 0.5
    slow_call: SlowCallConfig = SlowCallConfig()
    failures: OutcomeSet = OutcomeSet(
        ("connect-failure", "refused-stream", "reset", "timeout", "5xx", "grpc-failure")
    )
    open_for: OpenForConfig = OpenForConfig()
    half_open: HalfOpenConfig = HalfOpenConfig()
    counts: BreakerCounts = BreakerCounts.ATTEMPTS
    scope: BreakerScope = BreakerScope.ROUTE

    def empty_window(self, *, half_open: bool) -> tuple[Window, int]:
        """A window for a state, and its minimum of calls."""
        size = self.half_open.calls if half_open else self.window.size
        if self.window.type is WindowType.TIME and not half_open:
            return TimeWindow(size), self.minimum_calls
        return CountWindow(size), min(self.minimum_calls, size)
