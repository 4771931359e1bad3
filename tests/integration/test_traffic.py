"""Hedges, faults, splits, mirrors, a learned limit, fixed answers: the real command and sockets."""

import socket
from collections.abc import Callable
from time import monotonic

from chaos.upstream import ChaosUpstream
from integration.running_proxy import RunningProxy, eventually
from integration.settings import route


def test_hedges_faults_and_fixed_answers(
    start_proxy: Callable[..., RunningProxy], shared_chaos: ChaosUpstream
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoints = [f"http://127.0.0.1:{silent.getsockname()[1]}", shared_chaos.url]
        proxy = start_proxy(
            {
                "upstreams": {
                    "two": {"endpoints": endpoints, "load_balancing": "round_robin"},
                    "c": {"endpoints": [shared_chaos.url]},
                },
                "routes": [
                    route("hedged", "two", hedge={"delay": "200ms"}),
                    route("late", "c", faults=[{"share": "100%", "delay": "100ms"}]),
                    route("ill", "c", retry={"attempts": 1}, faults=[{"share": 1, "abort": 503}]),
                    {"name": "gone", "match": {"prefix": "/gone"}, "respond": {"status": 410}},
                    route("learned", "c", bulkhead={"limit": "gradient"}),
                ],
            }
        )
        begun = monotonic()
        assert {proxy.call("GET", "/hedged").status for _ in range(6)} == {200}
        assert monotonic() - begun < 5, "half of them would hang for 5 s"
    assert 3 <= proxy.metric("proxy_hedges_total", route="hedged", result="won") <= 6

    begun = monotonic()
    late = proxy.call("GET", "/late")
    assert monotonic() - begun >= 0.1
    assert late.header("proxy-status").endswith("; fault=delay")
    assert proxy.call("GET", "/ill").problem["reason"] == "fault-injected"
    assert proxy.metric("proxy_faults_total", route="ill", kind="abort") == 1
    assert proxy.call("GET", "/gone").status == 410
    assert proxy.call("GET", "/learned").status == 200
    assert proxy.bulkhead("learned")["learned"] == 20
    assert proxy.metric("proxy_concurrency_limit", name="learned") == 20


def test_splits_and_mirrors(
    start_proxy: Callable[..., RunningProxy], shared_chaos: ChaosUpstream
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        proxy = start_proxy(
            {
                "upstreams": {
                    "v1": {"endpoints": [shared_chaos.url]},
                    "v2": {"endpoints": [shared_chaos.url]},
                    "silent": {"endpoints": [f"http://127.0.0.1:{silent.getsockname()[1]}"]},
                },
                "routes": [
                    route("split", {"v1": 50, "v2": 50}, split_by={"header": "user-id"}),
                    route("copied", "v1", mirror={"upstream": "v2"}),
                    route("hanging", "v1", mirror={"upstream": "silent", "max_in_flight": 2}),
                ],
                "access_log": {"requests": "all"},
            }
        )
        for number in range(20):
            assert proxy.call("GET", "/split", {"User-Id": f"u{number % 10}"}).status == 200
        by = {
            name: proxy.metric("proxy_attempts_total", route="split", upstream=name, outcome="2xx")
            for name in ("v1", "v2")
        }
        assert sum(by.values()) == 20
        assert all(count and count % 2 == 0 for count in by.values()), "each user stays"

        copied = proxy.call("POST", "/copied", body=100_000 * b"x")
        assert copied.status == 200
        eventually(lambda: proxy.metric("proxy_mirrors_total", route="copied", result="2xx") == 1)
        assert proxy.logged(copied.header("x-request-id"))["mirrored"] == "v2"

        begun = monotonic()
        assert {proxy.call("GET", "/hanging").status for _ in range(5)} == {200}
        assert proxy.metric("proxy_mirrors_total", route="hanging", result="full") == 3
        proxy.signal()
        assert proxy.wait() == 0, "copies are no loss"
        assert monotonic() - begun < 5, "nor does anything wait for them"
