"""A site that answers `999 Request denied` was called malformed, and asked three times.

Statuses from 600 to 999 pass as they came and count as 5xx (RFC 9110 §15).
"""

from collections.abc import Callable

import pytest
from integration.running_proxy import RunningProxy
from integration.settings import breaker
from issues.bed import RawUpstream, Serve, answer_each

BODY = b"no robots please"


@pytest.mark.parametrize("status", [600, 777, 999])
def test_it_passes_and_counts_as_a_failure(
    reload_proxy: Callable[..., RunningProxy],
    start_raw: Callable[[Serve], RawUpstream],
    status: int,
) -> None:
    head = b"HTTP/1.1 %d Request denied\r\nContent-Length: %d\r\n\r\n" % (status, len(BODY))
    upstream = start_raw(answer_each(head + BODY))
    proxy = reload_proxy(
        {
            "upstreams": {"app": {"endpoints": [upstream.url]}},
            "routes": [{"name": "a", "upstream": "app", "circuit_breaker": breaker(calls=10)}],
        }
    )
    with proxy.client() as client:
        answer = client.request("GET", "/", request_id=f"status-{status}")
        again = client.request("GET", "/")
    assert (answer.status, answer.reason, answer.body) == (status, "Request denied", BODY)
    assert (again.status, again.body) == (status, BODY)
    line = proxy.logged(f"status-{status}")
    assert (line["status"], len(line["attempts"])) == (status, 1)
    state = proxy.breaker("a")
    assert (state["calls"], state["failures"]) == (2, 2)


@pytest.mark.parametrize("status", [b"099", b"1000", b"20", b"2 0", b"-20", b"abc"])
def test_what_is_no_status_is_still_malformed(
    reload_proxy: Callable[..., RunningProxy],
    start_raw: Callable[[Serve], RawUpstream],
    status: bytes,
) -> None:
    upstream = start_raw(answer_each(b"HTTP/1.1 %s X\r\nContent-Length: 0\r\n\r\n" % status))
    proxy = reload_proxy(
        {
            "upstreams": {"app": {"endpoints": [upstream.url]}},
            "routes": [{"name": "a", "upstream": "app"}],
        }
    )
    answer = proxy.call("GET", "/")
    assert (answer.status, answer.why) == (502, "upstream-malformed")
