"""Whoever breaks off: a broken response never looks whole, a client that left frees everything."""

import time
from collections.abc import Callable

import pytest
from chaos.script import pattern
from chaos.upstream import ChaosUpstream
from integration.raw_client import BrokenOff, request_bytes
from integration.running_proxy import RunningProxy, eventually
from integration.settings import Settings, route


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy], shared_chaos: ChaosUpstream
) -> RunningProxy:
    chaos = {"endpoints": [shared_chaos.url]}
    slow = {"initial": "5s", "max": "5s", "jitter": "none"}
    return module_proxy(
        {
            "upstreams": {"chaos": chaos, "app": chaos},
            "routes": [route("b"), route("waits", retry={"backoff": slow})],
        }
    )


@pytest.mark.parametrize("rst", ["", "rst"])
@pytest.mark.parametrize(
    "framing", ["size=10000", "size=10000 chunked", "size=500000", "size=500000 chunked"]
)
def test_a_truncated_response_never_looks_whole(
    proxy: RunningProxy, framing: str, rst: str
) -> None:
    before = proxy.metric("proxy_requests_total", route="b", reason="upstream-truncated")
    request_id = f"cut {framing} {rst}".replace(" ", "-")
    with proxy.client() as client, pytest.raises((BrokenOff, ConnectionError)) as caught:
        client.request("GET", "/b", chaos=f"{framing} truncate=5000 {rst}", request_id=request_id)
    if isinstance(caught.value, BrokenOff) and caught.value.response is not None:
        body = caught.value.response.body
        assert body == pattern(len(body)), "what did come is right"
    line = proxy.logged(request_id)
    assert line["reason"] == "upstream-truncated"
    assert len(line["attempts"]) == 1, "what has gone to the client is not tried again"
    after = proxy.metric("proxy_requests_total", route="b", reason="upstream-truncated")
    assert after == before + 1


def test_a_truncated_chunked_response_to_a_10_client_is_a_reset(proxy: RunningProxy) -> None:
    """Framed by the end of the connection, only an RST tells a cut from an end."""
    script = "size=10000 chunked truncate=5000"
    with proxy.client() as client:
        client.send(request_bytes("GET", "/b", version="HTTP/1.0", chaos=script))
        with pytest.raises((BrokenOff, ConnectionError)):
            client.read_response()


def test_a_truncated_head_request_is_no_truncation(proxy: RunningProxy) -> None:
    assert proxy.call("HEAD", "/b", chaos="size=1000 truncate=10").status == 200


# --- the client leaves --------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("listener", ["outbound", "inbound"])
@pytest.mark.parametrize(
    "script", ["hang", "size=1000000 pieces=100 interval=0.05", "size=100 stall=50"]
)
def test_a_client_that_leaves_cancels_the_upstreams_work(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, script: str, listener: str, how: str
) -> None:
    request_id = f"{how}-{listener}-{script.split()[0]}-{script[-2:]}"
    client = proxy.client(listener)
    client.send(request_bytes("GET", "/b", chaos=script, request_id=request_id))
    (seen,) = shared_chaos.wait_seen(request_id)
    state = proxy.state("/in-flight")
    assert [one["request_id"] for one in state["requests"]] == [request_id]
    assert state[listener] == 1
    getattr(client, how)()
    assert seen.lost.wait(5), "the upstream sees its connection closed"
    eventually(lambda: proxy.in_flight() == 0)
    assert proxy.logged(request_id)["reason"] == "client-gone"


@pytest.mark.parametrize(
    ("framing", "sent"),
    [
        ("Content-Length: 100", b"x" * 50),
        ("Transfer-Encoding: chunked", b"5\r\nhello\r\n"),
        ("Transfer-Encoding: chunked", b"5\r\nhel"),
        ("Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n"),
    ],
)
def test_a_client_that_leaves_in_the_middle_of_its_upload(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, framing: str, sent: bytes
) -> None:
    """What broke off does not look whole upstream either."""
    request_id = f"half-upload-{len(sent)}"
    name, _, value = framing.partition(": ")
    with proxy.client() as client:
        client.send(request_bytes("POST", "/b", {name: value}, request_id=request_id) + sent)
        (seen,) = shared_chaos.wait_seen(request_id)
    assert seen.lost.wait(5)
    assert not seen.complete.is_set()
    assert seen.length <= len(sent)
    eventually(lambda: proxy.in_flight() == 0)
    assert proxy.logged(request_id)["reason"] == "client-gone"


def test_a_client_that_leaves_while_a_retry_waits(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    with proxy.client() as client:
        client.send(request_bytes("GET", "/waits", chaos="503 | 200", request_id="waits-left"))
        shared_chaos.wait_seen("waits-left")
        time.sleep(0.05)
        assert proxy.in_flight() == 1
    eventually(lambda: proxy.in_flight() == 0)
    assert len(shared_chaos.seen("waits-left")) == 1


def test_nothing_is_left_behind(proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    """After a hundred that left: no request in flight, no connection, no growing table of files."""
    eventually(lambda: proxy.in_flight() == 0)
    before = proxy.open_files
    for _ in range(100):
        with proxy.client() as client:
            client.send(request_bytes("GET", "/b", chaos="hang"))
    eventually(lambda: proxy.in_flight() == 0)
    eventually(lambda: proxy.metric("proxy_connections", listener="outbound") == 0)
    eventually(lambda: proxy.open_files <= before + 5)
