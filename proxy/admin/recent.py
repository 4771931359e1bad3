"""The document of `/recent`: exchanges with trouble, and those in flight, with their attempts."""

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, islice

from proxy.admin.documents import Rows
from proxy.admin.views import Document
from proxy.grpc_status import FAILURES, name_of
from proxy.policies.retry import Retry, Stop
from proxy.telemetry.flight_recorder import (
    CAPACITY,
    FlightRecorder,
    Recorded,
    RecordedAttempt,
    snapshot,
)
from proxy.telemetry.observed import Exchange, Gateway, Try
from proxy.telemetry.timestamps import Timestamps

_FILTERS = ("request_id", "inherited_from", "outbox_id", "saga", "route", "limit")


class BadQuery(ValueError):
    """An invalid filter; the text says why."""


def recent(
    recorder: FlightRecorder,
    gateway: Gateway,
    query: Mapping[str, str],
    now: float,
    wall: float,
    tries: Sequence[Try] = (),
) -> Document:
    """Newest first; those in flight oldest first, `tries` too. Raises BadQuery.

    `now` (monotonic) and `wall` (since the Unix epoch) are the same moment, in seconds.
    """
    wanted, limit = _filter(query)
    text = Timestamps().text
    asked = (one for gate in gateway.gates.values() for one in gate.in_flight)
    flying = chain(asked, (one.record for one in tries))
    oldest = heapq.nsmallest(limit, filter(wanted, flying), key=lambda one: one.started)
    kept = filter(wanted, recorder.recent())
    return {
        "recent": Rows(exchange(one, text) for one in islice(kept, limit)),
        "in_flight": Rows(exchange(snapshot(one, now, wall), text) for one in oldest),
    }


def _filter(query: Mapping[str, str]) -> tuple[Callable[[Exchange | Recorded], bool], int]:
    for name in query:
        if name not in _FILTERS:
            raise BadQuery(f"Unknown filter {name!r}; the filters are {', '.join(_FILTERS)}.")
    request_id, route = query.get("request_id"), query.get("route")
    parent = query.get("inherited_from")
    entry, saga = query.get("outbox_id"), query.get("saga")
    limit = query.get("limit", str(CAPACITY))
    if not (limit.isascii() and limit.isdecimal() and 1 <= len(limit) <= 9):
        raise BadQuery("limit must be a whole number.")

    def wanted(one: Exchange | Recorded) -> bool:
        return (
            (request_id is None or one.request_id == request_id)
            and (parent is None or one.inherited_from == parent)
            and (entry is None or one.outbox_id == entry)
            and (saga is None or one.saga == saga)
            and (route is None or one.route == route)
        )

    return wanted, min(int(limit), CAPACITY)


def exchange(one: Recorded, time_text: Callable[[float], str]) -> Document:
    """One exchange. `trouble` says why it is recorded; may be empty while it is in flight."""
    grpc = {"grpc_status": one.grpc_status} if one.grpc_status else {}
    return {
        "number": one.number,
        "time": time_text(one.began),
        "request_id": one.request_id,
        "trace_id": one.trace_id,
        "inherited_from": one.inherited_from,
        **_promised(one),
        "listener": one.listener.value,
        "client": one.client,
        "method": one.method,
        "host": one.host,
        "path": one.path,
        "route": one.route,
        "upstream": one.upstream,
        "status": one.status,
        **grpc,
        "reason": one.reason,
        "detail": one.detail,
        "trouble": list(_trouble(one)),
        "fallback": one.fallback,
        "observed": list(one.observed),
        "duration_ms": _ms(one.duration),
        "bytes_in": one.bytes_in,
        "bytes_out": one.bytes_out,
        "circuit_breaker": _breaker(one.breaker),
        "attempts_made": one.attempts_made,
        "attempts": [_attempt(attempt) for attempt in one.attempts],
    }


def _promised(one: Recorded) -> Document:
    """The entry or saga that it became, or with `delivers` is a try of; nothing without one."""
    told: Document = {"delivers": one.delivers} if one.outbox_id or one.saga else {}
    if one.outbox_id:
        told["outbox_id"] = one.outbox_id
    if one.saga:
        told["saga"] = one.saga
    return told


_FAILURES = frozenset(map(name_of, FAILURES))


def _trouble(one: Recorded) -> Iterable[str]:
    if one.reason or one.status >= 500 or one.grpc_status in _FAILURES:
        yield "error"
    if any(isinstance(attempt.decision, Retry) for attempt in one.attempts):
        yield "retried"
    if one.fallback:
        yield "fallback"
    if one.slow:
        yield "slow"
    if one.observed:
        yield "observed"


def _attempt(attempt: RecordedAttempt) -> Document:
    """`status` or `failure`, both, or neither as in the access log."""
    told: Document = {"endpoint": attempt.endpoint, "upstream": attempt.upstream}
    if attempt.status:
        told["status"] = attempt.status
    if attempt.grpc_status:
        told["grpc_status"] = attempt.grpc_status
    if attempt.failure:
        told["failure"] = attempt.failure
        told["detail"] = attempt.detail
    if attempt.hedge:
        told["hedge"] = True
    if attempt.fault:
        told["fault"] = attempt.fault
    if attempt.left_out:
        told["left_out"] = [{"endpoint": name, "why": why} for name, why in attempt.left_out]
    return {
        **told,
        "started_ms": _ms(attempt.offset),
        "duration_ms": _ms(attempt.duration),
        "wait_ms": _ms(attempt.wait),
        "retry": _decision(attempt.decision),
    }


def _decision(decision: Retry | Stop | None) -> Document | None:
    """The retry policy's decision after the attempt; None without one."""
    if decision is None:
        return None
    if isinstance(decision, Stop):
        return {"allowed": False, "why": decision.why.value}
    return {"allowed": True, "condition": decision.condition, "wait_ms": _ms(decision.delay)}


def _breaker(breaker: tuple[str, str] | None) -> Document | None:
    return None if breaker is None else {"name": breaker[0], "state": breaker[1]}


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
