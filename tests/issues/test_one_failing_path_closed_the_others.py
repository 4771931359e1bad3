"""With nothing configured for inbound, one path that answered 500 closed every other path.

The proxy retried what its own service had answered, and its breaker opened for all of the service.
"""

from collections.abc import Callable

from chaos.upstream import ChaosUpstream
from integration.running_proxy import RunningProxy


def test_one_failing_path_closes_no_other_and_is_asked_once(
    start_chaos: Callable[..., ChaosUpstream], start_proxy: Callable[..., RunningProxy]
) -> None:
    service = start_chaos()
    proxy = start_proxy(
        {
            "upstreams": {"app": {"endpoints": [service.url]}},
            "policies": {"default": {"circuit_breaker": {"mode": "enforce"}}},
        }
    )
    with proxy.client("inbound") as client:
        for _ in range(60):
            bug = client.request("GET", "/bug", chaos="500")
            cart = client.request("GET", "/cart")
            assert (bug.status, cart.status) == (500, 200)
            assert len(service.seen(bug.id)) == len(service.seen(cart.id)) == 1
    assert not proxy.state("/circuit-breakers")["circuit_breakers"]


def test_an_unavailable_service_is_asked_once_too(
    start_chaos: Callable[..., ChaosUpstream], start_proxy: Callable[..., RunningProxy]
) -> None:
    """503 and a lost connection are what the default policy repeats."""
    service = start_chaos()
    proxy = start_proxy({"upstreams": {"app": {"endpoints": [service.url]}}})
    for script, status in (("503", 503), ("reset-before-head", 502)):
        answer = proxy.call("GET", "/x", listener="inbound", chaos=script)
        assert answer.status == status
        assert len(service.seen(answer.id)) == 1
