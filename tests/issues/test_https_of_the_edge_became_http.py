"""The edge ended TLS and said `X-Forwarded-Proto: https`; the service was told `http` and looped.

What a trusted peer says of the request stays. Spellings that a service could take for the proxy's
own fields do not reach it, nor does `Proxy` (httpoxy).
"""

from collections.abc import Callable
from typing import Any

import pytest
from chaos.record import Seen
from chaos.upstream import ChaosUpstream
from integration.running_proxy import RunningProxy
from integration.settings import merged

EDGE = {
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "shop.example",
    "X-Forwarded-Port": "443",
    "X-Forwarded-For": "192.0.2.7",
}


@pytest.fixture
def asked(
    reload_proxy: Callable[..., RunningProxy], start_chaos: Callable[..., ChaosUpstream]
) -> Callable[..., Seen]:
    """What reaches the service of an inbound request with these fields."""

    def ask(fields: dict[str, str], **settings: Any) -> Seen:
        chaos = start_chaos()
        proxy = reload_proxy(merged({"upstreams": {"app": {"endpoints": [chaos.url]}}}, settings))
        assert proxy.call("GET", "/", fields, listener="inbound").status == 200
        return chaos.records[0]

    return ask


def test_it_stays(asked: Callable[..., Seen]) -> None:
    seen = asked(EDGE)
    for name in ("X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port"):
        assert seen.values(name) == [EDGE[name]]
    assert [one.replace(" ", "") for one in seen.values("X-Forwarded-For")] == [
        "192.0.2.7,127.0.0.1"
    ]


def test_without_an_edge_the_proxy_says_what_it_saw(asked: Callable[..., Seen]) -> None:
    assert asked({}).values("X-Forwarded-Proto") == ["http"]


@pytest.mark.parametrize("trust", ["none", ["192.0.2.0/24"]])
def test_from_a_peer_that_is_not_trusted_it_is_made_anew(
    asked: Callable[..., Seen], trust: Any
) -> None:
    forged = EDGE | {"Forwarded": "for=192.0.2.7;proto=https", "X-Real-IP": "192.0.2.7"}
    seen = asked(forged, listeners={"inbound": {"forwarded": {"trust": trust}}})
    assert seen.values("X-Forwarded-Proto") == ["http"]
    assert seen.values("X-Forwarded-For") == ["127.0.0.1"]
    for name in ("Forwarded", "X-Real-IP", "X-Forwarded-Port"):
        assert seen.values(name) == []


def test_other_spellings_and_proxy_do_not_reach_the_service(asked: Callable[..., Seen]) -> None:
    seen = asked(
        {
            "Proxy": "http://evil.example",
            "X_Forwarded_Proto": "https",
            "X-Forwarded_For": "192.0.2.9",
        }
    )
    names = {name.lower() for name, _ in seen.headers}
    assert not names & {"proxy", "x_forwarded_proto", "x-forwarded_for"}
