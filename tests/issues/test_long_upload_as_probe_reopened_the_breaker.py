"""A long upload happened to be the half-open probe; it was given up as lost while it flowed.

`half_open.max_wait` is for probes that never come back. While a client's body flows, it stands
still like the other clocks.
"""

import time
from collections.abc import Callable

from chaos.upstream import ChaosUpstream
from integration.running_proxy import RunningProxy, eventually
from integration.settings import ONCE, breaker, route

HEAD = b"POST /a HTTP/1.1\r\nHost: a\r\nX-Chaos: 200\r\nContent-Length: 12\r\n\r\n"


def test_a_probe_whose_body_flows_is_no_failure(
    reload_proxy: Callable[..., RunningProxy], shared_chaos: ChaosUpstream
) -> None:
    patience = {"half_open": {"calls": 1, "max_wait": "600ms"}}
    keys = breaker(calls=2, open_for="100ms") | patience
    proxy = reload_proxy(
        {
            "upstreams": {"chaos": {"endpoints": [shared_chaos.url]}},
            "routes": [route("a", circuit_breaker=keys, retry=ONCE)],
        }
    )
    for _ in range(2):
        assert proxy.call("GET", "/a", chaos="503").status == 503
    assert proxy.breaker("a")["state"] == "open"
    time.sleep(0.12)
    with proxy.client() as client:
        client.send(HEAD)
        for _ in range(12):
            time.sleep(0.07)
            client.send(b"x")
        assert client.read_response("POST").status == 200
    eventually(lambda: proxy.breaker("a")["state"] == "closed")
