"""The configuration as typed, immutable values.

Every default of the reference is defined here or in its policy, and nowhere else.
Durations are seconds, sizes bytes, ratios 0 to 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from proxy.config.match import MatchConfig
from proxy.config.saga_model import SagaConfig
from proxy.config.server_model import (
    AccessLogConfig,
    Address,
    AdminConfig,
    DrainConfig,
    ListenerConfig,
    LogConfig,
    TracingConfig,
)
from proxy.config.store_model import StoreConfig
from proxy.config.table_model import TableConfig
from proxy.http.hash_key import HashKey
from proxy.outcome import OutcomeSet
from proxy.policies.bulkhead import BulkheadConfig
from proxy.policies.circuit_breaker_config import BreakerMode, CircuitBreakerConfig
from proxy.policies.deadline import TimeoutsConfig
from proxy.policies.ejection_config import OutlierConfig
from proxy.policies.fallback import FallbackConfig, FallbackResponse
from proxy.policies.faults import FaultConfig
from proxy.policies.gate import GateKind
from proxy.policies.hedge import HedgeConfig
from proxy.policies.idempotency import IdempotencyConfig
from proxy.policies.mirror import MirrorConfig
from proxy.policies.outbox import CREDENTIALS, OutboxConfig, OutboxMode
from proxy.policies.retry import RetryConfig
from proxy.policies.split import Shares

KIB = 1024


class Listener(Enum):
    """OUTBOUND for the service's own calls, INBOUND for the service's callers."""

    OUTBOUND = "outbound"
    INBOUND = "inbound"


@dataclass(frozen=True, slots=True)
class ListenersConfig:
    outbound: ListenerConfig = ListenerConfig((Address("127.0.0.1", 7070),))
    inbound: ListenerConfig = ListenerConfig((Address("0.0.0.0", 7071),))

    def of(self, listener: "Listener") -> ListenerConfig:
        return self.inbound if listener is Listener.INBOUND else self.outbound


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """Limits of each listener. `body_bytes` 0: no limit.

    `body_rate`: bytes per second of clients of the inbound listener; 0: no limit. `streams`: of
    one HTTP/2 connection at once. `connection_age` in seconds; 0: no limit.
    """

    connections: int = 20000
    header_bytes: int = 64 * KIB
    url_bytes: int = 16 * KIB
    headers: int = 128
    header_timeout: float = 10.0
    idle_timeout: float = 75.0
    body_bytes: int = 0
    body_rate: int = 240
    streams: int = 100
    connection_age: float = 0.0


class LoadBalancing(Enum):
    LEAST_REQUEST = "least_request"
    ROUND_ROBIN = "round_robin"
    RANDOM = "random"
    EWMA = "ewma"
    CONSISTENT_HASH = "consistent_hash"


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """`scheme://host:port` as written, with the scheme's port added.

    `weight`: of each of its addresses, relative to the other endpoints.
    """

    scheme: str
    host: str
    port: int
    weight: int = 1

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


class UpstreamProtocol(Enum):
    """AUTO: https by ALPN; in the clear gRPC as HTTP/2, all other requests as HTTP/1.1."""

    AUTO = "auto"
    HTTP1 = "http1"
    HTTP2 = "http2"


@dataclass(frozen=True, slots=True)
class KeepaliveConfig:
    """PING on an HTTP/2 connection while streams are open. `interval` 0: none."""

    interval: float = 0.0
    timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class ConnectionsConfig:
    """Connections to one endpoint. `max_requests` 0: no limit. `max_streams`: of one connection."""

    max: int = 1024
    idle_timeout: float = 4.0
    max_requests: int = 0
    max_streams: int = 100
    keepalive: KeepaliveConfig = KeepaliveConfig()


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    server_name: str | None = None
    verify: bool = True


@dataclass(frozen=True, slots=True)
class HealthCheckConfig:
    """`path` for a GET whose status must be one of `expect`, or `grpc`: the service that
    grpc.health.v1 is asked about ("": the server). `healthy` and `unhealthy` are checks in a row.
    """

    path: str | None = None
    grpc: str | None = None
    interval: float = 10.0
    timeout: float = 1.0
    healthy: int = 2
    unhealthy: int = 3
    expect: tuple[str, ...] = ("200-299",)
    jitter: float = 0.1


@dataclass(frozen=True, slots=True)
class UpstreamConfig:
    """`hash`: the key of `consistent_hash`. `slow_start`: seconds in which the weight of a new
    endpoint rises; 0: it has its weight at once.
    """

    name: str
    endpoints: tuple[EndpointConfig, ...]
    protocol: UpstreamProtocol = UpstreamProtocol.AUTO
    load_balancing: LoadBalancing = LoadBalancing.LEAST_REQUEST
    hash: HashKey | None = None
    slow_start: float = 0.0
    outlier_detection: OutlierConfig | None = None
    health_check: HealthCheckConfig | None = None
    dns_refresh: float = 5.0
    connections: ConnectionsConfig = ConnectionsConfig()
    tls: UpstreamTls | None = None


APP_UPSTREAM = UpstreamConfig("app", (EndpointConfig("http", "127.0.0.1", 8080),))
"""The upstream of inbound requests that no route matches, by default."""


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """A complete policy: default, named policy and route are merged."""

    timeouts: TimeoutsConfig = TimeoutsConfig()
    retry: RetryConfig = RetryConfig()
    circuit_breaker: CircuitBreakerConfig = CircuitBreakerConfig()
    bulkhead: BulkheadConfig = BulkheadConfig()
    hedge: HedgeConfig = HedgeConfig()
    faults: tuple[FaultConfig, ...] = ()
    idempotency: IdempotencyConfig = IdempotencyConfig()
    fallback: FallbackConfig | None = None
    outbox: OutboxConfig = OutboxConfig()
    more: tuple[tuple[str, Any], ...] = ()
    """Settings of gates that have no attribute here, by the key of their kind."""

    @property
    def stores(self) -> bool:
        """Whether they let the outbox accept requests."""
        rescues = self.fallback is not None and self.fallback.outbox
        return rescues or self.outbox.mode is not OutboxMode.OFF

    def settings(self, kind: GateKind) -> Any:
        """The settings of a kind of gates."""
        for key, found in self.more:
            if key == kind.key:
                return found
        value: Any = self
        for attribute in kind.setting:
            value = getattr(value, attribute, kind.default)
        return value


DEFAULT_POLICY = "default"
"""The policy of outbound routes that name none, and the base of all except `INBOUND_POLICY`."""
INBOUND_POLICY = "inbound"
"""The policy of inbound routes that name none. It takes nothing from `DEFAULT_POLICY`."""

BUILT_IN_POLICIES: Mapping[str, PolicyConfig] = {
    DEFAULT_POLICY: PolicyConfig(),
    # Callers have their own policies. For its own service the proxy repeats only what the service
    # did not receive, and never refuses one path because another one fails.
    INBOUND_POLICY: PolicyConfig(
        timeouts=TimeoutsConfig(attempt=60.0, request=60.0),
        retry=RetryConfig(on=OutcomeSet(("connect-failure", "refused-stream"))),
        circuit_breaker=CircuitBreakerConfig(mode=BreakerMode.OFF),
        bulkhead=BulkheadConfig(max_concurrent=1024),
    ),
}


_UNSEEN = frozenset({"connect-failure", "refused-stream"})


def repeats_only_unseen(retry: RetryConfig) -> bool:
    """Whether only requests that the upstream has not processed are retried."""
    return _UNSEEN.issuperset(retry.on.terms)


def default_policy(listener: Listener) -> str:
    """The policy of this listener's routes that name none."""
    return INBOUND_POLICY if listener is Listener.INBOUND else DEFAULT_POLICY


