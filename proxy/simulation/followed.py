"""Follows a log in what chance decides: endpoints, the upstreams of splits, waits and faults.

A balancer decides by load, and by chance among what is equal. The log has what chance decided then.
So a file that balances as before meets known outcomes, and one that prefers other endpoints meets
theirs. No endpoint gets more than its share because a log has it: a file with other weights
divides by these. Where the log does not have all endpoints it cannot be followed: new ones would
get nothing.

Compiled, because balancers and bindings are (ADR 14).
"""

from collections.abc import Callable, Sequence
from math import sqrt
from typing import Final, cast

from proxy.clock import Random
from proxy.config.model import Config
from proxy.exchange.binding import Binding
from proxy.exchange.bindings import Bindings
from proxy.policies.backoff import BackoffConfig
from proxy.policies.budget import RETRY_BUDGET, RetryBudget
from proxy.policies.ewma import PENALTY
from proxy.policies.faults import FaultConfig, Faults
from proxy.policies.retry import RetryPolicy
from proxy.routing.table import Route
from proxy.upstream.balancing import Balancer, ConsistentHash, Ewma, LeastRequest
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.registry import Upstreams
from proxy.upstream.upstream import Upstream

Recorded = Callable[[], str]
Begun = Callable[[], tuple[int, str]]
"""The attempt that begins now: its number, and the label of its recorded endpoint or ""."""

_LEEWAY: Final = 1.0


class Shares:
    """What each got of something that is shared out, what was due to it, and how far chance would
    take it from that (the variance).
    """

    __slots__ = ("_due", "_given", "_variance")

    def __init__(self) -> None:
        self._given: dict[str, float] = {}
        self._due: dict[str, float] = {}
        self._variance: dict[str, float] = {}

    def allow(self, name: str, share: float) -> bool:
        """Whether it has not had more than chance would give it. `share`: of the next one."""
        more = self._given.get(name, 0.0) - self._due.get(name, 0.0)
        return share > 0.0 and more <= sqrt(self._variance.get(name, 0.0)) + _LEEWAY

    def give(self, name: str, due: dict[str, float]) -> None:
        """One more. `due`: the share of each one, 1 in all."""
        for one, share in due.items():
            self._due[one] = self._due.get(one, 0.0) + share
            spread = self._variance.get(one, 0.0) + share * (1.0 - share)
            self._variance[one] = spread
        self._given[name] = self._given.get(name, 0.0) + 1.0


class Followed(Balancer):
    """`by`: the balancer of the file. `known`: the labels of the log's endpoints."""

    __slots__ = ("_begun", "_by", "_known", "_shares")

    def __init__(self, by: Balancer, begun: Begun, known: frozenset[str]) -> None:
        super().__init__()
        self._by = by
        self._begun = begun
        self._known = known
        self._shares = Shares()

    def choose(self, endpoints: Sequence[Endpoint], now: float, key: bytes) -> Endpoint:
        by = self._by
        by.weighted = self.weighted
        if len(endpoints) < 2 or (key and isinstance(by, ConsistentHash)):
            return by.choose(endpoints, now, key)
        number, label = self._begun()
        chosen = self._as_recorded(endpoints, now, label, number)
        if chosen is None:
            chosen = by.choose(endpoints, now, key)
        if number == 1:  # a retry goes elsewhere, whatever the weights are
            self._count(endpoints, chosen)
        return chosen

    def _as_recorded(
        self, endpoints: Sequence[Endpoint], now: float, label: str, number: int
    ) -> Endpoint | None:
        if not label:
            return None
        found: Endpoint | None = None
        for endpoint in endpoints:
            if endpoint.label not in self._known:
                return None
            if endpoint.label == label:
                found = endpoint
        if found is None or not self._may(found, endpoints, now, number):
            return None
        return found

    def _may(self, one: Endpoint, endpoints: Sequence[Endpoint], now: float, number: int) -> bool:
        """Whether the balancer could choose it.

        Of two random endpoints the better one is taken, so only the worst of all is out of the
        question. A log does not tell to the last exchange what is active: one less is allowed.
        """
        by = self._by
        if not self.weighted and isinstance(by, LeastRequest | Ewma | ConsistentHash):
            ewma = isinstance(by, Ewma)
            cost = _cost(one, max(0, one.active - 1), now, ewma=ewma)
            for other in endpoints:
                if other is not one and _cost(other, other.active, now, ewma=ewma) >= cost:
                    return True
            return False
        return number > 1 or self._shares.allow(one.label, one.weight)

    def _count(self, endpoints: Sequence[Endpoint], chosen: Endpoint) -> None:
        weights = 0.0
        for endpoint in endpoints:
            weights += endpoint.weight
        due = {endpoint.label: endpoint.weight / weights for endpoint in endpoints}
        self._shares.give(chosen.label, due)


def _cost(endpoint: Endpoint, active: int, now: float, *, ewma: bool) -> float:
    if not ewma:
        return float(active)
    latency = endpoint.latency
    if latency is None or not latency.known:
        return PENALTY * (active + 1.0) if active else 0.0
    return latency.estimate(now) * (active + 1.0)


class Followers:
    """`upstream`: that the log has for the request that begins now, "" without one. `waits` and
    `faults` make the chance for one backoff, and for the faults of one route.
    """

    __slots__ = ("faults", "upstream", "waits")

    def __init__(
        self,
        upstream: Recorded,
        waits: Callable[[BackoffConfig], Random],
        faults: Callable[[tuple[FaultConfig, ...]], Random],
    ) -> None:
        self.upstream = upstream
        self.waits = waits
        self.faults = faults


class FollowedBindings(Bindings):
    """Bindings whose splits, retries and faults follow the log."""

    def __init__(
        self, config: Config, upstreams: Upstreams, random: Random, followers: Followers
    ) -> None:
        super().__init__(config, upstreams, random)
        self._followers = followers
        self._shares: dict[str, Shares] = {}

    def of_split(self, route: Route, value: bytes) -> Binding:
        split = route.split
        if value or split is None:
            return super().of_split(route, value)
        shares = self._shares.get(route.name)
        if shares is None:
            shares = self._shares[route.name] = Shares()
        due: dict[str, float] = {}
        for at in range(len(split.names)):
            due[split.names[at]] = split.shares[at]
        name = self._followers.upstream()
        if name not in due or not shares.allow(name, due[name]):
            name = split.names[split.choose(self._random())]
        shares.give(name, due)
        bindings = self._splits.get(route.name) or self._bound_split(route, split)
        return bindings[split.names.index(name)]

    def _bind(self, route: Route, upstream: Upstream, authority: str | None, name: str) -> Binding:
        binding = super()._bind(route, upstream, authority, name)
        policies = route.config.policies
        budget = cast(RetryBudget, binding.gate(RETRY_BUDGET))
        waits = self._followers.waits(policies.retry.backoff)
        binding.retry = RetryPolicy(policies.retry, waits, budget)
        if binding.fallback is not None:
            binding.fallback.retry = binding.retry
        if policies.faults:
            binding.faults = Faults(policies.faults, self._followers.faults(policies.faults))
        return binding
