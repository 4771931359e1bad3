"""Bytes behind a CONNECT that was refused ran as a request of their own.

A client that sends CONNECT speaks another protocol from then on: a refusal closes the connection.
"""

import time
import uuid
from collections.abc import Callable

import pytest
from chaos.upstream import ChaosUpstream
from integration.raw_client import BrokenOff, RawClient
from integration.running_proxy import RunningProxy


@pytest.fixture
def proxy(reload_proxy: Callable[..., RunningProxy], shared_chaos: ChaosUpstream) -> RunningProxy:
    chaos = {"endpoints": [shared_chaos.url]}
    return reload_proxy(
        {
            "upstreams": {"chaos": chaos, "app": chaos},
            "egress": {"allow": ["127.0.0.1", "a"], "connect_ports": [443]},
            "routes": [{"name": "a", "match": {"hosts": ["a"]}, "upstream": "chaos"}],
        }
    )


def _smuggle(client: RawClient, authority: str, request_id: str) -> None:
    client.send(
        f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n"
        f"GET /smuggled HTTP/1.1\r\nHost: a\r\nX-Request-Id: {request_id}\r\n\r\n".encode()
    )


@pytest.mark.parametrize(
    ("listener", "authority", "status"),
    [
        ("outbound", "b:443", {403}),
        ("outbound", "127.0.0.1:443", {502}),
        ("inbound", "a:443", {400, 403, 405, 501}),
    ],
    ids=["denied", "unreachable", "inbound"],
)
def test_a_refused_connect_closes(
    proxy: RunningProxy,
    shared_chaos: ChaosUpstream,
    listener: str,
    authority: str,
    status: set[int],
) -> None:
    request_id = uuid.uuid4().hex
    with proxy.client(listener) as client:
        _smuggle(client, authority, request_id)
        answer = client.read_response("CONNECT_REFUSED")
        assert answer.status in status
        assert client.closed()
    time.sleep(0.05)
    assert not shared_chaos.seen(request_id)


def test_behind_a_connect_for_plain_http_another_host_is_refused(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    """Outside `connect_ports` plain HTTP follows, for the authority that was asked for alone."""
    request_id = uuid.uuid4().hex
    with proxy.client() as client:
        _smuggle(client, shared_chaos.authority, request_id)
        assert client.read_head().status == 200
        assert client.read_response().status == 400
        assert client.closed()
    assert not shared_chaos.seen(request_id)


def test_plain_http_behind_a_connect_is_carried(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    authority = shared_chaos.authority
    with proxy.client() as client:
        client.send(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        assert client.read_head().status == 200
        answers = [client.request("GET", "/x", host=authority, chaos="503 | 200") for _ in "12"]
        assert [one.status for one in answers] == [200, 200]
        client.send(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        assert client.read_response("CONNECT_REFUSED").status == 400
        with pytest.raises((BrokenOff, ConnectionError)):
            client.request("GET", "/x", host=authority)
