"""A data plane that stands still: plain values where the real one has sockets."""

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

from proxy.config.model import Config, HealthCheckConfig, Listener, UpstreamConfig
from proxy.exchange.gates import Entry, Gates
from proxy.exchange.labels import Labels
from proxy.exchange.stats import RouteStats
from proxy.grpc_status import FAILURES, NO_GRPC, name_of
from proxy.policies.budget import RETRY_BUDGET, BudgetConfig, RetryBudget
from proxy.policies.bulkhead import BULKHEAD, Bulkhead, BulkheadConfig, BulkheadLimit
from proxy.policies.circuit_breaker import CIRCUIT_BREAKER, CircuitBreaker
from proxy.policies.circuit_breaker_config import CircuitBreakerConfig
from proxy.policies.gate import GateKind
from proxy.policies.rate_limit import Rate, RateLimitConfig
from proxy.policies.rate_limits import RATE_LIMITS, RateLimits
from proxy.policies.retry import Retry, Stop
from proxy.upstream.standings import StandingCounts
from proxy.upstream.upstream import ConnectionCounts

DEFAULT_BREAKER = CircuitBreakerConfig()
DEFAULT_CONFIG = Config("orders")


@dataclass
class FakeAttempt:
    endpoint: str = "10.0.0.1:8080"
    status: int = 200
    failure: str = ""
    duration: float = 0.01
    wait: float = 0.0
    upstream: str = "inventory"
    detail: str = ""
    decision: Retry | Stop | None = None
    started: float = 100.0
    breaker: CircuitBreaker | None = None
    grpc: int = NO_GRPC
    hedge: bool = False
    fault: str = ""
    left_out: tuple[tuple[str, str], ...] = ()


@dataclass(eq=False)
class FakeExchange:
    listener: Listener = Listener.OUTBOUND
    client: str = "127.0.0.1:50000"
    method: str = "GET"
    host: str = "inventory"
    path: str = "/api/stock"
    route: str = "stock"
    upstream: str = "inventory"
    status: int = 200
    reason: str = ""
    started: float = 100.0
    duration: float = 0.0125
    bytes_in: int = 3
    bytes_out: int = 5
    request_id: str = "r-1"
    trace_id: str = "0af7651916cd43dd8448eb211c80319c"
    fallback: bool = False
    detail: str = ""
    retry_refused: str = ""
    queued: float = 0.0
    sampled: bool = False
    attempts: list[FakeAttempt] = field(default_factory=lambda: [FakeAttempt()])
    binding: Any = None
    stood_still: float = 0.0
    grpc: int = NO_GRPC
    observed: list[str] = field(default_factory=list)
    outbox_id: str = ""
    delivers: bool = False
    mirrored: str = ""
    idempotency: str = ""
    inherited_from: str = ""
    saga: str = ""

    @property
    def troubled(self) -> bool:
        many = len(self.attempts) > 1
        bad = self.status >= 500 or self.grpc_failed
        return bool(self.reason or self.observed or self.fallback) or many or bad

    @property
    def grpc_status(self) -> str:
        return name_of(self.grpc)

    @property
    def fault(self) -> str:
        return next((one.fault for one in self.attempts if one.fault), "")

    @property
    def hedged(self) -> int:
        return sum(one.hedge for one in self.attempts)

    @property
    def grpc_failed(self) -> bool:
        return self.grpc in FAILURES


class FakeUpstream:
    def __init__(self, name: str, counts: ConnectionCounts, *endpoints: Any) -> None:
        self.name = name
        self.config = UpstreamConfig(name, ())
        self.endpoints = list(endpoints)
        self.choice = SimpleNamespace(standings=None)
        self._counts = counts

    def judge(self, counts: StandingCounts, **ejected: bool) -> None:
        """With outlier detection and health checks: endpoints, and whether they are ejected."""
        self.config = replace(self.config, health_check=HealthCheckConfig("/health"))
        self.choice = SimpleNamespace(standings=SimpleNamespace(ejects=True, counts=counts))
        self.endpoints = [
            SimpleNamespace(label=label, member=SimpleNamespace(ejected=out))
            for label, out in ejected.items()
        ]

    def weigh(self) -> None:
        """Its weights never change."""

    def connections(self) -> ConnectionCounts:
        return self._counts


@dataclass
class FakeBindings:
    stats: dict[tuple[str, str], RouteStats] = field(default_factory=dict)
    labels: Labels = field(default_factory=Labels)

    def __post_init__(self) -> None:
        self.gates = Gates(self.labels)

    def add(self, kind: GateKind, name: str, config: object, authority: str | None = None) -> Entry:
        route, _, upstream = name.partition(":")
        return self.gates.hold(
            kind,
            name,
            config,
            route=route,
            upstream=upstream or "inventory",
            authority=authority,
        )

    def add_breaker(
        self,
        name: str,
        config: CircuitBreakerConfig = DEFAULT_BREAKER,
        *,
        labelled: bool = True,
    ) -> CircuitBreaker:
        entry = self.add(CIRCUIT_BREAKER, name, config, None if labelled else name)
        return cast(CircuitBreaker, entry.gate)

    def add_bulkhead(
        self,
        name: str,
        limit: int = 2,
        queue: int = 0,
        authority: str | None = None,
        *,
        learned: bool = False,
    ) -> Bulkhead:
        config = BulkheadConfig(limit, queue, 1.0 if queue else 0.0)
        if learned:
            config = replace(config, limit=BulkheadLimit.GRADIENT)
        return cast(Bulkhead, self.add(BULKHEAD, name, config, authority).gate)

    def add_rate_limits(self, name: str) -> RateLimits:
        config = (RateLimitConfig("route", "route", Rate(1, "s"), 1),)
        return cast(RateLimits, self.add(RATE_LIMITS, name, config).gate)

    def add_budget(self, name: str) -> RetryBudget:
        return cast(RetryBudget, self.add(RETRY_BUDGET, name, BudgetConfig()).gate)

    def add_stats(self, listener: Listener, route: str) -> RouteStats:
        stats = RouteStats(listener.value, route)
        self.stats[(listener.value, route)] = stats
        return stats


class FakeGateway:
    def __init__(self, config: Config = DEFAULT_CONFIG) -> None:
        self.config = config
        self.bindings = FakeBindings()
        self.observers: list[Any] = []
        self.upstreams: list[FakeUpstream] = []
        self.gates = {
            listener: SimpleNamespace(in_flight=set(), connections=set(), streams=0)
            for listener in Listener
        }


@dataclass
class FakeLifecycle:
    drain_cut: int = 0
    reloads: dict[str, int] = field(default_factory=lambda: {"applied": 0, "rejected": 0})
    last_reload: dict[str, Any] | None = None
    bypass_left: float = 0.0
    store: Any = None
    deliveries: Any = None
    outbox_tables: Any = None
    sagas: Any = None


@dataclass
class FakeLog:
    dropped: int = 0
