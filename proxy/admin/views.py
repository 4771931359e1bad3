"""The documents of the admin API, from the data plane's state.

They are made while they are written (`documents`): a change of the state between two items may
appear in the later one only.
"""

import dataclasses
import heapq
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from itertools import chain
from typing import Any, TypeAlias, cast

from proxy import __version__
from proxy.admin.controls import Controls
from proxy.admin.documents import Members, Rows
from proxy.admin.store_api import describe_store
from proxy.clock import Clock
from proxy.config import SECTIONS, Sources, effective, entries, provenance, without_sections
from proxy.config.match import GrpcMatch, MatchConfig
from proxy.config.model import (
    APP_UPSTREAM,
    DEFAULT_INBOUND,
    DEFAULT_OUTBOUND,
    Config,
    Listener,
    RouteConfig,
    UpstreamConfig,
)
from proxy.exchange.gates import Entry
from proxy.exchange.stats import DURATION_BUCKETS, RouteStats
from proxy.policies import catalogue
from proxy.policies.gate import GateKind
from proxy.telemetry import process_log
from proxy.telemetry.flight_recorder import FlightRecorder
from proxy.telemetry.observed import Exchange, Gateway, Lifecycle, Try
from proxy.telemetry.timestamps import Timestamps
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.upstream import Upstream

Document: TypeAlias = dict[str, Any]

MAX_IN_FLIGHT = 1000
"""`/in-flight` lists this many requests, the oldest; it counts all."""


def in_flight_counts(gateway: Gateway) -> dict[str, int]:
    gates = gateway.gates
    return {
        each.value: len(gates[each].in_flight) if each in gates else 0
        for each in (Listener.INBOUND, Listener.OUTBOUND)
    }


def in_flight(
    gateway: Gateway, controls: Lifecycle, now: float, limit: int = MAX_IN_FLIGHT
) -> Document:
    """`inbound` and `outbound` count clients' requests, `tries` what is delivered for them."""
    tries = tries_of(controls)
    return {
        **in_flight_counts(gateway),
        "tries": len(tries),
        "requests": Rows(_oldest(gateway, tries, now, limit)),
    }


def tries_of(controls: Lifecycle) -> list[Try]:
    """The tries in flight, of the outbox, of tables and of sagas."""
    parts = (controls.deliveries, controls.outbox_tables, controls.sagas)
    return [one for part in parts if part is not None for one in part.tries]


def _oldest(gateway: Gateway, tries: Sequence[Try], now: float, limit: int) -> Iterator[Document]:
    exchanges = (one for gate in gateway.gates.values() for one in gate.in_flight)
    told = chain(((one, None) for one in exchanges), ((each.record, each) for each in tries))
    for one, each in heapq.nsmallest(limit, told, key=lambda pair: pair[0].started):
        yield _request(one, now) | _try(one, each)


def _request(exchange: Exchange, now: float) -> Document:
    """`attempt` 0: the request waits for its first attempt."""
    attempts = exchange.attempts
    return {
        "request_id": exchange.request_id,
        "listener": exchange.listener.value,
        "method": exchange.method,
        "route": exchange.route,
        "age_s": round(now - exchange.started, 3),
        "attempt": len(attempts),
        "upstream": exchange.upstream,
        "endpoint": attempts[-1].endpoint if attempts else "",
    }


def _try(exchange: Exchange, each: Try | None) -> Document:
    """What is delivered: an entry of the outbox, or a saga's step."""
    if each is None:
        return {}
    if exchange.saga:
        return {"saga": exchange.saga, "step": each.step, "try": each.number}
    return {"outbox_id": exchange.outbox_id, "try": each.number}


def gates(gateway: Gateway, kind: GateKind, clock: Clock) -> Document:
    """All gates of a kind, under the name that the kind has here."""
    return {kind.member: Rows(_gates(gateway, kind, clock))}


def _gates(gateway: Gateway, kind: GateKind, clock: Clock) -> Iterator[Document]:
    for entry in list(gateway.bindings.gates.of(kind).values()):
        yield gate(entry, clock())


