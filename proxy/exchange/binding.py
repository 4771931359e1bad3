"""A route together with where it leads: the policies' state that one exchange meets.

Most routes have one upstream and so one binding. A route without an upstream has one for each
authority that callers name, so that one failing host never opens the breaker of another; their
number is bounded, and only the first hundred have a label of their own in metrics.

A reload makes new bindings, for routes may have changed in any way. What they had learnt goes on
under its name, see `Bindings.take_over`; an exchange under way keeps the binding it has.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from proxy.clock import Random
from proxy.config.model import Config, Listener, PolicyConfig
from proxy.exchange.heads import FieldRules
from proxy.exchange.stats import RouteStats
from proxy.http.authority import DEFAULT_PORTS, Authority
from proxy.policies.budget import RetryBudget
from proxy.policies.bulkhead import Bulkhead, BulkheadScope
from proxy.policies.circuit_breaker import (
    BreakerCounts,
    BreakerMode,
    BreakerScope,
    BreakerState,
    CircuitBreaker,
    CircuitBreakerConfig,
)
from proxy.policies.gate import Gate
from proxy.policies.retry import RetryPolicy
from proxy.routing.table import Route, RouteTable
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.registry import Upstreams
from proxy.upstream.upstream import Upstream

MAX_LABELS = 100
"""Caller-named authorities with a metric label of their own; the rest count as `other`."""
MAX_DYNAMIC = 1000
"""Bindings of caller-named authorities that are kept; idle ones go first."""

OTHER = "other"

_CLASSES = ("", "1xx", "2xx", "3xx", "4xx", *["5xx"] * 5)

Transition: TypeAlias = Callable[[CircuitBreaker, BreakerState, BreakerState, float], None]


@dataclass(frozen=True, slots=True)
class BreakerEntry:
    """A breaker and what it stands for; `labelled`: it has metric labels of its own."""

    breaker: CircuitBreaker
    config: CircuitBreakerConfig
    route: str
    upstream: str
    labelled: bool


class _Owner(NamedTuple):
    """Whose a breaker is: the rest of its entry."""

    config: CircuitBreakerConfig
    route: str
    upstream: str
    labelled: bool


class _State(NamedTuple):
    """Policies' state by name."""

    breakers: dict[str, BreakerEntry]
    bulkheads: dict[str, Bulkhead]
    budgets: dict[str, RetryBudget]

    def copy(self) -> "_State":
        return _State(dict(self.breakers), dict(self.bulkheads), dict(self.budgets))


