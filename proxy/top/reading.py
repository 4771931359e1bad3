"""Documents of the admin API, read as a `Look`."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from proxy.policies import catalogue
from proxy.policies.budget import RETRY_BUDGET
from proxy.policies.bulkhead import BULKHEAD
from proxy.policies.circuit_breaker import CIRCUIT_BREAKER
from proxy.top.looks import (
    USABLE,
    Breaker,
    Budget,
    Bulkhead,
    Endpoint,
    Look,
    Other,
    Queue,
    Reload,
    RouteTotals,
    StoreTotals,
    Troubled,
    Unfinished,
)

Document = Mapping[str, Any]

_WITH_A_TABLE = (CIRCUIT_BREAKER, BULKHEAD, RETRY_BUDGET)


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
        others=tuple(_others(status)),
        outbox=(
            *_outbox(status.get("outbox")),
            *map(_table, status.get("outbox_tables", ())),
        ),
        sagas=_sagas(status.get("sagas")),
        store=_store(status.get("store")),
        troubled=troubled_so_far(status),
        recent=None if recent is None else tuple(map(_troubled, recent)),
    )


def _others(status: Document) -> Iterator[Other]:
    """Gates without a table of their own, and what became of idempotency keys."""
    for kind in catalogue.kinds():
        if kind not in _WITH_A_TABLE:
            # Another version of the proxy may not know it.
            yield from (_other(kind.title, one) for one in status.get(kind.member, ()))
    for one in status["routes"]:
        if one.get("claims") or one.get("idempotency"):
            yield _other("idempotency", _keys(one))


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


def _table(told: Document) -> Queue:
    return Queue(
        f"table:{_text(told['name'])}",
        int(told["pending"]) + int(told["failed"]),
        int(told["delivering"]),
        float(told["oldest_s"]),
        0,
        int(told["dead"]),
        int(told["held"]),
        "" if told["state"] == "ready" else _text(told["why"] or told["state"]),
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
    if told.get("ejected") and not told.get("observed"):
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
