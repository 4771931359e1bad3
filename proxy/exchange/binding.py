"""A route together with where it leads: the gates and the decider that one exchange meets.

Most routes have one upstream and so one binding. A route without an upstream has one for each
authority that callers name, so that one failing host never opens the breaker of another. Their
number is bounded: beyond it, the one unused for longest goes, with its gates.

A reload makes new bindings, for routes may have changed in any way. What they had learnt goes on
under its name, see `Bindings.take_over`; an exchange under way keeps the binding it has.
"""

from collections import OrderedDict
from itertools import islice
from typing import Final, TypeAlias, cast

from proxy.clock import Random
from proxy.config.model import Config, PolicyConfig
from proxy.exchange.gates import Entry, Gates, Transition
from proxy.exchange.heads import FieldRules
from proxy.exchange.labels import OTHER, Labels
from proxy.exchange.stats import RouteStats
from proxy.http.authority import DEFAULT_PORTS, Authority
from proxy.policies import catalogue
from proxy.policies.budget import RETRY_BUDGET, RetryBudget
from proxy.policies.circuit_breaker import CircuitBreaker
from proxy.policies.gate import Gate, GateKind, Scope
from proxy.policies.retry import RetryPolicy
from proxy.routing.table import Route, RouteTable
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.registry import Upstreams
from proxy.upstream.upstream import Upstream

MAX_DYNAMIC = 1000
"""Bindings of caller-named authorities that are kept, beside those that are in use."""
_LOOKED_AT = 16
"""Bindings that are looked at to make room for another one."""

_CLASSES: Final = ("", "1xx", "2xx", "3xx", "4xx", *["5xx"] * 5)
BOUND_AT_ONCE = 100
"""Bindings made in one step of the loop after a reload."""

_Origin: TypeAlias = tuple[str, str, str, int]
"""Route, scheme, host and port."""


