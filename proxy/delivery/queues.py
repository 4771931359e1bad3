"""Queues: what the outbox knows of each route's entries while it delivers them."""

from collections import Counter
from math import ceil, exp
from random import random
from time import monotonic
from typing import Final

from proxy.policies.backoff import Backoff
from proxy.policies.outbox import OutboxConfig
from proxy.routing.table import Route
from proxy.store.records import Entry

RESULTS: Final = ">"
"""How the name of a queue of results begins; the upstream's name follows. No route has it."""
_HALF_MINUTE: Final = 30.0
_LONGEST_RETRY: Final = 300
_UNKNOWN_RATE: Final = 10


class Rate:
    """How many entries a second are finished, over about the last half minute."""

    __slots__ = ("_at", "_rate")

    def __init__(self) -> None:
        self._at = monotonic()
        self._rate = 0.0

    def count(self, now: float) -> None:
        self._rate = self.at(now) + 1 / _HALF_MINUTE
        self._at = now

    def at(self, now: float) -> float:
        """A second."""
        return self._rate * exp((self._at - now) / _HALF_MINUTE)


class Queue:
    """One route's entries. `route` None: no route of the file has this name, so they wait.

    `in_flight`: the entries that are tried now, by id. `paused_until` (monotonic): until then no
    try makes sense. `outcomes` counts tries.
    """

    __slots__ = (
        "accepted",
        "backoff",
        "config",
        "in_flight",
        "name",
        "outcomes",
        "paused_until",
        "rate",
        "refused",
        "route",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.route: Route | None = None
        self.config = OutboxConfig()
        self.backoff = Backoff(self.config.backoff, random)
        self.in_flight: dict[str, Entry] = {}
        self.paused_until = 0.0
        self.accepted = 0
        self.refused = 0
        self.outcomes: Counter[str] = Counter()
        self.rate = Rate()

    def use(self, route: Route | None) -> None:
        """The route of this name under the present configuration."""
        self.route = route
        if route is not None:
            self.config = route.config.policies.outbox
            self.backoff = Backoff(self.config.backoff, random)

    def room(self, now: float) -> int:
        """How many other entries may be tried now."""
        if self.route is None or now < self.paused_until:
            return 0
        return max(0, self.config.concurrency - len(self.in_flight))

    def retry_after(self, most: int) -> int:
        """Whole seconds until a hundredth of `most` entries are finished at the present rate."""
        rate = self.rate.at(monotonic())
        if rate <= 0:
            return _UNKNOWN_RATE
        return min(_LONGEST_RETRY, max(1, ceil(max(1.0, most / 100) / rate)))
