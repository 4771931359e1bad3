"""Chooses the endpoint of the next attempt.

Order of preference; load balancing decides among equals:

1. not tried in this exchange yet, and not avoided (`Endpoint`);
2. not tried yet, but avoided;
3. tried already, and not avoided;
4. the rest.

`admit` is called for one endpoint at a time, in order of preference, and the first one that it
accepts is chosen. It may take a permit: only the chosen endpoint's is taken.

With different weights every balancer gives an endpoint its share: where load decides, the load is
divided by the weight.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from math import inf, log
from typing import Final, TypeAlias

from proxy.clock import Random
from proxy.config.model import LoadBalancing
from proxy.policies.ewma import PENALTY
from proxy.policies.rendezvous import draw, endpoint_name, hash_of, seed_of, wait
from proxy.upstream.endpoint import Endpoint

Admit: TypeAlias = Callable[[Endpoint], bool]

_FIRST: Final = 0
_OTHER: Final = 1
"""Which of an endpoint's `credits` a choice changes."""


class Balancer(ABC):
    """Chooses endpoints of one upstream. `weighted`: their weights differ."""

    __slots__ = ("weighted",)

    def __init__(self) -> None:
        self.weighted = False

    @abstractmethod
    def choose(self, endpoints: Sequence[Endpoint], now: float, key: bytes) -> Endpoint:
        """One of `endpoints` (never empty), chosen by load or by the request's `key` only."""

    def choose_other(self, endpoints: Sequence[Endpoint], now: float, key: bytes) -> Endpoint:
        """The same, for an attempt that must not change the order of the others' turns."""
        return self.choose(endpoints, now, key)

    def pick(
        self,
        endpoints: Sequence[Endpoint],
        exclude: Collection[Endpoint],
        admit: Admit | None,
        now: float,
        key: bytes = b"",
    ) -> Endpoint | None:
        """The endpoint for the next attempt; None if none is admitted.

        `exclude` are those that this exchange has tried. A single endpoint is always chosen,
        without a random draw. `key`: what the request is hashed by, if anything.
        """
        if len(endpoints) > 1:
            if exclude:
                return self._pick_by_rank(endpoints, exclude, admit, now, key)
            chosen = self.choose(endpoints, now, key)
            if chosen.avoid_until > now:
                return self._pick_by_rank(endpoints, exclude, admit, now, key)
            if admit is None or admit(chosen):
                return chosen
            others = [endpoint for endpoint in endpoints if endpoint is not chosen]
            return self._pick_by_rank(others, exclude, admit, now, key)
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
        key: bytes,
    ) -> Endpoint | None:
        ranks: tuple[list[Endpoint], ...] = ([], [], [], [])
        for endpoint in endpoints:
            ranks[2 * (endpoint in exclude) + (endpoint.avoid_until > now)].append(endpoint)
        for equals in ranks:
            while equals:
                chosen = self.choose_other(equals, now, key)
                if admit is None or admit(chosen):
                    return chosen
                equals.remove(chosen)
        return None


class LeastRequest(Balancer):
    """Power of two choices: the less active of two different random endpoints.

    The first of the two wins a tie; which one that is, is random. With weights: the endpoint with
    the fewest active exchanges for its weight. An exponentially distributed part of one exchange
    is added to each: idle endpoints then get shares that are exactly their weights.
    """

    __slots__ = ("_random",)

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random

    def choose(self, endpoints: Sequence[Endpoint], now: float, key: bytes) -> Endpoint:
        if self.weighted:
            return self._lightest(endpoints)
        count = len(endpoints)
        if count == 1:
            return endpoints[0]
        first = int(self._random() * count)
        one, other = endpoints[first], endpoints[_another(first, count, self._random)]
        return other if other.active < one.active else one

    def _lightest(self, endpoints: Sequence[Endpoint]) -> Endpoint:
        best, least = endpoints[0], inf
        for endpoint in endpoints:
            load = (endpoint.active - log(1.0 - self._random())) / endpoint.weight
            if load < least:
                best, least = endpoint, load
        return best


def _another(first: int, count: int, random: Random) -> int:
    """A random index below `count`, at least 2, that is not `first`."""
    if count == 2:
        return 1 - first
    second = int(random() * (count - 1))
    return second + 1 if second >= first else second


