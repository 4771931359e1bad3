"""256 uploads of a byte every few seconds closed the inbound listener for everybody else.

300 of them fit beside each other now. Where they fill every place of the bulkhead, the slowest
one gives its place to a request that waits for none of its client's bytes.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from chaos.upstream import ChaosUpstream
from integration.raw_client import RawClient
from integration.running_proxy import RunningProxy, eventually

HEAD = b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nx"


def _uploads(proxy: RunningProxy, number: int, stack: ExitStack) -> list[RawClient]:
    """So many clients that have sent a head and one byte, all of them in flight."""
    before = proxy.in_flight()
    clients = [stack.enter_context(proxy.client("inbound")) for _ in range(number)]
    for client in clients:
        client.send(HEAD)
    eventually(lambda: proxy.in_flight() >= before + number, timeout=10)
    return clients


def test_three_hundred_of_them_disturb_nobody(
    start_plain: Callable[..., RunningProxy], shared_chaos: ChaosUpstream
) -> None:
    proxy = start_plain({"upstreams": {"app": {"endpoints": [shared_chaos.url]}}})
    with ExitStack() as stack:
        _uploads(proxy, 300, stack)
        with proxy.client("inbound") as client:
            assert [client.request("GET", "/").status for _ in range(50)] == [200] * 50


def test_where_they_fill_every_place_the_slowest_gives_its_own(
    start_plain: Callable[..., RunningProxy], shared_chaos: ChaosUpstream
) -> None:
    proxy = start_plain(
        {
            "upstreams": {"app": {"endpoints": [shared_chaos.url]}},
            "policies": {"inbound": {"bulkhead": {"max_concurrent": 8}}},
        }
    )
    with ExitStack() as stack:
        slow = _uploads(proxy, 8, stack)
        time.sleep(0.1)
        for client in slow[1:]:
            client.send(b"x" * 500)
        time.sleep(0.05)
        with proxy.client("inbound") as client:
            assert client.request("GET", "/").status == 200
            answer = slow[0].read_response("POST")
            assert (answer.status, answer.why) == (408, "body-timeout")
            # One place was enough: it is free again for all who come one after another.
            assert [client.request("GET", "/").status for _ in range(20)] == [200] * 20
        for other in slow[1:]:
            other.send(b"x" * 499)
        assert {other.read_response("POST").status for other in slow[1:]} == {200}


@pytest.mark.alone
@pytest.mark.long
def test_a_client_slower_than_body_rate_is_told_so_and_a_slow_service_is_not_blamed_on_it(
    start_plain: Callable[..., RunningProxy], shared_chaos: ChaosUpstream
) -> None:
    """Only time in which the proxy waited for the client counts, after five seconds of it."""
    proxy = start_plain({"upstreams": {"app": {"endpoints": [shared_chaos.url]}}})
    with proxy.client("inbound", timeout=15) as trickling, proxy.client("inbound") as patient:
        trickling.send(HEAD)
        patient.send(
            b"POST /p HTTP/1.1\r\nHost: a\r\nX-Chaos: delay=6\r\nContent-Length: 1\r\n\r\nx"
        )
        started = time.monotonic()
        answer = trickling.read_response("POST")
        took = time.monotonic() - started
        assert (answer.status, answer.why) == (408, "body-timeout")
        assert 4.5 < took < 9
        assert patient.read_response("POST").status == 200
