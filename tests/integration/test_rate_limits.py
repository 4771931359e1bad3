"""Rate limits with the real command: the answer, the turn, what is told, and the bypass."""

from collections.abc import Callable
from time import monotonic

from chaos.upstream import ChaosUpstream
from integration.running_proxy import RunningProxy
from integration.settings import route
from integration.test_bypass import turn


def test_they_refuse_wait_are_told_and_stand_aside(
    start_proxy: Callable[..., RunningProxy], shared_chaos: ChaosUpstream
) -> None:
    queue = {"max_queue": 5, "queue_timeout": "2s"}
    proxy = start_proxy(
        {
            "upstreams": {"c": {"endpoints": [shared_chaos.url]}},
            "routes": [
                route("few", "c", rate_limits=[{"rate": "2/h"}]),
                route("slow", "c", rate_limits=[{"rate": "5/s", "burst": 1}], bulkhead=queue),
            ],
        }
    )
    assert [proxy.call("GET", "/few").status for _ in range(3)] == [200, 200, 429]
    refused = proxy.call("GET", "/few")
    assert refused.problem["reason"] == "rate-limited"
    wait = refused.header("retry-after")
    assert 1700 < int(wait) <= 1800
    assert refused.header("ratelimit-policy") == '"route";q=2;w=3600'
    assert refused.header("ratelimit") == f'"route";r=0;t={wait}'

    begun = monotonic()
    assert [proxy.call("GET", "/slow").status for _ in range(3)] == [200] * 3
    assert 0.39 < monotonic() - begun < 2.0

    (few,) = [one for one in proxy.state("/rate-limits")["rate_limits"] if one["name"] == "few"]
    assert (few["allowed"], few["limited"], few["waiting"]) == ({"route": 2}, {"route": 2}, 0)
    assert proxy.metric("proxy_rate_limit_total", route="few", limit="route", result="limited") == 2

    assert turn(proxy, "on")[0] == 200
    assert proxy.call("GET", "/few").status == 200
    assert turn(proxy, "off")[0] == 200
    assert proxy.call("GET", "/few").status == 429
