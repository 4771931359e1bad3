"""The proxy's configuration for the demo.

It is ``config/examples/order-service.yaml`` with ``order-service-grpc.yaml``, on loopback and with
shorter durations; a test checks that every policy is the same at full tempo.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from proxy.demo.scene import Dependency, Tempo
from proxy.units import format_duration

REQUEST_TIMEOUTS = {
    Dependency.PRICING: 4.0,
    Dependency.INVENTORY: 4.0,
    Dependency.PAYMENT: 8.0,
    Dependency.SHIPPING: 3.0,
}
"""Seconds of ``timeouts.request``, before scaling."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The proxy's ports on 127.0.0.1."""

    outbound: int
    inbound: int
    admin: int


def request_timeouts(tempo: Tempo) -> dict[Dependency, float]:
    """Seconds that each call may take in a run of this tempo."""
    return {dependency: full * tempo.waits for dependency, full in REQUEST_TIMEOUTS.items()}


def render(tempo: Tempo, ports: Ports, endpoints: Mapping[Dependency, list[int]]) -> str:
    """The file's text. `endpoints` are the dependencies' ports on 127.0.0.1."""
    return as_text(document(tempo, ports, endpoints))


def as_text(tree: dict[str, Any]) -> str:
    return yaml.safe_dump(tree, sort_keys=False)


def process(ports: Ports) -> dict[str, Any]:
    """What describes the process alone, in every scene."""
    loopback = "127.0.0.1:{}".format
    return {
        "service": "orders",
        "listeners": {
            "outbound": {"address": loopback(ports.outbound)},
            "inbound": {"address": loopback(ports.inbound)},
        },
        "admin": {"address": loopback(ports.admin)},
        "access_log": {"requests": "none"},
        "tracing": {"exporter": "none"},
        # At the end of the scene every order has its answer, so the drain need not wait.
        "drain": {"delay": "0s", "timeout": "500ms"},
    }


def document(
    tempo: Tempo, ports: Ports, endpoints: Mapping[Dependency, list[int]]
) -> dict[str, Any]:
    """The file as data."""
    return {
        **process(ports),
        "upstreams": {
            dependency.value: {"endpoints": [f"http://127.0.0.1:{port}" for port in replicas]}
            for dependency, replicas in endpoints.items()
        },
        "policies": {"dependency": _policy(tempo)},
        "routes": [_route(dependency, tempo) for dependency in Dependency],
    }


def _policy(tempo: Tempo) -> dict[str, Any]:
    wait = scaled(tempo.waits)
    return {
        "timeouts": {"connect": wait(0.5)},
        "retry": {
            "attempts": 3,
            "methods": "idempotent",
            "backoff": {"multiplier": 2, "max": wait(5), "jitter": "20%"},
        },
        "circuit_breaker": {
            "window": {"type": "count", "size": 10},
            "minimum_calls": 5,
            "failure_rate": "60%",
            "slow_call": {"duration": wait(1), "rate": "80%"},
            "open_for": {"initial": scaled(tempo.open_for)(30)},
            "half_open": {"calls": 3, "max_wait": scaled(tempo.open_for)(30)},
        },
    }


def _route(dependency: Dependency, tempo: Tempo) -> dict[str, Any]:
    wait = scaled(tempo.waits)
    own: dict[Dependency, dict[str, Any]] = {
        Dependency.PRICING: {
            "timeouts": {"attempt": wait(0.6)},
            "retry": {
                "methods": "any",
                "on": ["connect-failure", "refused-stream", "reset", "timeout", "grpc-unavailable"],
                "backoff": {"initial": wait(0.5)},
            },
            "circuit_breaker": {"slow_call": {"duration": wait(0.4)}},
        },
        Dependency.INVENTORY: {
            "timeouts": {"attempt": wait(0.7)},
            "retry": {"backoff": {"initial": wait(0.5)}},
            "circuit_breaker": {"slow_call": {"duration": wait(0.5)}},
        },
        Dependency.PAYMENT: {
            "timeouts": {"attempt": wait(1.4)},
            "retry": {"backoff": {"initial": wait(1)}},
            "circuit_breaker": {"failure_rate": "50%"},
        },
        Dependency.SHIPPING: {
            "timeouts": {"attempt": wait(1)},
            "retry": {"attempts": 2, "backoff": {"initial": wait(0.5)}},
            "circuit_breaker": {"slow_call": {"duration": wait(0.8)}},
            "fallback": {
                "when": ["timeout", "circuit-open"],
                "response": {
                    "status": 200,
                    "json": {"status": "DEFERRED", "trackingNumber": None},
                },
            },
        },
    }
    route = own[dependency]
    route["timeouts"]["request"] = wait(REQUEST_TIMEOUTS[dependency])
    return {
        "name": dependency.value,
        "match": _match(dependency),
        "upstream": dependency.value,
        "policy": "dependency",
        **route,
    }


def _match(dependency: Dependency) -> dict[str, Any]:
    if dependency.over_grpc:
        service, method = dependency.path.strip("/").split("/")
        return {"grpc": {"service": service, "method": method}}
    return {"path": dependency.path, "methods": ["POST"]}


def scaled(share: float) -> Callable[[float], str]:
    """Scales seconds, and formats them for the configuration, in whole microseconds."""
    return lambda seconds: format_duration(round(seconds * share, 6))
