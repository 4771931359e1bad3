"""A tracestate with keys of level 2, or with one key twice, was dropped whole.

W3C Trace Context level 2, §3.3: such keys are valid; of duplicates one is kept.
"""

from collections.abc import Callable

import pytest
from chaos.upstream import ChaosUpstream
from integration.running_proxy import RunningProxy
from integration.settings import Settings, route

TRACEPARENT = f"00-{'1' * 32}-{'2' * 16}-01"
LONG = "t" * 242 + "@v=1"


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy], shared_chaos: ChaosUpstream
) -> RunningProxy:
    chaos = {"endpoints": [shared_chaos.url]}
    return module_proxy({"upstreams": {"chaos": chaos}, "routes": [route("a")]})


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("foo=1,foo=2", [["foo=1"], ["foo=2"]]),
        ("foo=1,bar=2,foo=3", [["foo=1", "bar=2"], ["bar=2", "foo=3"]]),
        ("foo@=1,bar=2", [["foo@=1", "bar=2"]]),
        ("@foo=1,bar=2", [["@foo=1", "bar=2"], []]),
        (LONG, [[LONG]]),
        ("0foo=1", [["0foo=1"]]),
        ("foo-_*/=1", [["foo-_*/=1"]]),
    ],
)
def test_level_2_keys_and_duplicates(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, given: str, kept: list[list[str]]
) -> None:
    fields = {"traceparent": TRACEPARENT, "tracestate": given}
    answer = proxy.call("GET", "/a", fields)
    (seen,) = shared_chaos.seen(answer.id)
    members = [one.strip() for value in seen.values("tracestate") for one in value.split(",")]
    assert members in kept
    assert (seen.header("traceparent") or "").split("-")[1] == "1" * 32
