"""All bindings of one configuration: created when first needed, continued over a reload.

Most routes have one upstream and so one binding; a split has one for each of its upstreams. A route
without an upstream has one for each authority that callers name, so that one failing host never
opens the breaker of another. Their number is bounded: beyond it the least recently used one is
dropped with its gates.

A reload makes new bindings, because routes may have changed in any way. The gates' state is kept by
name, see `Bindings.take_over`; an exchange in flight keeps its binding.
"""

from collections import OrderedDict
from collections.abc import Callable
from itertools import islice
from typing import TypeAlias, cast

from proxy.clock import Random
from proxy.config.model import APP_UPSTREAM, Config, PolicyConfig
from proxy.exchange.binding import Binding, Mirrors
from proxy.exchange.gates import Gates, Transition
from proxy.exchange.labels import Labels
from proxy.exchange.promise import Promise
from proxy.exchange.stats import RouteStats
from proxy.http.authority import DEFAULT_PORTS, Authority
from proxy.policies.budget import RETRY_BUDGET, RetryBudget
from proxy.policies.faults import Faults
from proxy.policies.hedge import HedgeConfig, Hedging
from proxy.policies.mirror import MirrorConfig, MirrorPlaces
from proxy.policies.retry import RetryPolicy
from proxy.policies.split import Split
from proxy.routing.table import Route, RouteTable
from proxy.upstream.registry import Upstreams
from proxy.upstream.upstream import Upstream

MAX_DYNAMIC = 1000
"""Maximum bindings of caller-named authorities that are kept, in addition to those in use."""
_LOOKED_AT = 16
"""Bindings examined to make room for another one."""
BOUND_AT_ONCE = 100
"""Bindings made in one step of the loop after a reload."""

Promises: TypeAlias = Callable[[Route], list[Promise]]
"""Makes the promises of a route, in the order in which they are asked."""
_Origin: TypeAlias = tuple[str, str, str, int]
"""Route, scheme, host and port."""