class Binding:
    """What an exchange needs once it knows its route and its upstream."""

    __slots__ = (
        "attempt_gates",
        "breaker",
        "budget",
        "budget_name",
        "bulkhead",
        "endpoint_breakers",
        "failures",
        "fallback",
        "label",
        "labelled",
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
        route: Route,
        policies: PolicyConfig,
        upstream: Upstream,
        stats: RouteStats,
        *,
        labelled: bool = True,
    ) -> None:
        self.route = route
        self.policies = policies
        self.upstream = upstream
        self.stats = stats
        self.labelled = labelled
        self.label = upstream.name if labelled else OTHER
        self.request_rules = FieldRules.of(route.config.request_headers)
        self.response_rules = FieldRules.of(route.config.response_headers)
        self.breaker: CircuitBreaker | None = None
        self.fallback: Binding | None = None
        self.used = 0.0
        self.bulkhead: Bulkhead
        self.budget: RetryBudget
        self.budget_name: str
        self.retry: RetryPolicy
        self.endpoint_breakers: Callable[[Endpoint], CircuitBreaker] | None = None
        self.failures = policies.circuit_breaker.failures
        self.request_gates: list[Gate] = []
        self.outer_gates: list[Gate] = []
        self.attempt_gates: list[Gate] = []

    def count_attempt(self, status: int, failure: str) -> None:
        """One attempt has ended, with a response or by a failure."""
        self.stats.count_attempt(self.label, failure or _CLASSES[status // 100])

    def endpoint_gates(self, endpoint: Endpoint) -> list[Gate]:
        """Those that an attempt at this endpoint asks, after `attempt_gates`."""
        if self.endpoint_breakers is None:
            return []
        return [self.endpoint_breakers(endpoint), self.budget]

    def breaker_of(self, endpoint: Endpoint) -> CircuitBreaker | None:
        """The breaker that an attempt at this endpoint asks, None with `mode: off`."""
        if self.endpoint_breakers is None:
            return self.breaker
        return self.endpoint_breakers(endpoint)

    @property
    def per_endpoint(self) -> bool:
        """Whether each endpoint has a breaker of its own."""
        return self.endpoint_breakers is not None

    def allows_retry(self, now: float) -> bool:
        """Whether some gate that another attempt could ask lets it pass."""
        for gate in self.attempt_gates:
            if not gate.allows_retry(now):
                return False
        if self.endpoint_breakers is None:
            return True
        breakers = map(self.endpoint_breakers, self.upstream.endpoints)
        return any(breaker.allows_retry(now) for breaker in breakers)

    def idle(self, now: float) -> bool:
        """Whether it can be forgotten: nothing under way, nothing to remember."""
        closed = self.breaker is None or self.breaker.state(now) is BreakerState.CLOSED
        return closed and self.bulkhead.in_use == 0 and self.bulkhead.queued == 0


class Bindings:
    """Makes bindings and keeps the policies' state by name, for the admin side to look at.

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
        self._on_transition = on_transition
        self._static: dict[str, Binding] = {}
        self._dynamic: dict[tuple[str, str], Binding] = {}
        self.labels: set[str] = set()
        self.breakers: dict[str, BreakerEntry] = {}
        self.bulkheads: dict[str, Bulkhead] = {}
        self.budgets: dict[str, RetryBudget] = {}
        self.stats: dict[tuple[str, str], RouteStats] = {}
        self._inherited = _State({}, {}, {})

    def take_over(self, before: "Bindings", table: RouteTable) -> None:
        """Go on where `before` was: it is not asked for bindings any more.

        Counters and labels all stay. A breaker or budget stays with its name and settings, a
        breaker also only with its upstream; a bulkhead with its name, and is resized. What belongs
        to a route that `before` had used is taken now; the rest when it is first asked for, until
        the next reload.
        """
        self.stats = before.stats
        self.labels = before.labels
        self._inherited = _State(before.breakers, before.bulkheads, before.budgets).copy()
        routes = {route.name: route for each in Listener for route in table.of(each)}
        for name in before._static:
            route = routes.get(name)
            if route is not None and route.config.upstream is not None:
                self.of_route(route)
        for (name, origin), old in before._dynamic.items():
            scheme, _, authority = origin.partition("://")
            route = routes.get(name)
            if route is not None and (route.config.upstream is None or scheme == "connect"):
                binding = self._bind(route, old.upstream, authority)
                binding.used = old.used
                self._dynamic[name, origin] = binding
        # Breakers by endpoint point back to `before`: without this only the cycle collector
        # could free it.
        before._static.clear()
        before._dynamic.clear()

    def of_route(self, route: Route) -> Binding:
        """The binding of a route that names its upstream."""
        binding = self._static.get(route.name)
        if binding is None:
            upstream = self._upstreams[str(route.config.upstream)]
            binding = self._static[route.name] = self._bind(route, upstream, None)
        return binding

    def of_authority(self, route: Route, scheme: str, authority: Authority, now: float) -> Binding:
        """The binding of a route that leaves the upstream to the caller."""
        port = authority.port or DEFAULT_PORTS[scheme]
        name = str(Authority(authority.host, port))
        key = (route.name, f"{scheme}://{name}")
        binding = self._dynamic.get(key)
        if binding is None:
            if len(self._dynamic) >= MAX_DYNAMIC:
                self._forget_idle(now)
            upstream = self._upstreams.for_authority(scheme, authority.host, port)
            binding = self._dynamic[key] = self._bind(route, upstream, name)
        binding.used = now
        return binding

    def stats_of(self, listener: str, route: str) -> RouteStats:
        """The counters of a listener and route; route "" counts what never had one."""
        key = (listener, route)
        stats = self.stats.get(key)
        if stats is None:
            stats = self.stats[key] = RouteStats(listener, route)
        return stats

    def _bind(self, route: Route, upstream: Upstream, authority: str | None) -> Binding:
        policies = route.config.policies
        labelled = authority is None or self._claim_label(authority)
        stats = self.stats_of(route.listener.value, route.name)
        binding = Binding(route, policies, upstream, stats, labelled=labelled)
        name = route.name if authority is None else f"{route.name}:{authority}"
        self._bind_breaker(binding, name)
        binding.bulkhead = self._bulkhead(name, binding)
        binding.budget_name, binding.budget = self._budget(name, binding)
        binding.retry = RetryPolicy(policies.retry, self._random, binding.budget)
        binding.request_gates.append(binding.bulkhead)
        if binding.breaker is not None:
            counts = policies.circuit_breaker.counts
            outer = counts is BreakerCounts.REQUESTS
            (binding.outer_gates if outer else binding.attempt_gates).append(binding.breaker)
        if not binding.per_endpoint:
            binding.attempt_gates.append(binding.budget)
        fallback = policies.fallback
        if fallback is not None and fallback.upstream is not None:
            binding.fallback = self._bind_fallback(binding, fallback.upstream)
        return binding

    def _bind_fallback(self, binding: Binding, upstream: str) -> Binding:
        """One attempt at another upstream, under that upstream's own breaker."""
        fallback = Binding(
            binding.route, binding.policies, self._upstreams[upstream], binding.stats
        )
        self._bind_breaker(fallback, f"{binding.route.name}:{upstream}")
        fallback.bulkhead = binding.bulkhead
        fallback.budget, fallback.retry = binding.budget, binding.retry
        if fallback.breaker is not None:
            fallback.attempt_gates.append(fallback.breaker)
        return fallback

    def _shared_name(self, binding: Binding, own: object, of_policy: object, name: str) -> str:
        """`policy:upstream`, or `name` where the route changes the policy's settings for itself."""
        if own != of_policy:
            return name
        return f"{binding.route.config.policy}:{binding.upstream.name}"

    def _bind_breaker(self, binding: Binding, name: str) -> None:
        config = binding.policies.circuit_breaker
        if config.mode is BreakerMode.OFF:
            return
        owner = _Owner(config, binding.route.name, binding.upstream.name, binding.labelled)
        if config.scope is BreakerScope.ENDPOINT:

            def of_endpoint(endpoint: Endpoint) -> CircuitBreaker:
                of_this = f"{name}:{endpoint.label}"
                if of_this not in self.breakers:
                    self._forget_endpoints(binding, name, binding.upstream.endpoints)
                return self._breaker(of_this, owner)

            binding.endpoint_breakers = of_endpoint
            for endpoint in binding.upstream.endpoints:
                if f"{name}:{endpoint.label}" in self._inherited.breakers:
                    of_endpoint(endpoint)
            return
        if config.scope is BreakerScope.UPSTREAM:
            name = self._shared_name(binding, config, self._policy(binding).circuit_breaker, name)
        binding.breaker = self._breaker(name, owner)

    def _forget_endpoints(self, binding: Binding, name: str, kept: Iterable[Endpoint]) -> None:
        """Drop the breakers of endpoints that are gone: where Pods come and go there would be
        ever more of them."""
        present = {f"{name}:{endpoint.label}" for endpoint in kept}
        for known, entry in tuple(self.breakers.items()):
            if (
                known not in present
                and entry.config.scope is BreakerScope.ENDPOINT
                and entry.route == binding.route.name
                and entry.upstream == binding.upstream.name
            ):
                del self.breakers[known]

    def _breaker(self, name: str, owner: "_Owner") -> CircuitBreaker:
        entry = self.breakers.get(name)
        if entry is None:
            before = self._inherited.breakers.pop(name, None)
            if (
                before is not None
                and before.config == owner.config
                and before.upstream == owner.upstream
            ):
                breaker = before.breaker
            else:
                breaker = CircuitBreaker(name, owner.config)
                breaker.on_transition = self._on_transition
                if before is not None:  # a counter of that name never falls
                    breaker.transitions = before.breaker.transitions
            entry = self.breakers[name] = BreakerEntry(breaker, *owner)
        return entry.breaker

    def _bulkhead(self, name: str, binding: Binding) -> Bulkhead:
        config = binding.policies.bulkhead
        if config.scope is BulkheadScope.UPSTREAM:
            name = self._shared_name(binding, config, self._policy(binding).bulkhead, name)
        bulkhead = self.bulkheads.get(name)
        if bulkhead is None:
            bulkhead = self._inherited.bulkheads.pop(name, None) or Bulkhead(name, config)
            bulkhead.adopt(config)
            self.bulkheads[name] = bulkhead
        return bulkhead

    def _budget(self, name: str, binding: Binding) -> tuple[str, RetryBudget]:
        """One for each upstream and policy."""
        config = binding.policies.retry.budget
        name = self._shared_name(binding, config, self._policy(binding).retry.budget, name)
        budget = self.budgets.get(name)
        if budget is None:
            budget = self._inherited.budgets.pop(name, None)
            if budget is None or not budget.adopt(config):
                budget = RetryBudget(name, config)
            self.budgets[name] = budget
        return name, budget

    def _policy(self, binding: Binding) -> PolicyConfig:
        return self._config.policies[binding.route.config.policy]

    def _claim_label(self, authority: str) -> bool:
        if authority not in self.labels:
            if len(self.labels) >= MAX_LABELS:
                return False
            self.labels.add(authority)
        return True

    def _forget_idle(self, now: float) -> None:
        """Drop the longest unused tenth of the caller-named bindings that are idle."""
        idle = [(key, binding) for key, binding in self._dynamic.items() if binding.idle(now)]
        idle.sort(key=lambda item: item[1].used)
        for key, binding in idle[: MAX_DYNAMIC // 10]:
            del self._dynamic[key]
            self.bulkheads.pop(binding.bulkhead.name, None)
            if binding.breaker is not None:
                self.breakers.pop(binding.breaker.name, None)
            elif binding.per_endpoint:
                self._forget_endpoints(binding, "", ())
            self.budgets.pop(binding.budget_name, None)
