"""A route's regular expression and 40 bytes of a path held up every request for seconds."""

import time
from collections.abc import Callable

import pytest
from chaos.upstream import ChaosUpstream
from integration.running_proxy import RunningProxy

NESTED = "([a-z0-9]+-?)+"


@pytest.fixture(scope="module")
def proxy(module_proxy: Callable[..., RunningProxy], shared_chaos: ChaosUpstream) -> RunningProxy:
    return module_proxy(
        {
            "upstreams": {"chaos": {"endpoints": [shared_chaos.url]}},
            "routes": [
                {"name": "path", "match": {"regex": f"/articles/{NESTED}"}},
                {"name": "header", "match": {"headers": {"x-a": {"regex": NESTED}}}},
                {"name": "query", "match": {"query": {"a": {"regex": NESTED}}}},
                {"name": "rest", "upstream": "chaos"},
            ],
        }
    )


@pytest.mark.parametrize("size", [35, 15_000])
def test_a_hostile_text_takes_no_time(proxy: RunningProxy, size: int) -> None:
    text = "a" * size + "!"
    with proxy.client() as client:
        started = time.monotonic()
        for target, fields in (
            (f"/articles/{text}", {}),
            ("/", {"X-A": text}),
            (f"/?a={text}", {}),
        ):
            answer = client.request("GET", target, fields)
            assert answer.status == 200
            assert proxy.logged(answer.id)["route"] == "rest"
        assert time.monotonic() - started < 2.0  # without a bound: hours
