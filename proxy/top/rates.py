"""Rates and percentiles of the last seconds: the difference between two samples."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from proxy.telemetry.percentiles import percentile
from proxy.top.looks import Look, RouteTotals

SPAN = 10.0
"""Rates cover this many seconds, once they have passed."""


@dataclass(frozen=True, slots=True)
class RouteRates:
    """One route over the time between two samples. Rates are per second, percentiles in ms.

    `errors`: the share of responses with a 5xx status; it and the percentiles are None without a
    response. `total` counts since the proxy's start.
    """

    listener: str
    name: str
    total: int
    flying: int
    requests: float | None
    errors: float | None
    retries: float | None
    fallbacks: float | None
    p50: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class StoreRates:
    """Commits per second, None with one sample, and their 99th percentile in ms, None without
    any."""

    commits: float | None
    p99: float | None


class Window:
    """The samples of the last seconds. `span`: the seconds that rates cover, 0 with one sample."""

    __slots__ = ("_looks",)

    def __init__(self) -> None:
        self._looks: deque[Look] = deque()

    def add(self, look: Look) -> None:
        looks = self._looks
        if looks and look.uptime < looks[-1].uptime:
            looks.clear()  # another process: its counts start at 0
        looks.append(look)
        # The oldest one kept is the newest that is at least SPAN old.
        while len(looks) > 2 and look.at - looks[1].at >= SPAN:
            looks.popleft()

    @property
    def latest(self) -> Look | None:
        return self._looks[-1] if self._looks else None

    @property
    def span(self) -> float:
        return self._looks[-1].at - self._looks[0].at if self._looks else 0.0

    def routes(self) -> list[RouteRates]:
        """In the order in which the proxy tries them."""
        if not self._looks:
            return []
        now, then = self._looks[-1], self._looks[0]
        before = {(one.listener, one.name): one for one in then.routes}
        return [
            _rates(one, before.get((one.listener, one.name)), self.span, now) for one in now.routes
        ]

    def store(self) -> "StoreRates | None":
        """None without a store."""
        if not self._looks:
            return None
        now, then = self._looks[-1].store, self._looks[0].store
        if now is None:
            return None
        if then is None or not self.span:
            return StoreRates(None, None)
        counts = [after - before for after, before in zip(now.counts, then.counts, strict=True)]
        rate = (now.commits - then.commits) / self.span
        return StoreRates(rate, percentile(now.bounds, counts, 0.99))


def _rates(now: RouteTotals, then: RouteTotals | None, span: float, look: Look) -> RouteRates:
    """A route that a reload added counts from 0."""
    flying = look.flying.get((now.listener, now.name), 0)
    if not span:
        none = (None,) * 6
        return RouteRates(now.listener, now.name, now.requests, flying, *none)
    if then is None or then.bounds != now.bounds:
        then = RouteTotals(now.listener, now.name, 0, 0, 0, 0, now.bounds, (0,) * len(now.counts))
    requests = now.requests - then.requests
    counts = [after - before for after, before in zip(now.counts, then.counts, strict=True)]
    return RouteRates(
        now.listener,
        now.name,
        now.requests,
        flying,
        requests / span,
        (now.errors - then.errors) / requests if requests else None,
        (now.retries - then.retries) / span,
        (now.fallbacks - then.fallbacks) / span,
        percentile(now.bounds, counts, 0.5),
        percentile(now.bounds, counts, 0.99),
    )


class Order(Enum):
    """The sort orders of the routes; the key S selects the next one."""

    CONFIGURED = "as configured"
    REQUESTS = "by requests"
    ERRORS = "by errors"
    P99 = "by p99"

    def next(self) -> "Order":
        orders = list(Order)
        return orders[(orders.index(self) + 1) % len(orders)]


_KEYS: dict[Order, Callable[[RouteRates], float]] = {
    Order.REQUESTS: lambda one: one.requests or 0.0,
    Order.ERRORS: lambda one: (one.errors or 0.0) * (one.requests or 0.0),
    Order.P99: lambda one: one.p99 or 0.0,
}


def ordered(routes: list[RouteRates], order: Order) -> list[RouteRates]:
    """Highest first; equal routes keep their order."""
    key = _KEYS.get(order)
    return routes if key is None else sorted(routes, key=key, reverse=True)
