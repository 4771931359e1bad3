"""Chooses the endpoint of the next attempt.

Order of preference; load balancing decides among equals:

1. not tried in this exchange yet, and not avoided (`Endpoint`);
2. not tried yet, but avoided;
3. tried already, and not avoided;
4. the rest.

`admit` is called for one endpoint at a time, in order of preference, and the first one that it
accepts is chosen. It may take a permit: only the chosen endpoint's is taken.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

from proxy.clock import Random
from proxy.config.model import LoadBalancing
from proxy.upstream.endpoint import Endpoint

Admit: TypeAlias = Callable[[Endpoint], bool]


class Balancer(ABC):
    """Chooses endpoints of one upstream."""

    __slots__ = ()

    @abstractmethod
    def choose(self, endpoints: Sequence[Endpoint]) -> Endpoint:
        """One of `endpoints` (never empty), chosen by load only."""

    def pick(
        self,
        endpoints: Sequence[Endpoint],
        exclude: Collection[Endpoint],
        admit: Admit | None,
        now: float,
    ) -> Endpoint | None:
        """The endpoint for the next attempt; None if none is admitted.

        `exclude` are those that this exchange has tried. A single endpoint is always chosen,
        without a random draw.
        """
        if len(endpoints) > 1:
            chosen = self.choose(endpoints)
            if chosen in exclude or chosen.avoid_until > now:
                return self._pick_by_rank(endpoints, exclude, admit, now)
            if admit is None or admit(chosen):
                return chosen
            others = [endpoint for endpoint in endpoints if endpoint is not chosen]
            return self._pick_by_rank(others, exclude, admit, now)
        if not endpoints:
            return None
        only = endpoints[0]
        return only if admit is None or admit(only) else None

    def _pick_by_rank(
        self,
        endpoints: Sequence[Endpoint],
        exclude: Collection[Endpoint],
        admit: Admit | None,
        now: float,
    ) -> Endpoint | None:
        ranks: tuple[list[Endpoint], ...] = ([], [], [], [])
        for endpoint in endpoints:
            ranks[2 * (endpoint in exclude) + (endpoint.avoid_until > now)].append(endpoint)
        for equals in ranks:
            while equals:
                chosen = self.choose(equals)
                if admit is None or admit(chosen):
                    return chosen
                equals.remove(chosen)
        return None


class LeastRequest(Balancer):
    """Power of two choices: the less active of two different random endpoints.

    The first of the two wins a tie; which one that is, is random.
    """

    __slots__ = ("_random",)

    def __init__(self, random: Random) -> None:
        self._random = random

    def choose(self, endpoints: Sequence[Endpoint]) -> Endpoint:
        count = len(endpoints)
        if count == 1:
            return endpoints[0]
        first = int(self._random() * count)
        second = 1 - first if count == 2 else int(self._random() * (count - 1))
        if count > 2 and second >= first:
            second += 1
        one, other = endpoints[first], endpoints[second]
        return other if other.active < one.active else one


class RoundRobin(Balancer):
    """One after the other."""

    __slots__ = ("_turn",)

    def __init__(self) -> None:
        self._turn = 0

    def choose(self, endpoints: Sequence[Endpoint]) -> Endpoint:
        turn = self._turn
        self._turn = turn + 1
        return endpoints[turn % len(endpoints)]


class RandomChoice(Balancer):
    """Each with the same probability."""

    __slots__ = ("_random",)

    def __init__(self, random: Random) -> None:
        self._random = random

    def choose(self, endpoints: Sequence[Endpoint]) -> Endpoint:
        count = len(endpoints)
        return endpoints[0] if count == 1 else endpoints[int(self._random() * count)]


def balancer(kind: LoadBalancing, random: Random) -> Balancer:
    """The balancer for a configured value."""
    match kind:
        case LoadBalancing.LEAST_REQUEST:
            return LeastRequest(random)
        case LoadBalancing.ROUND_ROBIN:
            return RoundRobin()
        case LoadBalancing.RANDOM:
            return RandomChoice(random)
