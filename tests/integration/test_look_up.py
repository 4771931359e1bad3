"""Names that nobody knows: an attempt that failed, like any other. Contract, section 3."""

from collections.abc import Callable

from integration.running_proxy import RunningProxy
from integration.settings import ONCE, breaker, route


def test_a_failed_look_up_opens_the_breaker(start_proxy: Callable[..., RunningProxy]) -> None:
    proxy = start_proxy(
        {
            "upstreams": {"nowhere": {"endpoints": ["http://no-such-name.invalid:8080"]}},
            "routes": [
                route("r", upstream="nowhere", retry=ONCE, circuit_breaker=breaker(calls=2))
            ],
        }
    )
    for _ in range(2):
        response = proxy.call("GET", "/r")
        assert (response.status, response.why) == (502, "dns-failure")
        (attempt,) = proxy.logged(response.id)["attempts"]
        assert attempt["endpoint"] == "no-such-name.invalid:8080"
    assert proxy.breaker("r")["state"] == "open"
    assert proxy.call("GET", "/r").why == "circuit-open"
