"""One sample of a running proxy: the parts of `/status` and `/recent` that the view shows."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.policies import catalogue
from proxy.policies.budget import RETRY_BUDGET
from proxy.policies.bulkhead import BULKHEAD
from proxy.policies.circuit_breaker import CIRCUIT_BREAKER

Document = Mapping[str, Any]

_WITH_A_TABLE = (CIRCUIT_BREAKER, BULKHEAD, RETRY_BUDGET)


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
    """A route's entries of the outbox. `oldest` seconds, 0 without one that waits; `blocked`: the
    lanes that do not move."""

    route: str
    pending: int
    delivering: int
    oldest: float
    parked: int
    dead: int
    blocked: int


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


def troubled_so_far(status: Document) -> int:
    """How many exchanges the flight recorder has recorded; -1 without one."""
    told = status.get("recent")
    return int(told["seen"]) if told is not None else -1


def read(status: Document, recent: Sequence[Document] | None, at: float) -> Look:
    """`recent`: the exchanges of `/recent`.

    Raises KeyError, TypeError or ValueError for another document.
    """
    flying = status["in_flight"]
    requests = flying["requests"]
    return Look(
        at=at,
        service=_text(status["service"]),
        version=_text(status["version"]),
        uptime=float(status["uptime_s"]),
        ready=bool(status["ready"]),
        draining=bool(status["draining"]),
        bypass=float(status.get("bypass", {}).get("ends_in_s", 0)),
        inbound=int(flying["inbound"]),
        outbound=int(flying["outbound"]),
        tries=int(flying.get("tries", 0)),
        flying=Counter((_text(one["listener"]), _text(one["route"])) for one in requests),
        oldest=max((float(one["age_s"]) for one in requests), default=0.0),
        reload=_reload(status["config"]["last_reload"]),
        routes=tuple(map(_route, status["routes"])),
        breakers=tuple(map(_breaker, status["circuit_breakers"])),
        bulkheads=tuple(map(_bulkhead, status["bulkheads"])),
        endpoints=tuple(
            _endpoint(upstream["name"], one)
            for upstream in status["upstreams"]
            for one in upstream["endpoints"]
        ),
        budgets=tuple(map(_budget, status["retries"])),
        others=(
            *(
                _other(kind.title, one)
                for kind in catalogue.kinds()
                if kind not in _WITH_A_TABLE
                for one in status.get(kind.member, ())  # another version may not know it
            ),
            *(
                _other("idempotency", _keys(one))
                for one in status["routes"]
                if one.get("claims") or one.get("idempotency")
            ),
        ),
        outbox=_outbox(status.get("outbox")),
        sagas=_sagas(status.get("sagas")),
        store=_store(status.get("store")),
        troubled=troubled_so_far(status),
        recent=None if recent is None else tuple(map(_troubled, recent)),
    )


def _keys(told: Document) -> Document:
    """What became of a route's idempotency keys since the start, and the claims that are open."""
    return {"name": told["name"], "open": told.get("claims", 0), **told["idempotency"]}


def _outbox(told: Document | None) -> tuple[Queue, ...]:
    if told is None:
        return ()
    blocked = Counter(str(one["route"]) for one in told.get("blocked_lanes", ()))
    return tuple(
        Queue(
            _text(one["route"]),
            int(one["pending"]),
            int(one["delivering"]),
            float(one["oldest_s"]),
            int(one.get("parked", 0)),
            int(one["dead"]),
            blocked[str(one["route"])],
        )
        for one in told["queues"]
    )


def _sagas(told: Document | None) -> tuple[Unfinished, ...]:
    return tuple(
        Unfinished(
            _text(one["saga"]),
            int(one["running"]),
            int(one["undoing"]),
            int(one["stuck"]),
            float(one["oldest_s"]),
        )
        for one in (told or {}).get("unfinished", ())
    )


def _store(told: Document | None) -> StoreTotals | None:
    if told is None:
        return None
    durations: Document = told.get("commit_durations") or {"le_ms": (), "counts": (0,)}
    return StoreTotals(
        _text(told["engine"]),
        _text(told["state"]),
        _text(told["failure"] or ""),
        bool(told["full"]),
        int(told["bytes"]),
        int(told["max_bytes"]),
        int(told["commits"]),
        int(told["refused_full"]) + int(told["refused_failed"]),
        tuple(map(float, durations["le_ms"])),
        tuple(map(int, durations["counts"])),
    )


