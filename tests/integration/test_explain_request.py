"""`resilience-proxy explain --request-id`: what became of one request, as the proxy tells it."""

import json
import subprocess
import sys
from collections.abc import Callable

import pytest
from chaos.upstream import ChaosUpstream
from integration.conftest import StartProxy
from integration.raw_client import request_bytes
from integration.running_proxy import RunningProxy, eventually
from integration.settings import Settings, route


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy], shared_chaos: ChaosUpstream
) -> RunningProxy:
    return module_proxy(
        {
            "upstreams": {"chaos": {"endpoints": [shared_chaos.url]}},
            "routes": [route("stock", timeouts={"attempt": "300ms"})],
        }
    )


def explain(proxy: RunningProxy, request_id: str) -> subprocess.CompletedProcess[str]:
    admin = f"http://127.0.0.1:{proxy.admin}"
    return subprocess.run(
        [sys.executable, "-m", "proxy", "explain", "--request-id", request_id, "--admin", admin],
        capture_output=True,
        text=True,
        timeout=20,
    )


def call(proxy: RunningProxy, request_id: str, chaos: str, method: str = "GET") -> int:
    return proxy.call(method, "/stock/7", request_id=request_id, chaos=chaos).status


def assert_in_order(text: str, *parts: str) -> None:
    place = 0
    for part in parts:
        assert part in text[place:], (part, text)
        place = text.index(part, place) + len(part)


def test_a_request_that_was_retried(proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    assert call(proxy, "retried", "503|reset-before-head|200") == 200
    done = explain(proxy, "retried")
    assert (done.returncode, done.stderr) == (0, "")
    assert_in_order(
        done.stdout,
        "GET /stock/7",
        "request id retried",
        "route stock, upstream chaos",
        f"attempt 1 to {shared_chaos.authority}",
        "got 503",
        "because gateway-error is in retry.on",
        "attempt 2",
        "upstream-reset: The upstream",
        "because reset is in retry.on",
        "attempt 3",
        "got 200",
        "the client got the upstream's 200",
    )


def test_a_request_that_failed(proxy: RunningProxy) -> None:
    assert call(proxy, "failed", "reset-before-head", "POST") == 502
    done = explain(proxy, "failed")
    assert done.returncode == 0
    assert_in_order(
        done.stdout,
        "POST /stock/7",
        "attempt 1",
        "upstream-reset",
        "no other attempt: something was sent, and POST is not safe to repeat",
        "the client got the proxy's own answer: 502 upstream-reset",
        "decided by: retry",
        "look next: docs/runbook.md#upstream-reset",
    )


def test_a_request_under_way(proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    with proxy.client() as client:
        stalled = request_bytes("GET", "/stock/7", request_id="flying", chaos="size=10 stall=5")
        client.send(stalled)
        shared_chaos.wait_seen("flying")
        done = explain(proxy, "flying")
    assert done.returncode == 0
    assert_in_order(done.stdout, "request id flying", "attempt 1", "still in flight")


def test_a_request_that_nobody_knows(proxy: RunningProxy) -> None:
    done = explain(proxy, "never-seen")
    assert (done.returncode, done.stdout) == (1, "")
    assert "knows no request 'never-seen'" in done.stderr
    assert "only the last requests with trouble are kept" in done.stderr


def test_accepted_requests_are_told_with_their_deliveries(
    start_proxy: StartProxy, shared_chaos: ChaosUpstream
) -> None:
    shared_chaos.rules["/late/bad"] = "404"
    step = {"request": {"upstream": "chaos", "path": "/late/bad"}, "dead_on": [404]}
    proxy = start_proxy(
        {
            "store": {"url": "memory:"},
            "upstreams": {"chaos": {"endpoints": [shared_chaos.url]}},
            "sagas": {"order": {"steps": [{"name": "pay", **step}]}},
            "routes": [
                route("late", outbox={"mode": "always"}),
                {"name": "orders", "match": {"path": "/orders"}, "saga": "order"},
            ],
        }
    )
    entry = json.loads(proxy.call("POST", "/late/bad", request_id="told", body=b"{}").body)["id"]
    eventually(lambda: proxy.state(f"/outbox/{entry}")["state"] == "dead", 5)
    for asked in ("told", entry):
        done = explain(proxy, asked)
        assert (done.returncode, done.stderr) == (0, "")
        assert_in_order(
            done.stdout,
            "POST service.test/late/bad was accepted by the outbox of route late: dead",
            f"entry {entry}, request id told",
            "try 1: 404",
            "  dead, remembered until",
            "docs/runbook.md#entries-of-the-outbox-are-dead",
        )
    key = {"Idempotency-Key": "order-7"}
    assert proxy.call("POST", "/orders", key, b"{}").status == 202
    eventually(lambda: proxy.state("/sagas/order-7")["state"] == "undone", 5)
    assert_in_order(
        explain(proxy, "order-7").stdout, "order-7  order  undone", "pay: failed", "404"
    )
