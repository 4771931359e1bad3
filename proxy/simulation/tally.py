"""What became of the requests, by route: counted alike for a log and for a simulation."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from sys import intern

from proxy.grpc_status import FAILURES, name_of
from proxy.simulation.recording import LIMITED, RecordedRequest

_FAILURES = frozenset(name_of(code) for code in FAILURES)
SLICES = 120
"""Moments of a plot."""


@dataclass(frozen=True, slots=True)
class Told:
    """What is counted of one exchange. `at` is its beginning in seconds since the first one's,
    `grpc` the name of the status that a gRPC caller got, "" for others.
    """

    at: float
    route: str
    status: int
    reason: str
    duration: float
    hedged: int
    grpc: str
    endpoints: tuple[str, ...]
    """Of each attempt, as `place_of` names it."""


def place_of(upstream: str, endpoint: str) -> str:
    """The name of an endpoint in tables: ``upstream ip:port``."""
    return intern(f"{upstream} {endpoint}")


def told_by(request: RecordedRequest, since: float) -> Told:
    """What the log says of a request."""
    return Told(
        at=request.at - since,
        route=request.route,
        status=request.status,
        reason=request.reason,
        duration=request.duration,
        hedged=request.hedged,
        grpc=request.grpc,
        endpoints=tuple(
            place_of(one.upstream, one.endpoint) for one in request.attempts if one.endpoint
        ),
    )


@dataclass(slots=True)
class RouteTally:
    """One route. `durations` in seconds; `load` counts attempts by upstream and endpoint."""

    requests: int = 0
    answered: int = 0
    failed: int = 0
    limited: int = 0
    retries: int = 0
    hedges: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    load: Counter[str] = field(default_factory=Counter)
    durations: list[float] = field(default_factory=list)
    series: dict[int, "Slice"] = field(default_factory=dict)

    def count(self, told: Told, slice_of: float) -> None:
        self.requests += 1
        broken = told.grpc in _FAILURES
        bad = bool(told.reason) or told.status >= 500 or broken
        self.answered += not bad
        self.failed += bad
        self.limited += told.reason in LIMITED
        if told.reason:
            self.reasons[told.reason] += 1
        elif broken:
            self.reasons[f"upstream's {told.grpc}"] += 1
        elif told.status >= 500:
            self.reasons[f"upstream's {told.status}"] += 1
        self.hedges += told.hedged
        self.retries += max(0, len(told.endpoints) - 1 - told.hedged)
        self.load.update(told.endpoints)
        self.durations.append(told.duration)
        slot = self.series.setdefault(int(told.at / slice_of), Slice())
        slot.requests += 1
        slot.failed += bad
        slot.attempts += len(told.endpoints)
        slot.durations.append(told.duration)

    def quantile(self, share: float) -> float:
        """Seconds; 0 without a request."""
        return quantile(self.durations, share)

    @property
    def attempts(self) -> int:
        return self.load.total()


@dataclass(slots=True)
class Slice:
    """One moment of a route."""

    requests: int = 0
    failed: int = 0
    attempts: int = 0
    durations: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Tally:
    """All routes. `slice_of` is the length of a moment in seconds; `ejections` by upstream are None
    where nothing says how many there were.
    """

    name: str
    slice_of: float
    routes: dict[str, RouteTally] = field(default_factory=dict)
    ejections: Counter[str] | None = None

    def count(self, told: Told) -> None:
        route = self.routes.get(told.route)
        if route is None:
            route = self.routes[told.route] = RouteTally()
        route.count(told, self.slice_of)


def tally(name: str, seconds: float, all_told: Iterable[Told]) -> Tally:
    """`seconds`: how long the log is."""
    made = Tally(name, max(seconds / SLICES, 0.001))
    for told in all_told:
        made.count(told)
    return made


def quantile(values: list[float], share: float) -> float:
    """The smallest value that at least a `share` of the values do not exceed."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


def routes_of(tallies: Iterable[Tally]) -> Iterator[str]:
    """All routes, the busiest first."""
    requests: Counter[str] = Counter()
    for one in tallies:
        for name, route in one.routes.items():
            requests[name] = max(requests[name], route.requests)
    yield from (name for name, _ in requests.most_common())