@dataclass(frozen=True, slots=True)
class RewriteConfig:
    """`prefix` replaces the matched prefix (the whole path for `path` and `regex`)."""

    prefix: str | None = None
    host: str | None = None


@dataclass(frozen=True, slots=True)
class HeaderRules:
    """Names to remove (lower case) and fields to set, on requests or on responses."""

    set: tuple[tuple[str, str], ...] = ()
    remove: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RouteConfig:
    """`upstream` None (outbound only): the authority that the caller asked for. `respond`: the
    fixed answer that is given instead. `split`: several upstreams and their weights, of which
    `upstream` is the first; `split_by`: what decides, None: chance. `mirror`: copies of
    requests for another upstream. `saga`: the saga that a POST starts instead.

    `policy` is the policy's name, `policies` the result of merging it.
    """

    name: str
    listener: Listener = Listener.OUTBOUND
    match: MatchConfig = MatchConfig()
    upstream: str | None = None
    split: Shares = ()
    split_by: HashKey | None = None
    mirror: MirrorConfig | None = None
    respond: FallbackResponse | None = None
    saga: str | None = None
    policy: str = DEFAULT_POLICY
    policies: PolicyConfig = PolicyConfig()
    rewrite: RewriteConfig = RewriteConfig()
    request_headers: HeaderRules = HeaderRules()
    response_headers: HeaderRules = HeaderRules()

    @property
    def upstreams(self) -> tuple[str, ...]:
        """All that it names, those of weight 0 too."""
        if self.split:
            return tuple([name for name, _ in self.split])
        return () if self.upstream is None else (self.upstream,)

    @property
    def shares(self) -> Mapping[str, float]:
        """The upstreams that get requests, each with its share."""
        if not self.split:
            return dict.fromkeys(self.upstreams, 1.0)
        total = sum(weight for _, weight in self.split)
        return {name: weight / total for name, weight in self.split if weight}

    @property
    def forwards(self) -> bool:
        """Whether requests go to an upstream, not to a fixed answer or a saga."""
        return self.respond is None and self.saga is None

    @property
    def stores(self) -> bool:
        """Whether the outbox may accept requests of this route."""
        return self.forwards and self.policies.stores

    @property
    def needed_credentials(self) -> tuple[str, ...]:
        """The credentials with which a request is not stored: the route does not set its own, and
        does not say that the receiver needs none."""
        rules = self.request_headers
        own = {name.lower() for name, _ in rules.set} | rules.remove
        return tuple(name for name in CREDENTIALS if name not in own | self.policies.outbox.without)


