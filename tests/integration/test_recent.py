"""The flight recorder of the real command: what somebody who has only a request id can find out."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from chaos.upstream import ChaosUpstream
from integration.running_proxy import RunningProxy, eventually
from integration.settings import ONCE, Settings, breaker, route


@pytest.fixture(scope="module")
def backup() -> Iterator[ChaosUpstream]:
    upstream = ChaosUpstream(script="200").start()
    yield upstream
    upstream.stop()


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy],
    shared_chaos: ChaosUpstream,
    backup: ChaosUpstream,
) -> RunningProxy:
    return module_proxy(
        {
            "upstreams": {
                "chaos": {"endpoints": [shared_chaos.url]},
                "backup": {"endpoints": [backup.url]},
            },
            "routes": [
                route("retried", timeouts={"attempt": "500ms", "request": "9s"}),
                route("slow", timeouts={"attempt": "2s"}),
                route("elsewhere", retry=ONCE, fallback={"when": [503], "upstream": "backup"}),
                route("open", retry=ONCE, circuit_breaker=breaker(calls=2, open_for="30s")),
                route("plain"),
            ],
        }
    )


def told(proxy: RunningProxy, request_id: str) -> dict[str, Any]:
    """The record of a request, once it is there."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        found[:] = proxy.state(f"/recent?request_id={request_id}")["recent"]
        return bool(found)

    eventually(there)
    (one,) = found
    return one


def ask(proxy: RunningProxy, path: str, request_id: str, chaos: str | None) -> int:
    return int(proxy.call("GET", path, request_id=request_id, chaos=chaos).status)


def test_attempts_with_what_became_of_them_and_who_decided(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    assert ask(proxy, "/retried/a?token=secret", "twice", "hang | 503 | 503") == 503
    one = told(proxy, "twice")
    assert one["trouble"] == ["error", "retried", "slow"]
    assert (one["route"], one["path"], one["status"]) == ("retried", "/retried/a", 503)
    first, second, third = one["attempts"]
    assert first["endpoint"] == shared_chaos.authority
    assert first["failure"] == "attempt-timeout"
    assert "timeouts.attempt" in first["detail"]
    assert first["retry"]["condition"] == "timeout"
    assert second["status"] == third["status"] == 503
    assert second["retry"]["condition"] == "gateway-error"
    assert third["retry"] == {"allowed": False, "why": "attempts"}
    assert first["duration_ms"] >= 500
    assert second["started_ms"] >= first["started_ms"] + first["duration_ms"] + second["wait_ms"]
    assert one["duration_ms"] >= third["started_ms"] + third["duration_ms"]
    assert "secret" not in str(one)


def test_a_fallback_and_where_its_answer_came_from(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    shared_chaos.rules["/elsewhere"] = "503"
    assert ask(proxy, "/elsewhere", "elsewhere", None) == 200
    one = told(proxy, "elsewhere")
    assert (one["trouble"], one["fallback"], one["upstream"]) == (["fallback"], True, "chaos")
    assert [(each["upstream"], each["status"]) for each in one["attempts"]] == [
        ("chaos", 503),
        ("backup", 200),
    ]


def test_the_breaker_that_refused(proxy: RunningProxy) -> None:
    for number in range(2):
        ask(proxy, "/open", f"opening-{number}", "503")
    assert ask(proxy, "/open", "refused", "200") == 503
    one = told(proxy, "refused")
    assert (one["reason"], one["attempts"]) == ("circuit-open", [])
    assert one["circuit_breaker"] == {"name": "open", "state": "open"}
    assert "'open' is open" in one["detail"]


def test_a_slow_answer(proxy: RunningProxy) -> None:
    assert ask(proxy, "/slow", "late", "delay=1.1 200") == 200
    assert told(proxy, "late")["trouble"] == ["slow"]
    assert ask(proxy, "/slow", "prompt", "200") == 200
    assert proxy.state("/recent?request_id=prompt")["recent"] == []


def test_what_never_became_a_request(proxy: RunningProxy) -> None:
    with proxy.client() as client:
        client.send(b"GET / HTTP/1.1\r\nno colon\r\n\r\n")
        assert client.read_response().status == 400
    kept = proxy.state("/recent?route=")["recent"]
    assert kept[0]["reason"] == "bad-request"
    assert kept[0]["detail"]


def test_under_way_and_then_over(proxy: RunningProxy) -> None:
    with proxy.client() as client:
        client.send(
            b"GET /plain HTTP/1.1\r\nHost: x\r\nX-Request-Id: hanging\r\nX-Chaos: hang\r\n\r\n"
        )

        def flying() -> bool:
            found = proxy.state("/recent?request_id=hanging")["in_flight"]
            return len(found) == 1 and len(found[0]["attempts"]) == 1

        eventually(flying)
    one = told(proxy, "hanging")
    assert (one["reason"], one["status"]) == ("client-gone", 499)
