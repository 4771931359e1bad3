"""Polls the proxy's admin API several times a second.

This file does not know the scene. Breakers, retries and fallbacks are what the running proxy
reports; the transition counters reveal a state that was too short to be sampled.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout
from prometheus_client.parser import text_string_to_metric_families

CLOSED, OPEN, HALF_OPEN = "closed", "open", "half_open"

_LOOK = ClientTimeout(total=1)
_INTERVAL = 0.15


@dataclass(frozen=True, slots=True)
class BreakerStatus:
    """As ``/circuit-breakers`` shows it. `failure_rate` in percent, -1 while unknown."""

    state: str = CLOSED
    failure_rate: float = -1.0
    not_permitted: int = 0
    next_probe: float | None = None


@dataclass(frozen=True, slots=True)
class Transition:
    """A breaker entered `state` at about `at`, seconds since the scene began."""

    at: float
    breaker: str
    state: str


_NEXT = {CLOSED: (OPEN,), OPEN: (HALF_OPEN,), HALF_OPEN: (OPEN, CLOSED)}


def states_entered(before: str, entered: Mapping[str, int], after: str) -> list[str]:
    """The states between two samples, in order; `entered` counts how often each was entered.

    If a half-open breaker may have opened or closed first, it opened first if it became half-open
    once more afterwards. Without counts the result is the shortest path that ends in `after`.
    """
    left = Counter(entered)
    path: list[str] = []
    state = before
    while True:
        ways = [way for way in _NEXT.get(state, ()) if left[way] > 0]
        if not ways:
            break
        state = ways[-1] if len(ways) > 1 and not left[HALF_OPEN] else ways[0]
        left[state] -= 1
        path.append(state)
    return path if state == after else path + _shortest(state, after)


def _shortest(before: str, after: str) -> list[str]:
    if after in _NEXT.get(before, ()):
        return [after]
    for between in _NEXT.get(before, ()):
        if after in _NEXT.get(between, ()):
            return [between, after]
    return [after]


@dataclass(slots=True)
class _Breakers:
    """One sample of the metrics: each breaker's state, and how often it entered each state."""

    states: dict[str, str] = field(default_factory=dict)
    entered: Counter[tuple[str, str]] = field(default_factory=Counter)


class Observer:
    """Samples the proxy and keeps totals, which never fall.

    `breakers`, `retries`, `refused` (calls that a breaker refused), `fallbacks` and `limited` are
    by route, `faults` by route and kind, `hedges` by route and result, `ejections` and `ejected`
    (endpoints that are out now) by upstream. `in_flight` counts the exchanges of the outbound
    listener.
    """

    __slots__ = (
        "_admin",
        "_entered",
        "_now",
        "_session",
        "breakers",
        "ejected",
        "ejections",
        "fallbacks",
        "faults",
        "hedges",
        "in_flight",
        "limited",
        "refused",
        "retries",
        "transitions",
    )

    def __init__(self, session: ClientSession, admin: str, now: Callable[[], float]) -> None:
        self.breakers: dict[str, BreakerStatus] = {}
        self.retries: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.fallbacks: Counter[str] = Counter()
        self.faults: Counter[tuple[str, str]] = Counter()
        self.hedges: Counter[tuple[str, str]] = Counter()
        self.limited: Counter[str] = Counter()
        self.ejections: Counter[str] = Counter()
        self.ejected: Counter[str] = Counter()
        self.in_flight = 0
        self.transitions: list[Transition] = []
        self._session = session
        self._admin = admin
        self._now = now
        self._entered: Counter[tuple[str, str]] = Counter()

    def hedged(self, route: str) -> int:
        """Requests of a route that had a hedge."""
        return sum(self.hedges[route, result] for result in ("won", "lost", "failed"))

    async def watch(self) -> None:
        """Sample until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_INTERVAL)

    async def look(self) -> None:
        """Take one sample; a failed one changes nothing, and the next one catches up."""
        try:
            breakers = await self._json("/circuit-breakers")
            in_flight = await self._json("/in-flight")
            metrics = await self._text("/metrics")
        except (ClientError, TimeoutError, ValueError):
            return
        self.in_flight = int(in_flight["outbound"])
        self._take_breakers(breakers["circuit_breakers"], self._take_metrics(metrics))

    def _take_metrics(self, text: str) -> _Breakers:
        """Update the totals; returns the breakers' states and transition counts."""
        retries: Counter[str] = Counter()
        fallbacks: Counter[str] = Counter()
        faults: Counter[tuple[str, str]] = Counter()
        hedges: Counter[tuple[str, str]] = Counter()
        limited: Counter[str] = Counter()
        ejections: Counter[str] = Counter()
        ejected: Counter[str] = Counter()
        breakers = _Breakers()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels, count = sample.labels, int(sample.value)
                match sample.name:
                    case "proxy_retries_total":
                        retries[labels["route"]] += count
                    case "proxy_fallbacks_total":
                        fallbacks[labels["route"]] += count
                    case "proxy_faults_total":
                        faults[labels["route"], labels["kind"]] += count
                    case "proxy_hedges_total":
                        hedges[labels["route"], labels["result"]] += count
                    case "proxy_rate_limit_total" if labels["result"] == "limited":
                        limited[labels["route"]] += count
                    case "proxy_ejections_total":
                        ejections[labels["upstream"]] += count
                    case "proxy_endpoint_ejected":
                        ejected[labels["upstream"]] += count
                    case "proxy_circuit_breaker_transitions_total":
                        breakers.entered[labels["name"], labels["to"]] += count
                    case "proxy_circuit_breaker_state" if count:
                        breakers.states[labels["name"]] = labels["state"]
        self.retries, self.fallbacks = retries, fallbacks
        self.faults, self.hedges, self.limited = faults, hedges, limited
        self.ejections, self.ejected = ejections, ejected
        return breakers

    def _take_breakers(self, reported: list[dict[str, Any]], metrics: _Breakers) -> None:
        at = self._now()
        for fields in reported:
            name = fields["name"]
            now = BreakerStatus(
                # The other document was requested earlier and may have an older state than the
                # counters.
                metrics.states.get(name, fields["state"]),
                float(fields["failure_rate"]),
                int(fields["not_permitted"]),
                fields["next_probe_in_s"],
            )
            then = self.breakers.get(name, BreakerStatus())
            counts = {s: metrics.entered[name, s] - self._entered[name, s] for s in _NEXT}
            for state in states_entered(then.state, counts, now.state):
                self.transitions.append(Transition(at, name, state))
            # Some transitions reset this number: keep what was counted.
            self.refused[name] += (
                now.not_permitted - then.not_permitted
                if now.not_permitted >= then.not_permitted
                else now.not_permitted
            )
            self.breakers[name] = now
        self._entered = metrics.entered

    async def _json(self, path: str) -> Any:
        async with self._session.get(self._admin + path, timeout=_LOOK) as response:
            response.raise_for_status()
            return await response.json()

    async def _text(self, path: str) -> str:
        async with self._session.get(self._admin + path, timeout=_LOOK) as response:
            response.raise_for_status()
            return await response.text()
