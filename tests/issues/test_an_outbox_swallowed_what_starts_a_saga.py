"""A policy with an outbox took part in routes that have no upstream.

`policies.default.outbox: {mode: always}` was meant for the calls to a dependency. A POST that
starts a saga was answered 202 with the Location of an outbox entry, and neither was the saga begun
nor could the entry ever be delivered. A route with a fixed answer gave that answer to nobody.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from delivery.counting import CountingUpstream
from integration.raw_client import Response
from integration.running_proxy import RunningProxy, eventually

PAY = {"upstream": "shop", "path": "/pay"}
WELL_KNOWN = "/.well-known/resilience-proxy/"


def settings(port: int, file: Path) -> dict[str, Any]:
    return {
        "store": {"url": f"sqlite:{file}", "persistent": True},
        "upstreams": {"shop": {"endpoints": [f"http://127.0.0.1:{port}"]}},
        "policies": {
            "default": {"outbox": {"mode": "always"}, "idempotency": {"mode": "required"}}
        },
        "sagas": {"order": {"steps": [{"name": "pay", "request": PAY}]}},
        "routes": [
            {"name": "orders", "match": {"path": "/orders"}, "saga": "order"},
            {"name": "old", "match": {"path": "/v1"}, "respond": {"status": 410, "body": "gone"}},
            {"name": "shop", "match": {"hosts": ["shop"]}, "upstream": "shop"},
        ],
    }


def place(answer: Response) -> str:
    location = answer.header("location") or ""
    return location.removeprefix(WELL_KNOWN).partition("/")[0]


@pytest.fixture
def upstream() -> Iterator[CountingUpstream]:
    with CountingUpstream() as upstream:
        yield upstream


def test_a_saga_and_a_fixed_answer_are_no_entries(
    tmp_path: Path, upstream: CountingUpstream, start_proxy: Callable[..., RunningProxy]
) -> None:
    proxy = start_proxy(settings(upstream.port, tmp_path / "store.db"))
    key = [("Host", "shop"), ("Idempotency-Key", "k")]

    order = proxy.call("POST", "/orders", key, b"{}")
    assert (order.status, place(order)) == (202, "sagas")
    eventually(lambda: upstream.bodies == [("/pay", b"")])

    old = proxy.call("POST", "/v1", [("Host", "shop")], b"{}")
    assert (old.status, old.body) == (410, b"gone")

    taken = proxy.call("POST", "/x", key, b"{}")
    assert (taken.status, place(taken)) == (202, "outbox")
    queues = {queue["route"] for queue in proxy.state("/outbox")["queues"]}
    assert not queues & {"orders", "old"}
