"""`mode: observe` in the running proxy: live traffic passes, and every place shows what it met."""

from chaos.upstream import ChaosUpstream
from integration.conftest import StartProxy
from integration.settings import route


def test_a_strict_policy_is_tried_on_live_traffic(
    start_proxy: StartProxy, shared_chaos: ChaosUpstream
) -> None:
    strict = {"mode": "observe", "connect": "10ms", "attempt": "20ms", "request": "40ms"}
    retry = {"mode": "observe", "attempts": 3}
    proxy = start_proxy(
        {
            "upstreams": {"chaos": {"endpoints": [shared_chaos.url]}},
            "routes": [route("strict", timeouts=strict, retry=retry)],
        }
    )
    slow = proxy.call("GET", "/strict/slow", chaos="delay=0.1 503", request_id="slow-one")
    assert slow.status == 503
    # A busy machine may note a slow connect too, and in another order.
    marks = {"timeouts.attempt", "timeouts.request", "retry.gateway-error"}
    line = proxy.logged("slow-one")
    assert set(line["observed"]) >= marks
    assert len(line["attempts"]) == 1
    (record,) = proxy.state("/recent?request_id=slow-one")["recent"]
    assert record["observed"] == line["observed"]
    assert record["trouble"] == ["error", "slow", "observed"]
    (counted,) = [one for one in proxy.state("/routes")["routes"] if one["name"] == "strict"]
    assert counted["observed"] == dict.fromkeys(line["observed"], 1)
    gateway_error = {"policy": "retry", "what": "gateway-error"}
    assert proxy.metric("proxy_observed_total", route="strict", **gateway_error) == 1
