"""`POST /bypass`: for three in the morning."""

import http.client
import json
from collections.abc import Callable

from chaos.upstream import ChaosUpstream
from integration.raw_client import request_bytes
from integration.running_proxy import RunningProxy, eventually
from integration.settings import Settings, route


def turn(proxy: RunningProxy, word: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.admin, timeout=5)
    try:
        connection.request("POST", "/bypass", body=word)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def settings(chaos: ChaosUpstream) -> Settings:
    breaker = {
        "mode": "enforce",
        "minimum_calls": 2,
        "window": {"type": "count", "size": 2},
        "open_for": {"initial": "1h", "max": "1h"},
    }
    return {
        "upstreams": {"c": {"endpoints": [chaos.url]}},
        "routes": [
            route("plain", "c", retry={"attempts": 3}),
            route("broken", "c", retry={"attempts": 1}, circuit_breaker=breaker),
            route("full", "c", bulkhead={"max_concurrent": 1}),
        ],
    }


def test_retries_and_breakers_stand_aside_and_come_back(
    start_proxy: Callable[..., RunningProxy], shared_chaos: ChaosUpstream
) -> None:
    proxy = start_proxy(settings(shared_chaos))

    def attempts() -> int:
        response = proxy.call("GET", "/plain", chaos="503")
        return len(shared_chaos.seen(response.id))

    def reason() -> object:
        response = proxy.call("GET", "/broken", chaos="503")
        return json.loads(response.body).get("reason") if response.body[:1] == b"{" else None

    for _ in range(3):
        last = reason()
    assert (attempts(), last) == (3, "circuit-open")

    status, body = turn(proxy, "on")
    assert status == 200
    assert json.loads(body)["bypass"]["on"] is True
    assert (attempts(), reason(), reason(), reason()) == (1, None, None, None)
    told = proxy.state("/status")["bypass"]
    assert told["on"] is True
    assert 590 < told["ends_in_s"] <= 600
    assert proxy.metric("proxy_bypass") == 1
    eventually(lambda: "are suspended for 600 s" in proxy.errors)

    assert turn(proxy, "off")[0] == 200
    for _ in range(3):
        last = reason()
    assert (attempts(), last) == (3, "circuit-open")
    assert proxy.state("/status")["bypass"] == {"on": False, "ends_in_s": 0}
    assert proxy.metric("proxy_bypass") == 0


def test_bulkheads_do_not_and_a_reload_does_not_end_it(
    start_proxy: Callable[..., RunningProxy], shared_chaos: ChaosUpstream
) -> None:
    proxy = start_proxy(settings(shared_chaos))
    assert turn(proxy, "on")[0] == 200
    assert proxy.ask("POST", "/reload")[0] == 200
    response = proxy.call("GET", "/plain", chaos="503")
    assert len(shared_chaos.seen(response.id)) == 1
    with proxy.client() as holder:
        holder.send(request_bytes("GET", "/full", chaos="hang", request_id="holds-a-place"))
        shared_chaos.wait_seen("holds-a-place")
        assert proxy.call("GET", "/full").problem["reason"] == "bulkhead-full"
    assert turn(proxy, "perhaps")[0] == 400