def _text(value: object) -> str:
    """Makes text safe for a terminal: callers' input must not control it."""
    text = str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def _reload(told: Document | None) -> Reload | None:
    if told is None:
        return None
    problems: Sequence[str] = told.get("problems", ())
    return Reload(_text(told["result"]), len(problems), _text(problems[0]) if problems else "")


def _route(told: Document) -> RouteTotals:
    durations: Document = told.get("durations") or {"le_ms": (), "counts": (0,)}
    return RouteTotals(
        _text(told["listener"]),
        _text(told["name"]),
        int(told["requests"]),
        int(told["errors"]),
        int(told["retries"]),
        int(told["fallbacks"]),
        tuple(map(float, durations["le_ms"])),
        tuple(map(int, durations["counts"])),
    )


def _breaker(told: Document) -> Breaker:
    probe = told["next_probe_in_s"]
    return Breaker(
        _text(told["name"]),
        _text(told["state"]),
        _text(told["mode"]),
        float(told["failure_rate"]),
        float(told["slow_call_rate"]),
        int(told["calls"]),
        int(told["not_permitted"]),
        None if probe is None else float(probe),
    )


def _bulkhead(told: Document) -> Bulkhead:
    return Bulkhead(
        _text(told["name"]),
        int(told["in_use"]),
        int(told["limit"]),
        int(told["queued"]),
        int(told["max_queue"]),
        told.get("mode") == "observe",
    )


def _endpoint(upstream: object, told: Document) -> Endpoint:
    connections = told["connections"]
    numbers = (int(connections[key]) for key in ("open", "idle", "connecting", "waiting"))
    name, address = _text(upstream), _text(told["address"])
    return Endpoint(name, address, int(told["active"]), _state_of(told), *numbers)


def _state_of(told: Document) -> str:
    """``usable``, or what keeps requests from the endpoint."""
    if told.get("health") == "unhealthy":
        return "unhealthy"
    if told.get("ejected"):
        return "ejected"
    return "avoided" if told["avoided"] else USABLE


def _budget(told: Document) -> Budget:
    numbers = (int(told[key]) for key in ("requests", "retries", "allowed", "remaining"))
    return Budget(_text(told["name"]), *numbers)


def _other(kind: str, told: Document) -> Other:
    """Fields that are the same for several parts, as those of rate limits, are told by part.

    The parts' zeros are left out: a line is short.
    """
    parts: dict[str, list[str]] = {}
    says = []
    for field, value in told.items():
        title = field.replace("_", " ")
        if not isinstance(value, Mapping):
            says += [f"{title} {_said(value)}"] if field != "name" else []
            continue
        for part, one in value.items():
            if one:
                parts.setdefault(str(part), []).append(f"{title} {_said(one)}")
    by_part = [f"{part}: {', '.join(told)}" for part, told in parts.items()]
    return Other(kind, _text(told["name"]), "; ".join([*by_part, ", ".join(says)]))


def _said(value: object) -> str:
    if not isinstance(value, Mapping):
        return _text(value)
    return "(" + ", ".join(f"{_text(key)}: {_text(one)}" for key, one in value.items()) + ")"


def _troubled(told: Document) -> Troubled:
    return Troubled(
        _text(told["time"]),
        _text(told["request_id"]),
        _text(told["method"]),
        _text(told["path"]),
        _text(told["route"]),
        int(told["status"]),
        _text(told.get("grpc_status", "")),
        _text(told["reason"]),
        bool(told["fallback"]),
        int(told["attempts_made"]),
        float(told["duration_ms"]),
        ", ".join([*map(_text, told["trouble"]), *_also(told["attempts"])]),
        _refused(told["attempts"]),
    )


def _also(attempts: Sequence[Document]) -> Iterator[str]:
    """What else happened to the request."""
    if any(attempt.get("hedge") for attempt in attempts):
        yield "hedged"
    if any(attempt.get("fault") for attempt in attempts):
        yield "fault"


def _refused(attempts: Sequence[Document]) -> str:
    decision = attempts[-1]["retry"] if attempts else None
    return "" if decision is None or decision["allowed"] else _text(decision["why"])
