"""The proxy's configuration for the demo of the asynchronous order service.

It is ``config/examples/order-service-async.yaml`` on loopback and with shorter durations; a test
checks that saga, routes and policies are the same at full tempo.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proxy.demo.configuration import Ports, process, scaled
from proxy.demo.scene import Tempo

SERVICES = ("inventory", "payment", "shipping", "app")
SAGA = "place-order"
RESERVE, RELEASE = "/api/inventory/deduct", "/api/inventory/release"
PAY, REFUND = "/api/payments/process", "/api/payments/refund"
SHIP = "/api/shipping/create"
ORDERS, RESULTS = "/api/orders", "/order-results"


def document(
    tempo: Tempo, ports: Ports, endpoints: Mapping[str, int], store: Path
) -> dict[str, Any]:
    """The file as data. `endpoints` has the port of each of `SERVICES` on 127.0.0.1."""
    return {
        **process(ports),
        "store": {"url": f"sqlite:{store}", "persistent": True},
        "upstreams": {
            name: {"endpoints": [f"http://127.0.0.1:{endpoints[name]}"]} for name in SERVICES
        },
        "policies": _policies(tempo),
        "sagas": {SAGA: _saga(tempo)},
        "routes": [
            {
                "name": SAGA,
                "listener": "inbound",
                "match": {"path": ORDERS},
                "policy": "inbound",
                "saga": SAGA,
            }
        ],
    }


def _policies(tempo: Tempo) -> dict[str, Any]:
    wait = scaled(tempo.waits)
    return {
        "default": {
            "timeouts": {"connect": wait(0.5)},
            "retry": {
                "attempts": 3,
                "backoff": {"multiplier": 2, "max": wait(5), "jitter": "20%"},
            },
            "circuit_breaker": {
                "window": {"type": "count", "size": 10},
                "minimum_calls": 5,
                "failure_rate": "60%",
                "slow_call": {"duration": wait(1), "rate": "80%"},
                "open_for": {"initial": scaled(tempo.open_for)(30)},
                "half_open": {"calls": 3},
            },
        },
        "inventory": {
            "timeouts": {"request": wait(4), "attempt": wait(0.7)},
            "retry": {"backoff": {"initial": wait(0.5)}},
            "circuit_breaker": {"slow_call": {"duration": wait(0.5)}},
        },
        "payment": {
            "timeouts": {"request": wait(8), "attempt": wait(1.4)},
            "retry": {"backoff": {"initial": wait(1)}},
            "circuit_breaker": {"failure_rate": "50%"},
        },
        "shipping": {
            "timeouts": {"request": wait(3), "attempt": wait(1)},
            "retry": {"attempts": 2, "backoff": {"initial": wait(0.5)}},
            "circuit_breaker": {"slow_call": {"duration": wait(0.8)}},
        },
    }


def _saga(tempo: Tempo) -> dict[str, Any]:
    wait = scaled(tempo.waits)
    backoff = {"initial": wait(1), "max": scaled(tempo.open_for)(300 / 4)}
    return {
        "id": "body:/orderId",
        "timeout": "5m",
        "pivot": "pay",
        "answer": {"status": 202, "json": {"orderId": "${id}", "status": "PENDING"}},
        "steps": [
            {
                "name": "reserve",
                "policy": "inventory",
                "backoff": backoff,
                "request": {
                    "upstream": "inventory",
                    "path": RESERVE,
                    "json": {
                        "orderId": "${id}",
                        "sku": "${input./sku}",
                        "quantity": "${input./quantity}",
                    },
                },
                "undo": {
                    "upstream": "inventory",
                    "path": RELEASE,
                    "json": {"orderId": "${id}", "reservation": "${steps.reserve.key}"},
                },
            },
            {
                "name": "pay",
                "policy": "payment",
                "backoff": backoff,
                "request": {
                    "upstream": "payment",
                    "path": PAY,
                    "json": {"orderId": "${id}", "amount": "${input./total}"},
                },
                "undo": {
                    "upstream": "payment",
                    "path": REFUND,
                    "json": {"payment": "${steps.pay.key}"},
                },
            },
            {
                "name": "ship",
                "policy": "shipping",
                "backoff": backoff,
                "request": {"upstream": "shipping", "path": SHIP, "json": {"orderId": "${id}"}},
            },
        ],
        "undo": {"backoff": backoff},
        "result": {"upstream": "app", "path": RESULTS},
    }