class Bindings:
    """Makes bindings, and keeps the gates by kind and name, also for the admin API.

    `labels`: the caller-named authorities with their own metric label.
    """

    def __init__(
        self,
        config: Config,
        upstreams: Upstreams,
        random: Random,
        on_transition: Transition | None = None,
        promises: Promises | None = None,
    ) -> None:
        """`promises` is given if the configuration has any."""
        self._config = config
        self._promises = promises
        self._upstreams = upstreams
        self._random = random
        self._static: dict[str, Binding] = {}
        self._splits: dict[str, list[Binding]] = {}
        self._dynamic: OrderedDict[_Origin, Binding] = OrderedDict()  # least recently used first
        self.labels = Labels()
        self.gates = Gates(self.labels, on_transition)
        self.stats: dict[tuple[str, str], RouteStats] = {}
        self._mirrors: dict[str, Mirrors] = {}
        self._former_mirrors: dict[str, Mirrors] = {}
        self._former_hedging: dict[str, Hedging] = {}
        self._routes: RouteTable | None = None
        self._former_static: dict[str, Binding | list[Binding]] = {}
        self._former_dynamic: OrderedDict[_Origin, Binding] = OrderedDict()

    def take_over(self, before: "Bindings", table: RouteTable) -> None:
        """Continue from `before`, which is no longer used.

        All counters and labels stay. A gate is kept by name if it accepts its new settings
        (`Gate.adopt`), and a gate of an upstream only with that upstream. Gates of routes that
        `before` had used are taken over by `bind_on` or by a request, others at their first use,
        until the next reload.
        """
        while before.bind_on():
            pass
        self.stats = before.stats
        self.labels = self.gates.labels = before.labels
        self.gates.take_over(before.gates)
        self._former_mirrors, before._mirrors = before._mirrors, {}
        self._former_hedging = before._hedging()
        self._routes = table
        self._former_static = {**before._static, **before._splits}
        before._static, before._splits = {}, {}
        self._former_dynamic, before._dynamic = before._dynamic, OrderedDict()

    def bind_on(self) -> bool:
        """Bind some of the former bindings' routes and authorities; False: none are left."""
        for _ in range(BOUND_AT_ONCE):
            if self._former_static:
                name, _ = self._former_static.popitem()
                self._bind_again(name)
            elif self._former_dynamic:
                origin, former = self._former_dynamic.popitem()
                self._bind_authority_again(origin, former)
            else:
                self._routes = None
                self._former_hedging = {}
                return False
        return True

    def _hedging(self) -> dict[str, Hedging]:
        """What hedges have learned, by binding and upstream."""
        found: dict[str, Hedging] = {}
        splits = [binding for bindings in self._splits.values() for binding in bindings]
        for binding in [*self._static.values(), *splits, *self._dynamic.values()]:
            if binding.hedging is not None:
                found[f"{binding.name} {binding.upstream.name}"] = binding.hedging
        return found

    def _hedging_of(self, binding: Binding, config: HedgeConfig) -> Hedging:
        """A reload keeps what was learned, if the settings and the upstream are the same."""
        former = self._former_hedging.get(f"{binding.name} {binding.upstream.name}")
        return Hedging(config) if former is None or former.config != config else former

    def _bind_again(self, name: str) -> None:
        route = self._routes.named(name) if self._routes is not None else None
        if route is None:
            return
        if route.split is not None:
            self._bound_split(route, route.split)
        elif route.config.upstream is not None or route.alone:
            self.of_route(route)

    def _bind_authority_again(self, origin: _Origin, former: Binding) -> None:
        full = len(self._dynamic) >= MAX_DYNAMIC
        if full or origin in self._dynamic or self._routes is None:
            return
        route = self._routes.named(origin[0])
        if route is not None and (route.config.upstream is None or origin[1] == "connect"):
            self._bind_authority(route, origin, former.upstream).used = former.used
            # Bindings used since the reload are later in the order.
            self._dynamic.move_to_end(origin, last=False)

    def of_route(self, route: Route) -> Binding:
        """The binding of a route that names its upstream, or has a fixed answer."""
        binding = self._static.get(route.name)
        if binding is None and route.alone:
            binding = self._static[route.name] = self._bind_fixed(route)
        elif binding is None:
            upstream = self._upstreams[str(route.config.upstream)]
            binding = self._static[route.name] = self._bind(route, upstream, None, route.name)
        return binding

    def of_split(self, route: Route, value: bytes) -> Binding:
        """The binding of the upstream that takes a request of a split.

        `value`: what decides; b"": chance.
        """
        split = route.split
        assert split is not None
        bindings = self._splits.get(route.name)
        if bindings is None:
            bindings = self._bound_split(route, split)
        if not value:
            return bindings[split.choose(self._random())]
        return bindings[split.choose_by(value)]

    def of_authority(self, route: Route, scheme: str, authority: Authority, now: float) -> Binding:
        """The binding of a route whose caller names the authority."""
        host = authority.host
        port = authority.port or DEFAULT_PORTS[scheme]
        origin = (route.name, scheme, host, port)
        binding = self._dynamic.get(origin)
        if binding is None:
            if len(self._dynamic) >= MAX_DYNAMIC:
                self._make_room(now)
            upstream = self._upstreams.for_authority(scheme, host, port)
            binding = self._bind_authority(route, origin, upstream)
            binding.used = now
        elif now - binding.used > 1.0:  # a second is exact enough
            binding.used = now
            self._dynamic.move_to_end(origin)
            self._upstreams.for_authority(scheme, host, port)  # it is used there too
        return binding

    def stats_of(self, listener: str, route: str) -> RouteStats:
        """The counters of a listener and route; route "" counts requests without a route."""
        key = (listener, route)
        stats = self.stats.get(key)
        if stats is None:
            stats = self.stats[key] = RouteStats(listener, route)
        return stats

    def _bound_split(self, route: Route, split: Split) -> list[Binding]:
        """A binding for each upstream: each has its own gates."""
        bindings = [
            self._bind(route, self._upstreams[name], None, f"{route.name}:{name}")
            for name in split.names
        ]
        self._splits[route.name] = bindings
        return bindings

    def _bind_authority(self, route: Route, origin: _Origin, upstream: Upstream) -> Binding:
        authority = str(Authority(origin[2], origin[3]))
        name = f"{route.name}:{authority}"
        binding = self._dynamic[origin] = self._bind(route, upstream, authority, name)
        return binding

    def _bind(self, route: Route, upstream: Upstream, authority: str | None, name: str) -> Binding:
        stats = self.stats_of(route.listener.value, route.name)
        named = self._config.policies[route.config.policy]
        binding = Binding(self.gates, route, named, upstream, stats, name=name, authority=authority)
        binding.add_gates()
        budget = cast(RetryBudget, binding.gate(RETRY_BUDGET))
        binding.retry = RetryPolicy(route.config.policies.retry, self._random, budget)
        faults = route.config.policies.faults
        if faults:
            binding.faults = Faults(faults, self._random)
        hedge = route.config.policies.hedge
        if hedge.delay:
            binding.hedging = self._hedging_of(binding, hedge)
        self._add_fallback(binding, route, named, stats)
        if route.config.mirror is not None:
            binding.mirrors = self._mirrors_of(route, route.config.mirror, named, stats)
        self._add_promises(binding)
        return binding

    def _add_promises(self, binding: Binding) -> None:
        if self._promises is not None:
            binding.promises = self._promises(binding.route) or None

    def _mirrors_of(
        self, route: Route, config: MirrorConfig, named: PolicyConfig, stats: RouteStats
    ) -> Mirrors:
        """The mirror of a route. The upstreams of a split share it, and a reload keeps its places
        if its settings are the same."""
        made = self._mirrors.get(route.name)
        if made is not None:
            return made
        former = self._former_mirrors.pop(route.name, None)
        if former is not None and former.places.config == config:
            places = former.places
        else:
            places = MirrorPlaces(config, self._random)
        upstream = self._upstreams[config.upstream]
        name = f"{route.name}:{config.upstream}"
        binding = Binding(self.gates, route, named, upstream, RouteStats("", ""), name=name)
        self._mirrors[route.name] = made = Mirrors(binding, places, stats)
        return made

    def _add_fallback(
        self, binding: Binding, route: Route, named: PolicyConfig, stats: RouteStats
    ) -> None:
        fallback = route.config.policies.fallback
        if fallback is not None and fallback.upstream is not None:
            other = self._upstreams[fallback.upstream]
            name = f"{route.name}:{fallback.upstream}"
            binding.fallback = Binding(self.gates, route, named, other, stats, name=name)
            binding.fallback.add_fallback_gates()
            binding.fallback.retry = binding.retry

    def _bind_fixed(self, route: Route) -> Binding:
        """Its upstream is never asked; only the gates of requests are."""
        stats = self.stats_of(route.listener.value, route.name)
        named = self._config.policies[route.config.policy]
        upstream = self._upstreams[APP_UPSTREAM.name]
        binding = Binding(self.gates, route, named, upstream, stats, name=route.name)
        binding.label = ""
        binding.add_request_gates()
        policies = route.config.policies
        budget = RetryBudget(route.name, policies.retry.budget)
        binding.retry = RetryPolicy(policies.retry, self._random, budget)
        self._add_fallback(binding, route, named, stats)
        self._add_promises(binding)
        return binding

    def _make_room(self, now: float) -> None:
        """Drop the least recently used caller-named binding.

        Examined bindings that are in use or under an operator's order move to the end, so that the
        next call examines others.
        """
        for origin in list(islice(self._dynamic, _LOOKED_AT)):
            binding = self._dynamic[origin]
            if binding.idle(now):
                del self._dynamic[origin]
                binding.release()
                return
            self._dynamic.move_to_end(origin)