def gate(entry: Entry, now: float) -> Document:
    """One gate: the fields of its snapshot."""
    snapshot = entry.gate.snapshot(now)
    shown: Document = {"name": entry.gate.name}
    if entry.kind.shows_route:
        shown |= {"route": entry.route, "upstream": entry.upstream}
    hidden = snapshot.not_shown()
    for field in dataclasses.fields(cast(Any, snapshot)):
        if field.name not in hidden:
            shown[field.name] = _shown(field.name, getattr(snapshot, field.name))
    return shown


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float):
        return round(value, 2 if name.endswith("_rate") else 3)
    return dict(value) if isinstance(value, Mapping) else value


def upstreams(gateway: Gateway, clock: Clock) -> Document:
    return {"upstreams": Rows(_upstreams(gateway, clock))}


def _upstreams(gateway: Gateway, clock: Clock) -> Iterator[Document]:
    for upstream in list(gateway.upstreams):
        yield _upstream(upstream, clock)


def _upstream(upstream: Upstream, clock: Clock) -> Document:
    upstream.weigh()
    return {
        "name": upstream.name,
        "load_balancing": upstream.config.load_balancing.value,
        "connections": upstream.connections()._asdict(),
        "endpoints": Rows(
            _endpoint(endpoint, upstream.config, clock()) for endpoint in tuple(upstream.endpoints)
        ),
    }


def _endpoint(endpoint: Endpoint, config: UpstreamConfig, now: float) -> Document:
    """`active` exchanges have a stream or wait for one; `avoided`: connecting has failed.

    `health` is None without health checks, `latency_ms` without `ewma`.
    """
    pools = endpoint.pools
    latency = endpoint.latency
    known = latency is not None and latency.known
    return {
        "address": endpoint.label,
        "scheme": endpoint.scheme,
        "host": endpoint.host,
        "active": endpoint.active,
        "avoided": now < endpoint.avoid_until,
        "weight": round(endpoint.weight, 3),
        "latency_ms": round(latency.estimate(now) * 1000, 3) if latency and known else None,
        "health": None if config.health_check is None else _health(endpoint),
        "last_check": endpoint.check or None,
        **_ejection(endpoint, now),
        "connections": {
            "open": sum(pool.open for pool in pools),
            "idle": sum(pool.idle for pool in pools),
            "connecting": sum(pool.connecting for pool in pools),
            "waiting": sum(pool.waiting for pool in pools),
            "streams": sum(pool.lent for pool in pools),
        },
    }


def _health(endpoint: Endpoint) -> str:
    member = endpoint.member
    if member is None or not member.checked:
        return "unknown"
    return "unhealthy" if member.unhealthy else "healthy"


def _ejection(endpoint: Endpoint, now: float) -> Document:
    """`ejected_for_s`: at least, until a request decides. `observed`: it is still used."""
    member = endpoint.member
    if member is None or not member.ejected:
        return {"ejected": False}
    return {
        "ejected": True,
        "ejected_for_s": round(max(member.until - now, 0.0), 1),
        "ejected_why": member.why.value,
        "ejections_in_a_row": member.row,
        "observed": member.observed,
    }


_DEFAULT_ROUTES = (
    RouteConfig(DEFAULT_OUTBOUND),
    RouteConfig(DEFAULT_INBOUND, Listener.INBOUND, upstream=APP_UPSTREAM.name),
)


def routes(gateway: Gateway) -> Document:
    """In matching order; the two default routes are last."""
    written = gateway.config.routes
    names = {route.name for route in written}
    all_routes = (*written, *(route for route in _DEFAULT_ROUTES if route.name not in names))
    stats = gateway.bindings.stats
    return {
        "routes": Rows(
            _route(route, stats.get((route.listener.value, route.name))) for route in all_routes
        )
    }


def _route(route: RouteConfig, stats: RouteStats | None) -> Document:
    return {
        "name": route.name,
        "listener": route.listener.value,
        "match": _match(route.match),
        "upstream": None if route.split else route.upstream,
        **({"split": dict(route.split)} if route.split else {}),
        **({"mirror": route.mirror.upstream} if route.mirror is not None else {}),
        **({"respond": route.respond.status} if route.respond is not None else {}),
        **({"saga": route.saga} if route.saga is not None else {}),
        "policy": route.policy,
        **_counts(stats or RouteStats(route.listener.value, route.name)),
    }


