"""1,000 requests, each for another host of 60 kB, made the process 175 MiB larger for good.

A host is at most 253 bytes (RFC 1035 §2.3.4). A longer one is refused and leaves nothing behind.
"""

from collections.abc import Callable

import pytest
from integration.running_proxy import RunningProxy
from issues.bed import MIB

LONGEST = ".".join(["a" * 63] * 3 + ["b" * 61])


@pytest.mark.parametrize("listener", ["outbound", "inbound"])
def test_they_are_refused_and_forgotten(
    start_plain: Callable[..., RunningProxy], listener: str
) -> None:
    proxy = start_plain({"access_log": {"requests": "none"}})
    long = "x" * 60_000
    for number in range(5):  # buffers that any first requests bring about
        proxy.call("GET", "/", host=f"h{number}.{long}", listener=listener)
    before = proxy.memory
    for number in range(100):
        answer = proxy.call("GET", "/", host=f"g{number}.{long}", listener=listener)
        assert (answer.status, answer.why) == (400, "bad-request")
    assert proxy.memory - before < 4 * MIB
    assert len(proxy.ask("GET", "/metrics")[1]) < MIB


def test_253_bytes_are_a_name_and_254_are_none(start_plain: Callable[..., RunningProxy]) -> None:
    assert len(LONGEST) == 253
    proxy = start_plain({"egress": {"allow": ["none.test"]}})
    for target in ("/", "http://{}/", "http://{}:8080/"):
        assert proxy.call("GET", target.format(LONGEST), host=LONGEST).status == 403, target
        answer = proxy.call("GET", target.format("c" + LONGEST), host="c" + LONGEST)
        assert (answer.status, answer.why) == (400, "bad-request"), target
    authority = f"c{LONGEST}:443"
    assert proxy.call("CONNECT", authority, host=authority).status == 400