class Binding:
    """What an exchange needs once it knows its route and its upstream.

    `label`: the upstream in metrics. `request_gates` are held to the end of the response's body,
    `outer_gates` around all attempts to the response's head, `attempt_gates` by one attempt to
    the response's head. `failing`: the statuses that count as failures.
    """

    __slots__ = (
        "_authority",
        "_by_endpoint",
        "_entries",
        "_found",
        "_late",
        "_name",
        "_outcomes",
        "_owner",
        "attempt_gates",
        "breaker",
        "failing",
        "failures",
        "fallback",
        "label",
        "outer_gates",
        "policies",
        "request_gates",
        "request_rules",
        "response_rules",
        "retry",
        "route",
        "stats",
        "upstream",
        "used",
    )

    def __init__(
        self,
        owner: "Bindings",
        route: Route,
        upstream: Upstream,
        stats: RouteStats,
        *,
        name: str,
        authority: str | None = None,
    ) -> None:
        """`name`: that of the gates that nothing else shares."""
        self.route = route
        self.policies: PolicyConfig = route.config.policies
        self.upstream = upstream
        self.stats = stats
        self._found = authority is None or len(upstream.endpoints) > 0
        labelled = authority is None or owner.labels.claim(authority, found=self._found)
        self.label = upstream.name if labelled else OTHER
        self.request_rules = FieldRules.of(route.config.request_headers)
        self.response_rules = FieldRules.of(route.config.response_headers)
        self.failures = self.policies.circuit_breaker.failures
        self.failing: dict[int, str] = self.failures.statuses
        self.breaker: CircuitBreaker | None = None
        self.fallback: Binding | None = None
        self.used = 0.0
        self.request_gates: list[Gate] = []
        self.outer_gates: list[Gate] = []
        self.attempt_gates: list[Gate] = []
        self.retry: RetryPolicy
        self._owner = owner
        self._name = name
        self._authority = authority
        self._outcomes: dict[str, int] = stats.attempts_at(self.label)
        self._entries: list[Entry] = []
        # From the first gate on that each endpoint has of its own; None stands for such a one.
        self._late: list[tuple[GateKind, Gate | None]] = []
        self._by_endpoint: dict[str, list[Gate]] = {}

    # --- what an exchange asks ----------------------------------------------------------------

    @property
    def per_endpoint(self) -> bool:
        """Whether each endpoint has gates of its own."""
        return len(self._late) > 0

    def endpoint_gates(self, endpoint: Endpoint) -> list[Gate]:
        """Those that an attempt at this endpoint asks, after `attempt_gates`."""
        gates = self._by_endpoint.get(endpoint.label)
        return self._gates_of(endpoint) if gates is None else gates

    def breaker_of(self, endpoint: Endpoint) -> CircuitBreaker | None:
        """The circuit breaker that an attempt at this endpoint asks, if there is one."""
        if self.breaker is None and self._late:
            for gate in self.endpoint_gates(endpoint):
                if isinstance(gate, CircuitBreaker):
                    return gate
        return self.breaker

    def allows_retry(self, now: float) -> bool:
        """Whether all gates of some attempt that could follow let it pass."""
        if not _all_allow(self.attempt_gates, now):
            return False
        if not self._late:
            return True
        return any(
            _all_allow(self.endpoint_gates(endpoint), now) for endpoint in self.upstream.endpoints
        )

    def count_attempt(self, status: int, failure: str) -> None:
        """One attempt has ended, with a response or by a failure."""
        if not self._found and self.upstream.endpoints:
            self._is_found()
        outcome = failure or _CLASSES[status // 100]
        self._outcomes[outcome] = self._outcomes.get(outcome, 0) + 1

    # --- what `Bindings` asks -----------------------------------------------------------------

    def add_gates(self) -> None:
        """Get the gates of the catalogue that the policy asks for, in its order."""
        for kind in catalogue.REQUEST_GATES:
            self._add(kind, self.request_gates)
        for kind in catalogue.ATTEMPT_GATES:
            outer = kind.outer(self.policies.settings(kind))
            self._add(kind, self.outer_gates if outer else self.attempt_gates)
        for endpoint in self.upstream.endpoints if self._late else ():
            if any(
                gate is None and self._owner.gates.inherits(kind, self._endpoint_name(endpoint))
                for kind, gate in self._late
            ):
                self._gates_of(endpoint)

    def add_fallback_gates(self) -> None:
        """Those of one attempt at a fallback's upstream: what is known of that upstream."""
        for kind in catalogue.ATTEMPT_GATES:
            if kind.of_upstream:
                self._add(kind, self.attempt_gates)

    def gate(self, kind: GateKind) -> Gate | None:
        """The gate of a kind, None where there is none or each endpoint has its own."""
        for entry in self._entries:
            if entry.kind is kind:
                return entry.gate
        return None

    def idle(self, now: float) -> bool:
        """Whether it can be forgotten with all gates that nothing else uses."""
        entries = list(self._entries)
        if self.fallback is not None:
            entries += self.fallback._entries
        return all(entry.holders > 1 or entry.gate.idle(now) for entry in entries)

    def release(self) -> None:
        """It is forgotten."""
        for entry in self._entries:
            self._owner.gates.release(entry)
        self._entries.clear()
        if self.fallback is not None:
            self.fallback.release()

    # --- gates --------------------------------------------------------------------------------

    def _add(self, kind: GateKind, gates: list[Gate]) -> None:
        config = self.policies.settings(kind)
        scope = kind.scope_of(config)
        if scope is None:
            return
        if scope is Scope.ENDPOINT:
            self._late.append((kind, None))
            return
        name = self._name
        if scope is Scope.UPSTREAM and config == self._owner.policy(self.route).settings(kind):
            name = f"{self.route.config.policy}:{self.upstream.name}"
        gate = self._hold(kind, name, config)
        if isinstance(gate, CircuitBreaker):
            self.breaker = gate
        if self._late and gates is self.attempt_gates:
            self._late.append((kind, gate))
        else:
            gates.append(gate)

    def _hold(self, kind: GateKind, name: str, config: object) -> Gate:
        entry = self._owner.gates.hold(
            kind,
            name,
            config,
            route=self.route.name,
            upstream=self.upstream.name,
            authority=self._authority,
        )
        self._entries.append(entry)
        return entry.gate

    def _endpoint_name(self, endpoint: Endpoint) -> str:
        return f"{self._name}:{endpoint.label}"

    def _gates_of(self, endpoint: Endpoint) -> list[Gate]:
        """Make the gates of an endpoint, and forget those of endpoints that are gone: where Pods
        come and go there would be ever more of them."""
        present = {self._endpoint_name(each): each.label for each in self.upstream.endpoints}
        own = [kind for kind, gate in self._late if gate is None]
        for entry in self._entries[:]:
            if entry.kind in own and entry.gate.name not in present:
                self._entries.remove(entry)
                self._owner.gates.release(entry)
        kept = set(present.values())
        for label in [label for label in self._by_endpoint if label not in kept]:
            del self._by_endpoint[label]
        name = self._endpoint_name(endpoint)
        gates = [
            self._hold(kind, name, self.policies.settings(kind)) if gate is None else gate
            for kind, gate in self._late
        ]
        self._by_endpoint[endpoint.label] = gates
        return gates

    def _is_found(self) -> None:
        """The authority's name was found for the first time: it may have a label of its own."""
        self._found = True
        authority, owner = self._authority, self._owner
        assert authority is not None
        had_one = authority in owner.labels
        if not owner.labels.claim(authority, found=True):
            return
        if not had_one:
            for entry in self._entries:
                owner.gates.is_labelled_now(entry)
        self.label = self.upstream.name
        self._outcomes = self.stats.attempts_at(self.label)


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
        # The former bindings are dropped one by one. Each points back to `before`: otherwise only
        # the cycle collector could free it.
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

    def policy(self, route: Route) -> PolicyConfig:
        """The policy that a route names, without the route's own changes."""
        return self._config.policies[route.config.policy]

    def _bind_authority(self, route: Route, origin: _Origin, upstream: Upstream) -> Binding:
        authority = str(Authority(origin[2], origin[3]))
        binding = self._dynamic[origin] = self._bind(route, upstream, authority)
        return binding

    def _bind(self, route: Route, upstream: Upstream, authority: str | None) -> Binding:
        stats = self.stats_of(route.listener.value, route.name)
        name = route.name if authority is None else f"{route.name}:{authority}"
        binding = Binding(self, route, upstream, stats, name=name, authority=authority)
        binding.add_gates()
        budget = cast(RetryBudget, binding.gate(RETRY_BUDGET))
        binding.retry = RetryPolicy(route.config.policies.retry, self._random, budget)
        fallback = route.config.policies.fallback
        if fallback is not None and fallback.upstream is not None:
            other = self._upstreams[fallback.upstream]
            name = f"{route.name}:{fallback.upstream}"
            binding.fallback = Binding(self, route, other, stats, name=name)
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


def _all_allow(gates: list[Gate], now: float) -> bool:
    return all(gate.allows_retry(now) for gate in gates)
