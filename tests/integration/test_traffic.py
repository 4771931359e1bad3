"""Hedges, faults, a learned limit and fixed answers with the real command and real sockets."""

import socket
from collections.abc import Callable
from time import monotonic

from chaos.upstream import ChaosUpstream
from integration.running_proxy import RunningProxy
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
                    route("hedged", "two", hedge={"delay": "50ms"}),
                    route("late", "c", faults=[{"share": "100%", "delay": "100ms"}]),
                    route("ill", "c", retry={"attempts": 1}, faults=[{"share": 1, "abort": 503}]),
                    {"name": "gone", "match": {"prefix": "/gone"}, "respond": {"status": 410}},
                    route("learned", "c", bulkhead={"limit": "gradient"}),
                ],
            }
        )
        begun = monotonic()
        assert {proxy.call("GET", "/hedged").status for _ in range(6)} == {200}
        assert monotonic() - begun < 3, "half of them would hang for 5 s"
    assert 3 <= proxy.metric("proxy_hedges_total", route="hedged", result="won") <= 6

    begun = monotonic()
    late = proxy.call("GET", "/late")
    assert monotonic() - begun > 0.09
    assert late.header("proxy-status").endswith("; fault=delay")
    assert proxy.call("GET", "/ill").problem["reason"] == "fault-injected"
    assert proxy.metric("proxy_faults_total", route="ill", kind="abort") == 1
    assert proxy.call("GET", "/gone").status == 410
    assert proxy.call("GET", "/learned").status == 200
    assert proxy.bulkhead("learned")["learned"] == 20
    assert proxy.metric("proxy_concurrency_limit", name="learned") == 20
