"""What a circuit breaker answers: permits and refusals, and its state for those who look."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from math import ceil
from typing import Final

from proxy.errors import CircuitOpen, ProxyError
from proxy.policies.circuit_breaker_config import BreakerMode
from proxy.policies.gate import Permit, Refusal, Snapshot


class BreakerState(Enum):
    """The values are those of the admin API and the metrics."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    FORCED_OPEN = "forced_open"
    DISABLED = "disabled"


# Reading a global is ten times as fast as reading an enum member (CPython 3.11).
_HALF_OPEN: Final = BreakerState.HALF_OPEN


class CircuitPermit(Permit):
    """Permission to make a call; `settle` returns it. `generation` counts the states.

    All calls of a CLOSED or DISABLED state share one permit, each probe of HALF_OPEN has its own.
    A probe was admitted at `since` (monotonic seconds, without pauses that have ended);
    `paused_at` is the start of its present pause, -1 while its time runs.
    """

    __slots__ = ("generation", "paused_at", "since")

    def __init__(self, generation: int, since: float = 0.0) -> None:
        super().__init__()
        self.generation = generation
        self.since = since
        self.paused_at = -1.0


class CircuitRefusal(Refusal):
    """The refusal of the breaker `name` in `state`.

    `wait`: seconds until the next probe; None if an operator's order keeps the breaker open,
    because no time is known then. `retry_after`: the same in whole seconds, at least 1.
    """

    __slots__ = ("name", "retry_after", "state", "wait")

    def __init__(self, name: str, state: BreakerState, wait: float | None) -> None:
        super().__init__()
        self.name = name
        self.state = state
        self.wait = wait
        self.retry_after = None if wait is None else max(1, ceil(wait))

    def error(self) -> ProxyError:
        if self.retry_after is None:
            says = (
                "is held open by an operator's order (force-open, admin API), until an operator "
                "resets it."
            )
        elif self.state is _HALF_OPEN:
            says = "is half-open: it waits for the results of its probes."
        else:
            says = (
                "is open after too many failed or slow calls; "
                f"its next probe is in {self.retry_after} s."
            )
        return CircuitOpen(
            f"The circuit breaker {self.name!r} {says}",
            retry_after=self.retry_after,
            pushback=self.wait,
        )


_NOT_SHOWN: Final = frozenset(
    {"refused", "results", "slow_failures", "total_duration", "transitions"}
)


@dataclass(frozen=True, slots=True)
class BreakerSnapshot(Snapshot):
    """The breaker's present state.

    Rates in percent, -1.0 below the minimum of calls. `next_probe_in_s`: seconds, None without a
    coming probe. `not_permitted` counts refusals since the present state began (half-open
    refusals continue to count when it opens again). `transitions` counts entries into each state.
    `refused`, `results` (successful, failed) and `transitions` never fall.
    """

    name: str
    state: BreakerState
    mode: BreakerMode
    failure_rate: float
    slow_call_rate: float
    calls: int
    failures: int
    slow_calls: int
    not_permitted: int
    next_probe_in_s: float | None
    slow_failures: int
    total_duration: float
    transitions: Mapping[str, int]
    refused: int
    results: Mapping[str, int]

    def not_shown(self) -> frozenset[str]:
        return _NOT_SHOWN
