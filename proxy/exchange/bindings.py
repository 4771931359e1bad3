"""All bindings of one configuration: made when they are first needed, gone on with over a reload.

Most routes have one upstream and so one binding. A route without an upstream has one for each
authority that callers name, so that one failing host never opens the breaker of another. Their
number is bounded: beyond it, the one unused for longest goes, with its gates.

A reload makes new bindings, for routes may have changed in any way. What they had learnt goes on
under its name, see `Bindings.take_over`; an exchange under way keeps the binding it has.
"""

from collections import OrderedDict
from itertools import islice
from typing import TypeAlias, cast

from proxy.clock import Random
from proxy.config.model import Config
from proxy.exchange.binding import Binding
from proxy.exchange.gates import Gates, Transition
from proxy.exchange.labels import Labels
from proxy.exchange.stats import RouteStats
from proxy.http.authority import DEFAULT_PORTS, Authority
from proxy.policies.budget import RETRY_BUDGET, RetryBudget
from proxy.policies.retry import RetryPolicy
from proxy.routing.table import Route, RouteTable
from proxy.upstream.registry import Upstreams
from proxy.upstream.upstream import Upstream

MAX_DYNAMIC = 1000
"""Bindings of caller-named authorities that are kept, beside those that are in use."""
_LOOKED_AT = 16
"""Bindings that are looked at to make room for another one."""
BOUND_AT_ONCE = 100
"""Bindings made in one step of the loop after a reload."""

_Origin: TypeAlias = tuple[str, str, str, int]
"""Route, scheme, host and port."""


class Bindings:
    """Makes bindings, and keeps the gates by kind and name, for the admin side to look at.

    `labels`: the caller-named authorities that have a metric label of their own.
    """

    def __init__(
        self,
        config: Config,
        upstreams: Upstreams,
        random: Random,
        on_transition: Transition | None = None,
    ) -> None:
        self._config = config
        self._upstreams = upstreams
        self._random = random
        self._static: dict[str, Binding] = {}
        self._dynamic: OrderedDict[_Origin, Binding] = OrderedDict()  # the longest unused first
        self.labels = Labels()
        self.gates = Gates(self.labels, on_transition)
        self.stats: dict[tuple[str, str], RouteStats] = {}
        self._routes: RouteTable | None = None
        self._former_static: dict[str, Binding] = {}
        self._former_dynamic: OrderedDict[_Origin, Binding] = OrderedDict()

    def take_over(self, before: "Bindings", table: RouteTable) -> None:
        """Go on where `before` was: it is not asked for bindings any more.

        Counters and labels all stay. A gate stays with its name where it can go on under its new
        settings (`Gate.adopt`), one that knows an upstream only with that upstream. What belongs
        to a route that `before` had used is taken by `bind_on`, if no request has come for it
        before; the rest when it is first asked for, until the next reload.
        """
        while before.bind_on():
            pass
        self.stats = before.stats
        self.labels = self.gates.labels = before.labels
        self.gates.take_over(before.gates)
        self._routes = table
        self._former_static, before._static = before._static, {}
        self._former_dynamic, before._dynamic = before._dynamic, OrderedDict()

    def bind_on(self) -> bool:
        """Bind some of the routes and authorities that the former bindings had; False: no more."""
        for _ in range(BOUND_AT_ONCE):
            if self._former_static:
                name, _ = self._former_static.popitem()
                self._bind_again(name)
            elif self._former_dynamic:
                origin, former = self._former_dynamic.popitem()
                self._bind_authority_again(origin, former)
            else:
                self._routes = None
                return False
        return True

    def _bind_again(self, name: str) -> None:
        route = self._routes.named(name) if self._routes is not None else None
        if route is not None and route.config.upstream is not None:
            self.of_route(route)

    def _bind_authority_again(self, origin: _Origin, former: Binding) -> None:
        full = len(self._dynamic) >= MAX_DYNAMIC
        if full or origin in self._dynamic or self._routes is None:
            return
        route = self._routes.named(origin[0])
        if route is not None and (route.config.upstream is None or origin[1] == "connect"):
            self._bind_authority(route, origin, former.upstream).used = former.used
            # Those that are used since the reload come later in the order.
            self._dynamic.move_to_end(origin, last=False)

    def of_route(self, route: Route) -> Binding:
        """The binding of a route that names its upstream."""
        binding = self._static.get(route.name)
        if binding is None:
            upstream = self._upstreams[str(route.config.upstream)]
            binding = self._static[route.name] = self._bind(route, upstream, None)
        return binding

    def of_authority(self, route: Route, scheme: str, authority: Authority, now: float) -> Binding:
        """The binding of a route that leaves the upstream to the caller."""
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
        elif now - binding.used > 1.0:  # to the second is exact enough
            binding.used = now
            self._dynamic.move_to_end(origin)
            self._upstreams.for_authority(scheme, host, port)  # there it is in use, too
        return binding

    def stats_of(self, listener: str, route: str) -> RouteStats:
        """The counters of a listener and route; route "" counts what never had one."""
        key = (listener, route)
        stats = self.stats.get(key)
        if stats is None:
            stats = self.stats[key] = RouteStats(listener, route)
        return stats

    def _bind_authority(self, route: Route, origin: _Origin, upstream: Upstream) -> Binding:
        authority = str(Authority(origin[2], origin[3]))
        binding = self._dynamic[origin] = self._bind(route, upstream, authority)
        return binding

    def _bind(self, route: Route, upstream: Upstream, authority: str | None) -> Binding:
        stats = self.stats_of(route.listener.value, route.name)
        name = route.name if authority is None else f"{route.name}:{authority}"
        named = self._config.policies[route.config.policy]
        binding = Binding(self.gates, route, named, upstream, stats, name=name, authority=authority)
        binding.add_gates()
        budget = cast(RetryBudget, binding.gate(RETRY_BUDGET))
        binding.retry = RetryPolicy(route.config.policies.retry, self._random, budget)
        fallback = route.config.policies.fallback
        if fallback is not None and fallback.upstream is not None:
            other = self._upstreams[fallback.upstream]
            name = f"{route.name}:{fallback.upstream}"
            binding.fallback = Binding(self.gates, route, named, other, stats, name=name)
            binding.fallback.add_fallback_gates()
            binding.fallback.retry = binding.retry
        return binding

    def _make_room(self, now: float) -> None:
        """Forget the longest unused of the caller-named bindings.

        Those looked at in vain are in use, or under an operator's order; they go to the end, so
        that another time others are looked at.
        """
        for origin in list(islice(self._dynamic, _LOOKED_AT)):
            binding = self._dynamic[origin]
            if binding.idle(now):
                del self._dynamic[origin]
                binding.release()
                return
            self._dynamic.move_to_end(origin)
