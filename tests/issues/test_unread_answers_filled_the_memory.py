"""A client sent 15 MB of requests that the proxy answers itself, and read nothing: +211 MiB.

The proxy's own answers know backpressure too: it stops reading from a client that does not read,
and ends the connection after `limits.idle_timeout`.
"""

from collections.abc import Callable

import pytest
from integration.running_proxy import RunningProxy, eventually
from issues.bed import MIB

EXPIRED = b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-Timeout-Ms: 0\r\n\r\n"
DENIED = b"GET / HTTP/1.1\r\nHost: denied.test\r\n\r\n"


@pytest.mark.parametrize("request_", [EXPIRED, DENIED], ids=["expired", "denied"])
@pytest.mark.parametrize("listener", ["outbound", "inbound"])
def test_a_client_that_reads_no_answer_is_not_read_from(
    start_plain: Callable[..., RunningProxy], request_: bytes, listener: str
) -> None:
    if listener == "inbound" and request_ is DENIED:
        request_ = EXPIRED.replace(b"GET", b"PUT")
    proxy = start_plain(
        {
            "egress": {"allow": ["allowed.test"]},
            "limits": {"idle_timeout": "2s"},  # longer than the client waits in vain
            "access_log": {"requests": "none"},
        }
    )
    before = proxy.memory
    with proxy.client(listener, receive_buffer=4096) as client:
        client.send_some(request_ * (15_000_000 // len(request_)), timeout=0.25)
        assert proxy.memory - before < 12 * MIB
        eventually(lambda: proxy.metric("proxy_connections", listener=listener) == 0)
    assert proxy.memory - before < 12 * MIB


def test_a_client_that_reads_gets_every_answer_in_order(
    start_plain: Callable[..., RunningProxy],
) -> None:
    """Backpressure loses nothing, and the connection goes on."""
    proxy = start_plain({"access_log": {"requests": "none"}})
    number = 1_000
    with proxy.client() as client:
        client.send_some(EXPIRED * number, timeout=5)
        answers = [client.read_response() for _ in range(number)]
    assert {one.why for one in answers} == {"request-timeout"}
