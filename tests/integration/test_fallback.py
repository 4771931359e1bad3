"""The fallback: for which reasons and statuses, what it answers, and who still hears of it."""

from collections.abc import Callable, Iterator

import pytest
from chaos.upstream import ChaosUpstream
from integration.running_proxy import RunningProxy
from integration.settings import ONCE, Settings, breaker, route

DEFERRED = {
    "status": 200,
    "headers": {"x-fallback": "shipping"},
    "json": {"status": "DEFERRED", "trackingNumber": None},
}


@pytest.fixture(scope="module")
def backup() -> Iterator[ChaosUpstream]:
    upstream = ChaosUpstream(script="200 header=X-From:backup").start()
    yield upstream
    upstream.stop()


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy],
    shared_chaos: ChaosUpstream,
    backup: ChaosUpstream,
) -> RunningProxy:
    soon = {"attempt": "150ms", "request": "400ms"}
    plain = {"status": 203, "headers": {"content-type": "text/plain"}, "body": "later"}
    return module_proxy(
        {
            "upstreams": {
                "chaos": {"endpoints": [shared_chaos.url]},
                "backup": {"endpoints": [backup.url]},
            },
            "routes": [
                route(
                    "timeout",
                    timeouts=soon,
                    retry=ONCE,
                    fallback={"when": ["timeout"], "response": DEFERRED},
                ),
                route("status", fallback={"when": [503], "response": plain}),
                route(
                    "open",
                    retry=ONCE,
                    circuit_breaker=breaker(calls=2, open_for="30s"),
                    fallback={"when": ["circuit-open", "500-503"], "response": plain},
                ),
                route("backup", fallback={"when": [503, "reset"], "upstream": "backup"}),
            ],
        }
    )


def test_by_reason(proxy: RunningProxy) -> None:
    response = proxy.call("POST", "/timeout", body=b"{}", chaos="hang")
    assert response.status == 200
    assert response.header("x-fallback") == "shipping"
    assert response.header("content-type") == "application/json"
    assert response.body.replace(b" ", b"") == b'{"status":"DEFERRED","trackingNumber":null}'
    assert response.header("content-length") == str(len(response.body))
    status = response.header("proxy-status") or ""
    assert status.startswith("orders;")
    assert "fallback" in status
    assert proxy.metric("proxy_fallbacks_total", route="timeout") >= 1


def test_other_failures_stay_what_they_are(proxy: RunningProxy) -> None:
    assert proxy.call("POST", "/timeout", body=b"", chaos="503").status == 503
    reset = proxy.call("POST", "/timeout", body=b"", chaos="reset-before-head")
    assert (reset.status, reset.why) == (502, "upstream-reset")


def test_head_gets_the_fields_without_the_body(proxy: RunningProxy) -> None:
    with proxy.client() as client:
        head = client.request("HEAD", "/timeout", chaos="hang")
        assert (head.status, head.header("x-fallback")) == (200, "shipping")
        assert client.request("GET", "/status", chaos="200").body == b"ok"


def test_by_the_final_status_when_the_attempts_are_spent(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    response = proxy.call("GET", "/status", chaos="503")
    assert (response.status, response.body) == (203, b"later")
    assert response.header("content-type") == "text/plain"
    assert len(shared_chaos.seen(response.id)) == 3
    assert proxy.call("GET", "/status", chaos="503 | 200").status == 200


def test_the_breaker_has_heard_of_the_failure(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    """What the client takes for a success is a failure of the upstream all the same."""
    for _ in range(2):
        assert proxy.call("GET", "/open", chaos="503").status == 203
    assert proxy.breaker("open")["state"] == "open"
    response = proxy.call("GET", "/open", chaos="200")
    assert (response.status, response.body) == (203, b"later")
    assert shared_chaos.seen(response.id) == []
    assert proxy.breaker("open")["calls"] == 2


@pytest.mark.parametrize("fault", ["503", "reset-before-head"])
def test_the_same_request_goes_to_another_upstream(
    proxy: RunningProxy, backup: ChaosUpstream, fault: str
) -> None:
    healthy = proxy.call("PUT", "/backup", body=b"order")
    assert (healthy.status, healthy.header("x-from")) == (200, None)
    # the backup reads the script as well, and fails likewise
    response = proxy.call("PUT", "/backup/x?y=1", body=b"order", chaos=fault)
    assert response.status in (502, 503)
    (seen,) = backup.seen(response.id)
    assert (seen.method, seen.target, bytes(seen.body)) == ("PUT", "/backup/x?y=1", b"order")


def test_the_answer_of_the_other_upstream_goes_back(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, backup: ChaosUpstream
) -> None:
    shared_chaos.rules["/backup"] = "503"
    try:
        response = proxy.call("GET", "/backup")
    finally:
        del shared_chaos.rules["/backup"]
    assert (response.status, response.header("x-from")) == (200, "backup")
    assert len(shared_chaos.seen(response.id)) == 3
    assert len(backup.seen(response.id)) == 1
    assert "fallback" in (response.header("proxy-status") or "")


@pytest.mark.parametrize(("fault", "status"), [("503", 503), ("reset-before-body", 502)])
def test_a_body_that_is_no_longer_whole_cannot_go_there(
    proxy: RunningProxy, backup: ChaosUpstream, fault: str, status: int
) -> None:
    """Beyond `body_limit` nothing was kept: the first answer goes back, and at once."""
    response = proxy.call("PUT", "/backup", body=b"x" * 100_000, chaos=fault)
    assert response.status == status
    assert response.elapsed < 4
    assert backup.seen(response.id) == []


def test_one_attempt_is_made_there(proxy: RunningProxy, backup: ChaosUpstream) -> None:
    response = proxy.call("GET", "/backup", chaos="503")
    assert response.status == 503
    assert len(backup.seen(response.id)) == 1
