"""One sample of a running proxy: the parts of `/status` and `/recent` that the view shows."""

from collections.abc import Mapping
from dataclasses import dataclass

USABLE = "usable"
"""The state of an endpoint that gets requests."""


@dataclass(frozen=True, slots=True)
class RouteTotals:
    """Counts since the proxy's start; `counts` per bucket of `bounds` (ms), and one above."""

    listener: str
    name: str
    requests: int
    errors: int
    retries: int
    fallbacks: int
    bounds: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Breaker:
    """Rates are percent, -1 if unknown; `next_probe` seconds, None if there is none."""

    name: str
    state: str
    mode: str
    failure_rate: float
    slow_rate: float
    calls: int
    refused: int
    next_probe: float | None


@dataclass(frozen=True, slots=True)
class Bulkhead:
    name: str
    in_use: int
    limit: int
    queued: int
    max_queue: int
    observed: bool
    """It admits everything, and only counts what it would have refused."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    upstream: str
    address: str
    active: int
    state: str
    open: int
    idle: int
    connecting: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Budget:
    name: str
    requests: int
    retries: int
    allowed: int
    remaining: int


@dataclass(frozen=True, slots=True)
class Queue:
    """A route's entries of the outbox, or the rows of a table (``table:NAME``). `oldest` seconds, 0
    without one that waits; `blocked`: the lanes that do not move, of a table the rows that an open
    transaction holds back. `broken`: why no row can be delivered, else ""."""

    route: str
    pending: int
    delivering: int
    oldest: float
    parked: int
    dead: int
    blocked: int
    broken: str = ""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The unfinished sagas of a name; `oldest` seconds."""

    saga: str
    running: int
    undoing: int
    stuck: int
    oldest: float


@dataclass(frozen=True, slots=True)
class StoreTotals:
    """The store. `counts` of commits per bucket of `bounds` (ms), and one above. `max_bytes` 0:
    it has no limit. `refused`: promises since the start."""

    engine: str
    state: str
    failure: str
    full: bool
    bytes: int
    max_bytes: int
    commits: int
    refused: int
    bounds: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Other:
    """A gate, or a route's idempotency: they have no table of their own. `says` is all that the
    proxy tells."""

    kind: str
    name: str
    says: str


@dataclass(frozen=True, slots=True)
class Troubled:
    """An exchange of the flight recorder. `time` is the proxy's text (UTC).

    `trouble`: why it was recorded, in a word or two; `refused`: why it was not retried.
    """

    time: str
    request_id: str
    method: str
    path: str
    route: str
    status: int
    grpc_status: str
    reason: str
    fallback: bool
    attempts: int
    duration_ms: float
    trouble: str
    refused: str


@dataclass(frozen=True, slots=True)
class Reload:
    """The last reload: `applied` or `rejected`, and the first of `problems`."""

    result: str
    problems: int
    first: str


@dataclass(frozen=True, slots=True)
class Look:
    """`at`: this process's monotonic seconds. `flying`: requests and tries in flight by route.
    `tries`: those of the outbox and of sagas. `bypass`: seconds until the bypass ends.

    `recent` None: the proxy has no flight recorder; `troubled` counts its entries since the start.
    """

    at: float
    service: str
    version: str
    uptime: float
    ready: bool
    draining: bool
    bypass: float
    inbound: int
    outbound: int
    tries: int
    flying: Mapping[tuple[str, str], int]
    oldest: float
    reload: Reload | None
    routes: tuple[RouteTotals, ...]
    breakers: tuple[Breaker, ...]
    bulkheads: tuple[Bulkhead, ...]
    endpoints: tuple[Endpoint, ...]
    budgets: tuple[Budget, ...]
    others: tuple[Other, ...]
    outbox: tuple[Queue, ...]
    sagas: tuple[Unfinished, ...]
    store: StoreTotals | None
    troubled: int
    recent: tuple[Troubled, ...] | None
