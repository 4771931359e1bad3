"""The script of the demo: which dependency has which trouble, and when.

      6 to 15 %   pricing answers UNAVAILABLE, in bursts
     16 to 25 %   pricing takes longer than its callers wait, in bursts
     27 to 42 %   inventory answers 503, in bursts
     45 to 52 %   payment loses answers, in bursts
     53 to 59 %   payment is down
     71 to 86 %   shipping is slow

With faults (`proxy.demo.chaos`) nothing of this happens: from 15 to 45 % one of inventory's three
replicas answers 503, and from 55 to 80 % there are three times as many orders.

Everything is a share of the run's duration, so that a run of 8 s shows the same as one of five
minutes. Times are seconds since the scene began.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum


class Dependency(Enum):
    """The dependencies, in the order in which an order calls them."""

    PRICING = "pricing"
    INVENTORY = "inventory"
    PAYMENT = "payment"
    SHIPPING = "shipping"

    @property
    def path(self) -> str:
        return _PATHS[self]

    @property
    def over_grpc(self) -> bool:
        return self is Dependency.PRICING


OVER_HTTP = tuple(one for one in Dependency if not one.over_grpc)

_PATHS = {
    Dependency.PRICING: "/shop.v1.Pricing/Quote",
    Dependency.INVENTORY: "/api/inventory/deduct",
    Dependency.PAYMENT: "/api/payments/process",
    Dependency.SHIPPING: "/api/shipping/create",
}


class Trouble(Enum):
    """What is wrong with a dependency; the value is displayed."""

    NONE = "well"
    UNAVAILABLE = "unavailable"  # 503, or UNAVAILABLE by gRPC, in bursts
    LOSES_ANSWERS = "answers lost"  # the work is done, then the connection breaks
    DOWN = "down"  # nothing listens: connections are refused
    SLOW = "slow"


MINIMUM_DURATION = 5.0
"""Seconds; in less time no breaker could open and close again."""

_REAL_TIME = 450.0  # from this length on breakers stay open for as long as in the example
_REAL_WAITS = 150.0  # and from this length on timeouts and backoff are those of the example
_SHORTEST_WAITS = 0.2  # with a smaller share a busy machine would look like a slow dependency
_SHORTEST_WITH_FAULTS = 0.4  # and with faults and hedges there is more to do


@dataclass(frozen=True, slots=True)
class Tempo:
    """How far the durations of the example are scaled down for a run of `duration` seconds.

    `waits` is the share for timeouts, backoff and slow calls, `open_for` the one for the time
    that a breaker stays open. The shorter the waits, the faster the orders, so that a burst of
    trouble always affects about the same number of them.
    """

    duration: float
    shortest: float = _SHORTEST_WAITS

    @property
    def waits(self) -> float:
        return min(1.0, max(self.shortest, self.duration / _REAL_WAITS))

    @property
    def open_for(self) -> float:
        return min(1.0, self.duration / _REAL_TIME)

    @property
    def order_interval(self) -> float:
        """Seconds from one order to the next."""
        return self.waits / 2.4

    @property
    def slowness(self) -> float:
        """Seconds that a slow dependency takes: longer than any timeout."""
        return 4.5 * self.waits


@dataclass(frozen=True, slots=True)
class Act:
    """One dependency's trouble from `start` to `end`; with `every`, in bursts of `burst`.

    `replica`: the only one that is affected; None: all are.
    """

    dependency: Dependency
    trouble: Trouble
    start: float
    end: float
    burst: float = 0.0
    every: float = 0.0
    replica: int | None = None

    def on(self, now: float) -> bool:
        """Whether the act is on, also between two of its bursts."""
        return self.start <= now < self.end

    def strikes(self, now: float) -> bool:
        """Whether a request that arrives now is affected."""
        return self.on(now) and (not self.every or (now - self.start) % self.every < self.burst)


_RUSH, _RUSH_ENDS, _RUSH_ORDERS = 0.55, 0.80, 3
_SICK, _WELL_AGAIN = 0.15, 0.45
REPLICAS = 3
"""Of inventory, with faults; the others have one."""


class Scene:
    """The acts of a run, in order. With `faults` the proxy injects most of the trouble."""

    __slots__ = ("acts", "faults", "tempo")

    def __init__(self, duration: float, *, faults: bool = False) -> None:
        self.tempo = Tempo(duration, _SHORTEST_WITH_FAULTS if faults else _SHORTEST_WAITS)
        self.faults = faults
        self.acts = self._faulty_acts() if faults else self._acts()

    def _faulty_acts(self) -> tuple[Act, ...]:
        start, end = _SICK * self.tempo.duration, _WELL_AGAIN * self.tempo.duration
        return (Act(Dependency.INVENTORY, Trouble.UNAVAILABLE, start, end, replica=1),)

    def _acts(self) -> tuple[Act, ...]:
        duration = self.tempo.duration
        waits = self.tempo.waits

        def act(dependency: Dependency, trouble: Trouble, start: float, end: float) -> Act:
            return Act(dependency, trouble, start * duration, end * duration)

        def bursts(
            dependency: Dependency, trouble: Trouble, start: float, end: float, every: float
        ) -> Act:
            # Shorter than the waits of two retries together, so a retry can succeed.
            burst, gap = 0.75 * waits, every * waits
            return Act(dependency, trouble, start * duration, end * duration, burst, gap)

        return (
            bursts(Dependency.PRICING, Trouble.UNAVAILABLE, 0.06, 0.15, every=4.5),
            bursts(Dependency.PRICING, Trouble.SLOW, 0.16, 0.25, every=4.5),
            bursts(Dependency.INVENTORY, Trouble.UNAVAILABLE, 0.27, 0.42, every=4.5),
            bursts(Dependency.PAYMENT, Trouble.LOSES_ANSWERS, 0.45, 0.52, every=6.0),
            act(Dependency.PAYMENT, Trouble.DOWN, 0.53, 0.59),
            act(Dependency.SHIPPING, Trouble.SLOW, 0.71, 0.86),
        )

    def rush(self, now: float) -> bool:
        """Whether there are more orders than usual."""
        return self.faults and _RUSH <= now / self.tempo.duration < _RUSH_ENDS

    def order_times(self) -> Iterator[float]:
        """When orders are placed."""
        now = 0.0
        while now < self.tempo.duration - 1e-6:
            yield now
            now += self.tempo.order_interval / (_RUSH_ORDERS if self.rush(now) else 1)

    def act(self, dependency: Dependency, now: float) -> Act | None:
        """The present act of this dependency, also in the gaps between bursts."""
        return next((a for a in self.acts if a.dependency is dependency and a.on(now)), None)

    def trouble(self, dependency: Dependency, now: float, replica: int = 0) -> Trouble:
        """The trouble of a request that reaches this replica of the dependency now."""
        act = self.act(dependency, now)
        if act is None or act.replica not in (None, replica) or not act.strikes(now):
            return Trouble.NONE
        return act.trouble