@dataclass(frozen=True, slots=True)
class EgressConfig:
    """Authorities that routes without an upstream may reach: host, *.suffix, host:port, *:443."""

    allow: tuple[str, ...] = ("*",)
    connect_ports: frozenset[int] = frozenset({443})


DEFAULT_OUTBOUND = "default-outbound"
DEFAULT_INBOUND = "default-inbound"
"""Reserved names of the routes for requests that no written route matches."""


@dataclass(frozen=True, slots=True)
class Config:
    """A whole valid file. `upstreams` always has ``app``, `policies` always ``default`` and
    ``inbound``."""

    service: str
    listeners: ListenersConfig = ListenersConfig()
    admin: AdminConfig = AdminConfig()
    limits: LimitsConfig = LimitsConfig()
    drain: DrainConfig = DrainConfig()
    access_log: AccessLogConfig = AccessLogConfig()
    log: LogConfig = LogConfig()
    tracing: TracingConfig = TracingConfig()
    upstreams: Mapping[str, UpstreamConfig] = field(
        default_factory=lambda: {APP_UPSTREAM.name: APP_UPSTREAM}
    )
    policies: Mapping[str, PolicyConfig] = field(default_factory=lambda: dict(BUILT_IN_POLICIES))
    sagas: Mapping[str, SagaConfig] = field(default_factory=dict)
    routes: tuple[RouteConfig, ...] = ()
    egress: EgressConfig = EgressConfig()
    store: StoreConfig | None = None
    outbox_tables: Mapping[str, TableConfig] = field(default_factory=dict)

    def default_route(self, listener: Listener) -> RouteConfig:
        """The route for a listener's requests that no written route matches."""
        inbound = listener is Listener.INBOUND
        policy = default_policy(listener)
        return RouteConfig(
            DEFAULT_INBOUND if inbound else DEFAULT_OUTBOUND,
            listener,
            upstream=APP_UPSTREAM.name if inbound else None,
            policy=policy,
            policies=self.policies[policy],
        )
