"""`headers.request.set: {x-forwarded-proto: https}` sent two such fields; `remove` did nothing.

A route's `headers` rules are the last word on every field that they may name.
"""

from collections.abc import Callable

import pytest
from chaos.upstream import ChaosUpstream
from integration.running_proxy import RunningProxy
from integration.settings import Settings

SET = {"x-forwarded-proto": "https", "X-Request-Id": "fixed", "x-forwarded-for": "192.0.2.1"}


def _inbound(chaos: ChaosUpstream, rules: Settings) -> Settings:
    return {
        "upstreams": {"app": {"endpoints": [chaos.url]}},
        "routes": [
            {"name": "in", "listener": "inbound", "upstream": "app", "headers": {"request": rules}}
        ],
    }


@pytest.mark.parametrize("given", [{}, {"X-Forwarded-Proto": "http"}])
def test_set_replaces_and_stands_once(
    reload_proxy: Callable[..., RunningProxy],
    start_chaos: Callable[..., ChaosUpstream],
    given: dict[str, str],
) -> None:
    chaos = start_chaos()
    proxy = reload_proxy(_inbound(chaos, {"set": SET}))
    assert proxy.call("GET", "/", given, listener="inbound").status == 200
    (seen,) = chaos.records
    for name, value in SET.items():
        assert seen.values(name) == [value]


def test_remove_removes(
    reload_proxy: Callable[..., RunningProxy], start_chaos: Callable[..., ChaosUpstream]
) -> None:
    chaos = start_chaos()
    removed = ["traceparent", "X-Request-Id", "x-forwarded-for", "x-request-timeout-ms"]
    proxy = reload_proxy(_inbound(chaos, {"remove": removed}))
    given = {"Traceparent": f"00-{'1' * 32}-{'2' * 16}-01"}
    assert proxy.call("GET", "/", given, listener="inbound").status == 200
    (seen,) = chaos.records
    for name in removed:
        assert seen.values(name) == []


def test_a_response_too(
    reload_proxy: Callable[..., RunningProxy], shared_chaos: ChaosUpstream
) -> None:
    rules = {"response": {"remove": ["x-request-id"], "set": {"server": "ours"}}}
    proxy = reload_proxy(
        {
            "upstreams": {"chaos": {"endpoints": [shared_chaos.url]}},
            "routes": [{"name": "a", "upstream": "chaos", "headers": rules}],
        }
    )
    answer = proxy.call("GET", "/", chaos="header=Server:theirs")
    assert answer.values("x-request-id") == []
    assert answer.values("server") == ["ours"]
