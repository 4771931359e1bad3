"""Documents as a running proxy gives them, for the view to be drawn from."""

from typing import Any

Document = dict[str, Any]


def route(name: str, listener: str = "outbound", **over: Any) -> Document:
    return {
        "name": name,
        "listener": listener,
        "requests": 0,
        "errors": 0,
        "retries": 0,
        "fallbacks": 0,
        "durations": {"le_ms": [1.0, 10.0, 100.0, 60000.0], "counts": [0, 0, 0, 0, 0]},
    } | over


def breaker(name: str, state: str = "closed", **over: Any) -> Document:
    return {
        "name": name,
        "state": state,
        "mode": "enforce",
        "failure_rate": -1.0,
        "slow_call_rate": -1.0,
        "calls": 0,
        "not_permitted": 0,
        "next_probe_in_s": None,
    } | over


def endpoint(address: str, **over: Any) -> Document:
    connections = {"open": 1, "idle": 1, "connecting": 0, "waiting": 0}
    return {"address": address, "active": 0, "avoided": False, "connections": connections} | over


def status(**over: Any) -> Document:
    return {
        "service": "orders",
        "version": "0.1.0",
        "uptime_s": 100.0,
        "ready": True,
        "draining": False,
        "config": {"last_reload": None},
        "in_flight": {"inbound": 0, "outbound": 0, "requests": []},
        "circuit_breakers": [],
        "bulkheads": [],
        "retries": [],
        "upstreams": [],
        "routes": [],
    } | over


def store(**over: Any) -> Document:
    return {
        "engine": "sqlite",
        "state": "open",
        "failure": None,
        "full": False,
        "bytes": 12_400_000,
        "max_bytes": 1_000_000_000,
        "commits": 0,
        "refused_full": 0,
        "refused_failed": 0,
        "commit_durations": {"le_ms": [1.0, 10.0], "counts": [0, 0, 0]},
    } | over


def attempt(endpoint: str = "10.0.0.7:8080", **over: Any) -> Document:
    return {
        "endpoint": endpoint,
        "upstream": "inventory",
        "started_ms": 0.1,
        "duration_ms": 3.0,
        "wait_ms": 0.0,
        "retry": None,
    } | over


def troubled(**over: Any) -> Document:
    return {
        "time": "2026-03-01T12:34:56.000Z",
        "request_id": "r-1",
        "trace_id": "t-1",
        "inherited_from": "",
        "listener": "outbound",
        "client": "127.0.0.1",
        "method": "GET",
        "host": "shop",
        "path": "/api/inventory/7",
        "route": "stock",
        "upstream": "inventory",
        "status": 200,
        "reason": "",
        "detail": "",
        "trouble": ["retried"],
        "fallback": False,
        "duration_ms": 41.0,
        "bytes_in": 0,
        "bytes_out": 2,
        "circuit_breaker": {"name": "stock", "state": "closed"},
        "attempts_made": 1,
        "attempts": [attempt(status=200)],
    } | over
