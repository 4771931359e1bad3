"""The documents of the admin API as JSON values, from the data plane's state."""

import heapq
from collections.abc import Mapping
from typing import Any, TypeAlias

from proxy import __version__
from proxy.admin.controls import Controls
from proxy.config.model import (
    APP_UPSTREAM,
    DEFAULT_INBOUND,
    DEFAULT_OUTBOUND,
    Listener,
    MatchConfig,
    RouteConfig,
)
from proxy.exchange.binding import BreakerEntry
from proxy.exchange.stats import DURATION_BUCKETS, RouteStats
from proxy.policies.budget import RetryBudget
from proxy.policies.bulkhead import Bulkhead
from proxy.telemetry.flight_recorder import FlightRecorder
from proxy.telemetry.observed import Exchange, Gateway
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


def in_flight(gateway: Gateway, now: float, limit: int = MAX_IN_FLIGHT) -> Document:
    exchanges = (one for gate in gateway.gates.values() for one in gate.in_flight)
    oldest = heapq.nsmallest(limit, exchanges, key=lambda one: one.started)
    return {**in_flight_counts(gateway), "requests": [_request(one, now) for one in oldest]}


def _request(exchange: Exchange, now: float) -> Document:
    """`attempt` 0: the request waits for its first attempt."""
    return {
        "request_id": exchange.request_id,
        "listener": exchange.listener.value,
        "method": exchange.method,
        "route": exchange.route,
        "age_s": round(now - exchange.started, 3),
        "attempt": len(exchange.attempts),
    }


def circuit_breakers(gateway: Gateway, now: float) -> Document:
    entries = gateway.bindings.breakers.values()
    return {"circuit_breakers": [circuit_breaker(entry, now) for entry in entries]}


def circuit_breaker(entry: BreakerEntry, now: float) -> Document:
    seen = entry.breaker.snapshot(now)
    probe = seen.next_probe_in
    return {
        "name": seen.name,
        "route": entry.route,
        "upstream": entry.upstream,
        "state": seen.state.value,
        "mode": seen.mode.value,
        "failure_rate": round(seen.failure_rate, 2),
        "slow_call_rate": round(seen.slow_call_rate, 2),
        "calls": seen.calls,
        "failures": seen.failures,
        "slow_calls": seen.slow_calls,
        "not_permitted": seen.not_permitted,
        "next_probe_in_s": None if probe is None else round(probe, 3),
    }


def bulkheads(gateway: Gateway) -> Document:
    found = gateway.bindings.bulkheads.items()
    return {"bulkheads": [_bulkhead(name, bulkhead) for name, bulkhead in found]}


def _bulkhead(name: str, bulkhead: Bulkhead) -> Document:
    return {
        "name": name,
        "in_use": bulkhead.in_use,
        "limit": bulkhead.limit,
        "queued": bulkhead.queued,
        "max_queue": bulkhead.max_queue,
    }


def retries(gateway: Gateway, now: float) -> Document:
    budgets = gateway.bindings.budgets.items()
    return {"retries": [_budget(name, budget, now) for name, budget in budgets]}


def _budget(name: str, budget: RetryBudget, now: float) -> Document:
    seen = budget.snapshot(now)
    return {
        "name": name,
        "requests": seen.requests,
        "retries": seen.retries,
        "allowed": seen.allowed,
        "remaining": seen.remaining,
    }


def upstreams(gateway: Gateway, now: float) -> Document:
    return {"upstreams": [_upstream(upstream, now) for upstream in gateway.upstreams]}


def _upstream(upstream: Upstream, now: float) -> Document:
    return {
        "name": upstream.name,
        "load_balancing": upstream.config.load_balancing.value,
        "connections": upstream.connections()._asdict(),
        "endpoints": [_endpoint(endpoint, now) for endpoint in upstream.endpoints],
    }


def _endpoint(endpoint: Endpoint, now: float) -> Document:
    """`active` exchanges have a connection or wait for one; `avoided`: connecting has failed."""
    pool = endpoint.pool
    return {
        "address": endpoint.label,
        "scheme": endpoint.scheme,
        "host": endpoint.host,
        "active": endpoint.active,
        "avoided": now < endpoint.avoid_until,
        "connections": {
            "open": pool.open,
            "idle": pool.idle,
            "connecting": pool.connecting,
            "waiting": pool.waiting,
        },
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
        "routes": [
            _route(route, stats.get((route.listener.value, route.name))) for route in all_routes
        ]
    }


def _route(route: RouteConfig, stats: RouteStats | None) -> Document:
    return {
        "name": route.name,
        "listener": route.listener.value,
        "match": _match(route.match),
        "upstream": route.upstream,
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
    }
    return {key: value for key, value in asked.items() if value}


def _counts(stats: RouteStats) -> Document:
    """Since the start. `proxy_answers` have a reason; `errors` are 5xx of proxy and upstream."""
    requests = sum(stats.answers.values())
    return {
        "requests": requests,
        "errors": sum(count for (status, _), count in stats.answers.items() if status >= 500),
        "proxy_answers": sum(count for (_, reason), count in stats.answers.items() if reason),
        "retries": sum(stats.retries.values()),
        "fallbacks": stats.fallbacks,
        "mean_duration_ms": round(1000 * stats.duration_sum / requests, 3) if requests else None,
        "durations": {"le_ms": _BOUNDS_MS, "counts": list(stats.duration_buckets)},
    }


_BOUNDS_MS = [round(1000 * bound, 3) for bound in DURATION_BUCKETS]


def status(gateway: Gateway, controls: Controls, recorder: FlightRecorder, now: float) -> Document:
    return {
        "service": gateway.config.service,
        "version": __version__,
        "uptime_s": round(now - controls.started, 3),
        "ready": controls.ready and not controls.draining,
        "draining": controls.draining,
        "config": {
            "file": controls.config_file,
            "loaded_at": Timestamps().text(controls.config_loaded_at),
            "last_reload": _plain(controls.last_reload),
        },
        "in_flight": in_flight(gateway, now),
        "recent": {"held": recorder.held, "seen": recorder.seen},
        **circuit_breakers(gateway, now),
        **bulkheads(gateway),
        **retries(gateway, now),
        **upstreams(gateway, now),
        **routes(gateway),
    }


def _plain(mapping: Mapping[str, Any] | None) -> Document | None:
    return None if mapping is None else dict(mapping)