class RoundRobin(Balancer):
    """One after the other; with weights interleaved, as nginx does it.

    Each endpoint's credit grows by its weight; the one with most is chosen, and pays for all.

    Repeated attempts, and those that find the endpoint of their turn unreachable, take turns of
    their own (`choose_other`). Common turns would interlock: a failing endpoint of two would get
    every first attempt, and a neighbour of an unreachable one a third of its share.
    """

    __slots__ = ("_other_turn", "_turn")

    def __init__(self) -> None:
        super().__init__()
        self._turn = self._other_turn = 0

    def choose(self, endpoints: Sequence[Endpoint], now: float, key: bytes) -> Endpoint:
        if self.weighted:
            return self._by_credit(endpoints, _FIRST)
        turn = self._turn
        self._turn = turn + 1
        return endpoints[turn % len(endpoints)]

    def choose_other(self, endpoints: Sequence[Endpoint], now: float, key: bytes) -> Endpoint:
        if self.weighted:
            return self._by_credit(endpoints, _OTHER)
        turn = self._other_turn
        self._other_turn = turn + 1
        return endpoints[turn % len(endpoints)]

    def _by_credit(self, endpoints: Sequence[Endpoint], turns: int) -> Endpoint:
        best, total = endpoints[0], 0.0
        for endpoint in endpoints:
            credits = endpoint.credits
            credits[turns] += endpoint.weight
            total += endpoint.weight
            if credits[turns] > best.credits[turns]:
                best = endpoint
        best.credits[turns] -= total
        return best


class RandomChoice(Balancer):
    """Each with the same probability, or that of its weight."""

    __slots__ = ("_random",)

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random

    def choose(self, endpoints: Sequence[Endpoint], now: float, key: bytes) -> Endpoint:
        count = len(endpoints)
        if count == 1:
            return endpoints[0]
        if not self.weighted:
            return endpoints[int(self._random() * count)]
        total = 0.0
        for endpoint in endpoints:
            total += endpoint.weight
        left = self._random() * total
        for endpoint in endpoints:
            left -= endpoint.weight
            if left < 0.0:
                return endpoint
        return endpoints[-1]


class Ewma(Balancer):
    """The cheaper of two different random endpoints: latency (peak EWMA) times active exchanges.

    An endpoint without a sample gets one request, and no other until that has been answered. With
    weights all endpoints are compared, as in `LeastRequest`; the latency counts squared, because
    the random part would else give a slow endpoint too much.
    """

    __slots__ = ("_random",)

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random

    def choose(self, endpoints: Sequence[Endpoint], now: float, key: bytes) -> Endpoint:
        if self.weighted:
            return self._cheapest(endpoints, now)
        count = len(endpoints)
        if count == 1:
            return endpoints[0]
        first = int(self._random() * count)
        one, other = endpoints[first], endpoints[_another(first, count, self._random)]
        ones = _latency(one, now) * (one.active + 1)
        return other if _latency(other, now) * (other.active + 1) < ones else one

    def _cheapest(self, endpoints: Sequence[Endpoint], now: float) -> Endpoint:
        best, least = endpoints[0], inf
        for endpoint in endpoints:
            latency = _latency(endpoint, now)
            part = endpoint.active - log(1.0 - self._random())
            cost = latency * latency * part / endpoint.weight
            if cost < least:
                best, least = endpoint, cost
        return best


def _latency(endpoint: Endpoint, now: float) -> float:
    latency = endpoint.latency
    if latency is None or not latency.known:
        return PENALTY if endpoint.active else 0.0
    return latency.estimate(now)


class ConsistentHash(Balancer):
    """Weighted rendezvous hashing: an endpoint has its keys, whatever others come and go.

    Without an endpoint only its own keys move, to their second-best ones. A request without a key
    goes where `fallback` says.
    """

    __slots__ = ("_fallback",)

    def __init__(self, fallback: Balancer) -> None:
        super().__init__()
        self._fallback = fallback

    def choose(self, endpoints: Sequence[Endpoint], now: float, key: bytes) -> Endpoint:
        if not key:
            self._fallback.weighted = self.weighted
            return self._fallback.choose(endpoints, now, key)
        hashed = hash_of(key)
        if self.weighted:
            return self._by_weight(endpoints, hashed)
        best, most = endpoints[0], -1
        for endpoint in endpoints:
            drawn = draw(hashed, _seed(endpoint))
            if drawn > most:
                best, most = endpoint, drawn
        return best

    def _by_weight(self, endpoints: Sequence[Endpoint], hashed: int) -> Endpoint:
        best, least = endpoints[0], inf
        for endpoint in endpoints:
            waits = wait(draw(hashed, _seed(endpoint)), endpoint.weight)
            if waits < least:
                best, least = endpoint, waits
        return best


def _seed(endpoint: Endpoint) -> int:
    if endpoint.seed < 0:
        endpoint.seed = seed_of(endpoint_name(endpoint.scheme, endpoint.host, endpoint.label))
    return endpoint.seed


def balancer(kind: LoadBalancing, random: Random) -> Balancer:
    """The balancer for a configured value."""
    match kind:
        case LoadBalancing.LEAST_REQUEST:
            return LeastRequest(random)
        case LoadBalancing.ROUND_ROBIN:
            return RoundRobin()
        case LoadBalancing.RANDOM:
            return RandomChoice(random)
        case LoadBalancing.EWMA:
            return Ewma(random)
        case LoadBalancing.CONSISTENT_HASH:
            return ConsistentHash(LeastRequest(random))
