"""A host with the root's dot, ``INV.shop.test.``, missed the route of its name.

Long hosts were remembered for good: 1,000 of 60 kB took 175 MiB.
"""

from collections.abc import Callable

import pytest
from chaos.upstream import ChaosUpstream
from integration.running_proxy import RunningProxy


@pytest.fixture(scope="module")
def proxy(module_proxy: Callable[..., RunningProxy], shared_chaos: ChaosUpstream) -> RunningProxy:
    return module_proxy(
        {
            "upstreams": {"chaos": {"endpoints": [shared_chaos.url]}},
            "routes": [
                {"name": "inv", "match": {"hosts": ["inv.shop.test"]}, "upstream": "chaos"},
                {"name": "dotted", "match": {"hosts": ["DOT.test."]}, "upstream": "chaos"},
                {"name": "below", "match": {"hosts": ["*.svc."]}, "upstream": "chaos"},
            ],
            "egress": {"allow": [f"localhost.:{shared_chaos.port}"]},
        }
    )


@pytest.mark.parametrize(
    ("host", "route"),
    [
        ("inv.shop.test", "inv"),
        ("INV.shop.test.", "inv"),
        ("inv.shop.test.:8080", "inv"),
        ("dot.test", "dotted"),
        ("Dot.Test.", "dotted"),
        ("a.svc.", "below"),
    ],
)
def test_the_route_takes_it(proxy: RunningProxy, host: str, route: str) -> None:
    for answer in (proxy.call("GET", "/", {"Host": host}), proxy.call("GET", f"http://{host}/")):
        assert answer.status == 200
        assert proxy.logged(answer.id)["route"] == route


def test_egress_and_upstream_are_the_same_with_it(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    for host in ("localhost", "LOCALHOST", "localhost."):
        assert proxy.call("GET", f"http://{host}:{shared_chaos.port}/").status == 200
    named = [one for one in proxy.state("/upstreams")["upstreams"] if "localhost" in one["name"]]
    assert [one["name"] for one in named] == [f"localhost:{shared_chaos.port}"]


@pytest.mark.parametrize("host", ["a" * 254, "a." * 127 + "a", "h1." + "x" * 60_000])
@pytest.mark.parametrize("listener", ["outbound", "inbound"])
def test_a_host_has_at_most_253_bytes(proxy: RunningProxy, listener: str, host: str) -> None:
    answer = proxy.call("GET", "/", {"Host": host}, listener=listener)
    assert (answer.status, answer.why) == (400, "bad-request")


def test_253_bytes_are_a_host(proxy: RunningProxy) -> None:
    answer = proxy.call("GET", "/", {"Host": "a" * 249 + ".svc"})
    assert (answer.status, proxy.logged(answer.id)["route"]) == (200, "below")