def _match(match: MatchConfig) -> Document:
    """The match; of headers and query only the names, because values may be secrets."""
    asked: Document = {
        "hosts": list(match.hosts),
        "prefix": match.prefix,
        "path": match.path,
        "regex": match.regex,
        "methods": sorted(match.methods),
        "headers": [name for name, _ in match.headers],
        "query": [name for name, _ in match.query],
        "grpc": _grpc(match.grpc),
    }
    return {key: value for key, value in asked.items() if value}


def _grpc(match: GrpcMatch | None) -> str:
    """``any``, a service, or ``service/method``."""
    if match is None:
        return ""
    return "/".join(filter(None, (match.service, match.method))) or "any"


def _counts(stats: RouteStats) -> Document:
    """Since the start. `proxy_answers` have a reason; `errors` are 5xx of proxy and upstream, and
    gRPC calls with a status of ``grpc-failure``. `observed`: requests by what a policy in mode
    observe would have done."""
    requests = sum(stats.requests.values())
    return {
        "requests": requests,
        "errors": stats.errors,
        "proxy_answers": sum(count for kind, count in stats.requests.items() if kind[1]),
        "retries": sum(stats.retries.values()),
        "hedges": stats.hedged,
        "faults": sum(stats.faults.values()),
        "mirrored": stats.mirrored,
        "fallbacks": stats.fallbacks,
        "idempotency": dict(stats.idempotency),
        "claims": stats.claims,
        "observed": dict(stats.observed),
        "mean_duration_ms": round(1000 * stats.duration_sum / requests, 3) if requests else None,
        "durations": {"le_ms": _BOUNDS_MS, "counts": list(stats.duration_buckets)},
    }


def configuration(config: Config, sources: Sources) -> Document:
    """The configuration in effect, and where each value comes from."""
    shown: Document = effective(without_sections(config))
    for section in SECTIONS:
        found = entries(config, section)
        if section == "routes":
            shown[section] = Rows((route for _, route in found), plain=True)
        else:
            shown[section] = Members(found)
    return {**shown, "sources": Members(provenance(config, sources))}


_BOUNDS_MS = [round(1000 * bound, 3) for bound in DURATION_BUCKETS]


def status(
    gateway: Gateway, controls: Controls, recorder: FlightRecorder, clock: Clock
) -> Document:
    now = clock()
    return {
        "service": gateway.config.service,
        "version": __version__,
        "uptime_s": round(now - controls.started, 3),
        "ready": controls.ready and not controls.draining,
        "draining": controls.draining,
        "bypass": {"on": controls.bypass_left > 0, "ends_in_s": round(controls.bypass_left, 1)},
        "log_level": process_log.level().value,
        "config": {
            "file": controls.config_file,
            "loaded_at": Timestamps().text(controls.config_loaded_at),
            "last_reload": _plain(controls.last_reload),
        },
        "store": describe_store(controls.store),
        "in_flight": in_flight(gateway, controls, now),
        "recent": {"held": recorder.held, "seen": recorder.seen},
        **_all_gates(gateway, clock),
        **upstreams(gateway, clock),
        **routes(gateway),
        **_outbox(controls),
        **_outbox_tables(controls),
        **_sagas(controls),
    }


def _sagas(controls: Controls) -> Document:
    """As of a moment ago. Nothing without sagas."""
    sagas = controls.sagas
    return {} if sagas is None else {"sagas": sagas.latest}


def _outbox_tables(controls: Controls) -> Document:
    """As of a moment ago. Nothing without a table."""
    tables = controls.outbox_tables
    return {} if tables is None else {"outbox_tables": tables.latest}


def _outbox(controls: Controls) -> Document:
    """As of a moment ago: a document cannot wait for the store. Nothing without an outbox."""
    outbox = controls.deliveries
    return {} if outbox is None else {"outbox": outbox.latest}


def _all_gates(gateway: Gateway, clock: Clock) -> Document:
    found: Document = {}
    for kind in catalogue.kinds():
        found |= gates(gateway, kind, clock)
    return found


def _plain(mapping: Mapping[str, Any] | None) -> Document | None:
    return None if mapping is None else dict(mapping)
