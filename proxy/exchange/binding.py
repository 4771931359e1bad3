"""A route joined with an upstream: the gates and the decider of an exchange."""

from dataclasses import replace
from typing import Final

from proxy.config.model import PolicyConfig
from proxy.exchange.gates import Entry, Gates
from proxy.exchange.heads import FieldRules, TimeLeft
from proxy.exchange.labels import OTHER
from proxy.exchange.promise import Promise
from proxy.exchange.stats import Count, RouteStats
from proxy.http.message import RequestHead, Shared
from proxy.outcome import FAILURE, SUCCESS, Outcome, Verdict
from proxy.policies import catalogue
from proxy.policies.circuit_breaker import CircuitBreaker
from proxy.policies.faults import Faults
from proxy.policies.gate import Gate, GateKind, Mode, Scope
from proxy.policies.hedge import Hedging
from proxy.policies.mirror import MirrorPlaces
from proxy.policies.retry import RetryPolicy
from proxy.routing.table import Route
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.upstream import Upstream
from proxy.wire.streams import ClientStream

CLASSES: Final = ("", "1xx", "2xx", "3xx", "4xx", *["5xx"] * 5)
"""The class of a status by its hundreds."""


class Binding:
    """What an exchange needs when it knows its route and upstream.

    `name`: of the gates that nothing else shares. `label`: the upstream in metrics.
    `request_gates` are held to the end of the response's body; `arrival_gates` are those of them
    that promises follow, `stored_gates` those that a stored request asks. `promises`: what may
    answer instead of the upstream, None if nothing. `outer_gates` around all attempts to the
    response's head, `attempt_gates` by one attempt to the response's head. `failing`: the
    statuses that count as failures.
    """

    __slots__ = (
        "_authority",
        "_by_endpoint",
        "_entries",
        "_found",
        "_gates",
        "_late",
        "_named",
        "_outcomes",
        "arrival_gates",
        "attempt_gates",
        "breaker",
        "failing",
        "failures",
        "fallback",
        "faults",
        "hedging",
        "label",
        "mirrors",
        "name",
        "outer_gates",
        "policies",
        "promises",
        "request_gates",
        "request_rules",
        "response_rules",
        "retry",
        "route",
        "stats",
        "stored_gates",
        "time_left",
        "upstream",
        "used",
    )

    def __init__(
        self,
        gates: Gates,
        route: Route,
        named: PolicyConfig,
        upstream: Upstream,
        stats: RouteStats,
        *,
        name: str,
        authority: str | None = None,
    ) -> None:
        """`named`: the policy that the route names, without the route's own changes. `name`: that
        of the gates that nothing else shares."""
        self.route = route
        self.policies: PolicyConfig = route.config.policies
        self.upstream = upstream
        self.stats = stats
        self._found = authority is None or len(upstream.endpoints) > 0
        labelled = authority is None or gates.labels.claim(authority, found=self._found)
        self.label = upstream.name if labelled else OTHER
        self.request_rules = FieldRules.of(route.config.request_headers)
        self.response_rules = FieldRules.of(route.config.response_headers)
        self.failures = self.policies.circuit_breaker.failures
        self.failing: dict[int, str] = self.failures.statuses
        self.breaker: CircuitBreaker | None = None
        self.fallback: Binding | None = None
        self.hedging: Hedging | None = None
        self.faults: Faults | None = None
        self.mirrors: Mirrors | None = None
        self.used = 0.0
        self.time_left = TimeLeft()
        self.promises: list[Promise] | None = None
        self.request_gates: list[Gate] = []
        self.arrival_gates: list[Gate] = []
        self.stored_gates: list[Gate] = []
        self.outer_gates: list[Gate] = []
        self.attempt_gates: list[Gate] = []
        self.retry: RetryPolicy
        self._gates = gates
        self._named = named
        self.name = name
        self._authority = authority
        self._outcomes: dict[str, Count] = stats.attempts_at(self.label)
        self._entries: list[Entry] = []
        # From the first gate with scope endpoint on; None stands for such a gate.
        self._late: list[tuple[GateKind, Gate | None]] = []
        self._by_endpoint: dict[str, list[Gate]] = {}

    # --- for an exchange ----------------------------------------------------------------------

    @property
    def per_endpoint(self) -> bool:
        """Whether each endpoint has its own gates."""
        return len(self._late) > 0

    def endpoint_gates(self, endpoint: Endpoint) -> list[Gate]:
        """The gates that an attempt at this endpoint asks after `attempt_gates`."""
        gates = self._by_endpoint.get(endpoint.label)
        return self._gates_of(endpoint) if gates is None else gates

    def allows_retry(self, now: float) -> bool:
        """Whether the gates would admit another attempt."""
        if not _all_allow(self.attempt_gates, now):
            return False
        if not self._late:
            return True
        return any(
            _all_allow(self.endpoint_gates(endpoint), now)
            for endpoint in self.upstream.choice.usable
        )

    def verdict_of(self, outcome: Outcome) -> Verdict:
        """FAILURE if it is one of `circuit_breaker.failures`, else SUCCESS."""
        return FAILURE if outcome in self.failures else SUCCESS

    def count_attempt(self, status: int, failure: str) -> None:
        """Count an attempt that ended with a response or a failure."""
        if not self._found and self.upstream.endpoints:
            self._is_found()
        outcome = failure or CLASSES[status // 100]
        count = self._outcomes.get(outcome)
        if count is None:
            count = self._outcomes[outcome] = Count()
        count.number += 1

    # --- for its maker -----------------------------------------------------------------

    def add_gates(self) -> None:
        """Get the gates that the policy needs, in the order of the catalogue."""
        self.add_request_gates()
        for kind in catalogue.ATTEMPT_GATES:
            outer = kind.outer(self.policies.settings(kind))
            self._add(kind, self.outer_gates if outer else self.attempt_gates)
        for endpoint in self.upstream.endpoints if self._late else ():
            if any(
                gate is None and self._gates.inherits(kind, self._endpoint_name(endpoint))
                for kind, gate in self._late
            ):
                self._gates_of(endpoint)

    def add_request_gates(self) -> None:
        """Those that are asked once per request."""
        for kind in catalogue.REQUEST_GATES:
            part = self.arrival_gates if kind.of_arrival else self.stored_gates
            self._add(kind, part)
        self.request_gates = self.arrival_gates + self.stored_gates

    def add_fallback_gates(self) -> None:
        """The gates of an attempt at a fallback's upstream: those that know this upstream."""
        for kind in catalogue.ATTEMPT_GATES:
            if kind.of_upstream:
                self._add(kind, self.attempt_gates)

    def gate(self, kind: GateKind) -> Gate | None:
        """The gate of a kind, None if there is none or each endpoint has its own."""
        for entry in self._entries:
            if entry.kind is kind:
                return entry.gate
        return None

    def idle(self, now: float) -> bool:
        """Whether it can be dropped with all its unshared gates."""
        entries = list(self._entries)
        if self.fallback is not None:
            entries += self.fallback._entries
        return all(entry.holders > 1 or entry.gate.idle(now) for entry in entries)

    def release(self) -> None:
        """Release its gates."""
        for entry in self._entries:
            self._gates.release(entry)
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
        name = self.route.name if kind.whole_route else self.name
        if scope is Scope.UPSTREAM and config == self._named.settings(kind):
            name = f"{self.route.config.policy}:{self.upstream.name}"
        gate = self._hold(kind, name, config)
        if isinstance(gate, CircuitBreaker):
            self.breaker = gate
        if self._late and gates is self.attempt_gates:
            self._late.append((kind, gate))
        else:
            gates.append(gate)

    def _hold(self, kind: GateKind, name: str, config: object) -> Gate:
        entry = self._gates.hold(
            kind,
            name,
            config,
            route=self.route.name,
            upstream="" if kind.whole_route else self.upstream.name,
            authority=None if kind.whole_route else self._authority,
        )
        self._entries.append(entry)
        return entry.gate

    def _endpoint_name(self, endpoint: Endpoint) -> str:
        return f"{self.name}:{endpoint.label}"

    def _gates_of(self, endpoint: Endpoint) -> list[Gate]:
        """Make the gates of an endpoint, and drop those of endpoints that are gone, because Pods
        that come and go would accumulate gates."""
        present = {self._endpoint_name(each): each.label for each in self.upstream.endpoints}
        own = [kind for kind, gate in self._late if gate is None]
        for entry in self._entries[:]:
            if entry.kind in own and entry.gate.name not in present:
                self._entries.remove(entry)
                self._gates.release(entry)
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
        """The authority's name was resolved for the first time: it may get its own label."""
        self._found = True
        authority, labels = self._authority, self._gates.labels
        assert authority is not None
        had_one = authority in labels
        if not labels.claim(authority, found=True):
            return
        if not had_one:
            for entry in self._entries:
                if entry.authority is not None:
                    self._gates.is_labelled_now(entry)
        self.label = self.upstream.name
        self._outcomes = self.stats.attempts_at(self.label)


class Mirrors:
    """The mirror of a route: the `binding` of copies, without gates, and their `places`.

    `stats`: the route's; what the attempts of copies do is counted nowhere else. `timeouts`: of
    copies, in effect even if those of the route only observe. `shared`: the shared part of the
    last head that was copied, and that of its copy; `heads`: the same of whole heads. Most are
    equal to the one before. `idle`: streams of former copies for the next ones, whose alarms need
    not be set again.
    """

    __slots__ = ("binding", "heads", "idle", "places", "shared", "stats", "timeouts")

    def __init__(self, binding: Binding, places: MirrorPlaces, stats: RouteStats) -> None:
        self.binding = binding
        self.places = places
        self.stats = stats
        self.timeouts = replace(binding.policies.timeouts, mode=Mode.ENFORCE)
        self.shared: tuple[Shared, Shared] | None = None
        self.heads: tuple[RequestHead, RequestHead] | None = None
        self.idle: list[ClientStream] = []


def _all_allow(gates: list[Gate], now: float) -> bool:
    return all(gate.allows_retry(now) for gate in gates)
