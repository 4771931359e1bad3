"""Which endpoint of an upstream gets the next attempt: weights, slow start, what can be used."""

from collections.abc import Collection, Iterable
from math import inf
from typing import Final

from proxy.clock import Random
from proxy.config.model import LoadBalancing, UpstreamConfig
from proxy.http.hash_key import HashKey
from proxy.policies.ejection import Member
from proxy.policies.ewma import PeakEwma
from proxy.upstream.balancing import Admit, Balancer, balancer
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.leases import Scheduler
from proxy.upstream.standings import StandingCounts, Standings

LEAST_SHARE: Final = 0.1
"""Of its weight, that an endpoint has at least during `slow_start`."""


class Choice:
    """`hash_key`: what requests are hashed by, if they are. `standings`: None if every endpoint
    can always be used.
    """

    __slots__ = (
        "_balancer",
        "_config",
        "_counts",
        "_endpoints",
        "_loop",
        "_random",
        "_warming",
        "hash_key",
        "standings",
    )

    def __init__(
        self, config: UpstreamConfig, loop: Scheduler, random: Random, counts: StandingCounts | None
    ) -> None:
        self._config = config
        self._loop = loop
        self._random = random
        self._counts = counts
        self._balancer: Balancer = balancer(config.load_balancing, random)
        self._endpoints: list[Endpoint] = []
        # New or returned endpoints, and when they came.
        self._warming: dict[Endpoint, float] = {}
        self.hash_key = _hash_key(config)
        self.standings = self._new_standings(config)

    @property
    def usable(self) -> list[Endpoint]:
        """The endpoints that get requests; if none can be used, all."""
        standings = self.standings
        return self._endpoints if standings is None else standings.usable or self._endpoints

    def pick(
        self, exclude: Collection[Endpoint], admit: Admit | None, key: bytes
    ) -> Endpoint | None:
        """See `Upstream.pick`."""
        standings = self.standings
        if standings is not None and standings.ejection.due == inf and len(standings.usable) == 1:
            only = standings.usable[0]
            return only if admit is None or admit(only) else None
        now = self._loop.time()
        if self._warming:
            self._warm_up(now)
        endpoints = self._endpoints
        if standings is not None:
            endpoints = standings.usable
            if standings.ejection.due <= now:
                wanting = standings.probe(exclude, now, always=not endpoints)
                if key:  # a probe must not move another endpoint's keys: the hash decides
                    endpoints = endpoints + wanting
                elif wanting and (admit is None or admit(wanting[0])):
                    return wanting[0]
            if not endpoints:
                if standings.refuses:
                    return None
                endpoints = self._endpoints
        return self._balancer.pick(endpoints, exclude, admit, now, key)

    def balance_by(self, other: Balancer) -> None:
        """Choose by this balancer, in place of the one that the configuration asks for."""
        other.weighted = self._balancer.weighted
        self._balancer = other

    def weigh(self) -> None:
        """Bring the weights up to date, which `slow_start` changes with time."""
        if self._warming:
            self._warm_up(self._loop.time())

    def join(self, endpoint: Endpoint, weight: int) -> None:
        """An endpoint is new; `renew` follows."""
        endpoint.full_weight = float(weight)
        if self.standings is not None:
            endpoint.member = self.standings.join()
        self._watch(endpoint)

    def renew(
        self, endpoints: list[Endpoint], coming: Iterable[Endpoint], gone: Iterable[Endpoint]
    ) -> None:
        """The endpoints are these. `coming` have just joined others, and start slowly."""
        now = self._loop.time()
        self._endpoints = endpoints
        self._start_slowly(coming, now)
        if self.standings is not None:
            self.standings.renew(endpoints, gone, now)
        self._warm_up(now)

    def adopt(self, config: UpstreamConfig) -> None:
        """Go on with these settings, and keep what they do not change; `renew` follows."""
        now = self._loop.time()
        before, self._config = self._config, config
        if config.load_balancing is not before.load_balancing:
            self._balancer = balancer(config.load_balancing, self._random)
        self.hash_key = _hash_key(config)
        standings = self.standings
        if standings is None or not _judges(config) or not standings.adopt(config, now):
            standings = self._new_standings(config)
        if standings is not self.standings:
            if self.standings is not None:
                self.standings.ejection.retire()
            self.standings = standings
            checked = config.health_check is not None
            for endpoint in self._endpoints:
                former = endpoint.member
                endpoint.member = None if standings is None else standings.join()
                if checked and former is not None and endpoint.member is not None:
                    endpoint.member.keep_health(former)
        if config.health_check is None and before.health_check is not None:
            for endpoint in self._endpoints:
                endpoint.check = ""
                if endpoint.member is not None:
                    endpoint.member.forget_health()
        for endpoint in self._endpoints:
            self._watch(endpoint)

    def succeed(self, former: "Choice", known: dict[Endpoint, Endpoint]) -> None:
        """Go on with what another one knows. `known`: its endpoint for each one that stays."""
        now = self._loop.time()
        self._warming.clear()
        self._start_slowly([one for one in self._endpoints if known and one not in known], now)
        for endpoint, before in known.items():
            if before in former._warming:
                self._warming[endpoint] = former._warming[before]
            if endpoint.latency is not None and before.latency is not None:
                endpoint.watch(before.latency, endpoint.member)
        checked = self._config.health_check is not None
        members: dict[Member, Member] = {}
        for endpoint, before in known.items():
            if endpoint.member is not None and before.member is not None:
                members[endpoint.member] = before.member
                if checked:
                    endpoint.check = before.check
                    endpoint.member.keep_health(before.member)
        if self.standings is not None and former.standings is not None:
            self.standings.ejection.succeed(former.standings.ejection, members, now)
        self._warm_up(now)

    # --- for this class -------------------------------------------------------------------------

    def _new_standings(self, config: UpstreamConfig) -> Standings | None:
        if not _judges(config):
            return None
        if self._counts is None:
            self._counts = StandingCounts()
        return Standings(config, self._random, self._came_back, self._counts)

    def _watch(self, endpoint: Endpoint) -> None:
        """Learn from its attempts what balancing and ejection need."""
        latency = endpoint.latency
        if self._config.load_balancing is not LoadBalancing.EWMA:
            latency = None
        elif latency is None:
            latency = PeakEwma()
        endpoint.watch(latency, endpoint.member)

    def _came_back(self, endpoints: list[Endpoint]) -> None:
        """They work again: what was learned of them while they failed is of no use."""
        now = self._loop.time()
        for endpoint in endpoints:
            if endpoint.latency is not None:
                endpoint.latency.forget()
        self._start_slowly(endpoints, now)
        self._warm_up(now)

    def _start_slowly(self, endpoints: Iterable[Endpoint], now: float) -> None:
        if self._config.slow_start > 0:
            for endpoint in endpoints:
                self._warming[endpoint] = now

    def _warm_up(self, now: float) -> None:
        """Give each endpoint its present weight."""
        seconds = self._config.slow_start
        for endpoint, since in tuple(self._warming.items()):
            if now - since >= seconds or endpoint not in self._endpoints:
                del self._warming[endpoint]
        weights = set()
        for endpoint in self._endpoints:
            weight = endpoint.full_weight
            if endpoint in self._warming:
                weight *= max((now - self._warming[endpoint]) / seconds, LEAST_SHARE)
            endpoint.weight = weight
            weights.add(weight)
        self._balancer.weighted = len(weights) > 1


def _hash_key(config: UpstreamConfig) -> HashKey | None:
    return config.hash if config.load_balancing is LoadBalancing.CONSISTENT_HASH else None


def _judges(config: UpstreamConfig) -> bool:
    """Whether something decides which endpoints can be used."""
    return config.outlier_detection is not None or config.health_check is not None
