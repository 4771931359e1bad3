"""config/examples/outbox.yaml at the real command."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from delivery.counting import CountingUpstream
from documents.blocks import ROOT
from integration.ports import free_port
from integration.raw_client import Response
from integration.running_proxy import RunningProxy, eventually

from proxy.config import load

EXAMPLE = ROOT / "config" / "examples" / "outbox.yaml"


@pytest.fixture
def upstream() -> Iterator[CountingUpstream]:
    with CountingUpstream() as upstream:
        yield upstream


@pytest.fixture
def proxy(tmp_path: Path, upstream: CountingUpstream) -> Iterator[RunningProxy]:
    settings: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())
    settings["upstreams"]["app"] = {"endpoints": [f"http://127.0.0.1:{upstream.port}"]}
    running = RunningProxy(
        tmp_path,
        settings,
        STORE=str(tmp_path / "store.db"),
        NOTIFICATIONS=f"http://127.0.0.1:{upstream.port}",
        SHIPPING=f"http://127.0.0.1:{free_port()}",
        AUDIT=f"http://127.0.0.1:{upstream.port}",
    )
    yield running
    running.stop()


def post(proxy: RunningProxy, host: str, body: bytes, *more: tuple[str, str]) -> Response:
    return proxy.call("POST", "/x", [("Host", host), *more], body)


def test_it_is_valid_without_a_warning() -> None:
    assert load(EXAMPLE, {}).warnings == ()


def test_a_notification_is_accepted_delivered_and_its_result_told(
    proxy: RunningProxy, upstream: CountingUpstream
) -> None:
    answer = post(proxy, "notifications", b'{"customerId": 7}')
    assert answer.status == 202
    told = json.loads(answer.body)
    assert (told["customer"], told["status"]) == (7, "PENDING")
    eventually(lambda: len(upstream.bodies) == 2, 5)
    assert upstream.bodies[0] == ("/x", b'{"customerId": 7}')
    path, result = upstream.bodies[1]
    assert path == "/notification-results"
    assert json.loads(result)["id"] == told["message"]
    assert json.loads(result)["state"] == "delivered"


def test_an_order_is_deferred_while_shipping_is_down(proxy: RunningProxy) -> None:
    answer = post(proxy, "shipping", b"{}", ("Idempotency-Key", "k"))
    assert (answer.status, json.loads(answer.body)["status"]) == (200, "DEFERRED")
    (queue,) = proxy.state("/outbox?route=ship")["queues"]
    assert (queue["route"], queue["pending"]) == ("ship", 1)


def test_an_audit_record_has_the_services_credential_and_not_the_callers(
    proxy: RunningProxy, upstream: CountingUpstream
) -> None:
    assert post(proxy, "audit", b"1").status == 200
    fields = (("Prefer", "respond-async"), ("Authorization", "Bearer mine"), ("X-Tenant-Id", "t"))
    answer = post(proxy, "audit", b"2", *fields)
    assert answer.status == 202
    assert answer.header("preference-applied") == "respond-async"
    eventually(lambda: [body for _, body in upstream.bodies] == [b"1", b"2"], 5)
