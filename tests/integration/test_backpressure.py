"""Memory stays bounded whatever the size of a body and however slow the reader."""

import hashlib
import time
from collections.abc import Callable

import pytest
from chaos.script import pattern
from chaos.upstream import ChaosUpstream
from integration.raw_client import request_bytes
from integration.running_proxy import RunningProxy, eventually
from integration.settings import route

MIB = 1024 * 1024


@pytest.fixture
def proxy(start_proxy: Callable[..., RunningProxy], shared_chaos: ChaosUpstream) -> RunningProxy:
    proxy = start_proxy(
        {
            "upstreams": {"chaos": {"endpoints": [shared_chaos.url]}},
            "routes": [route("big", timeouts={"attempt": "20s", "request": "30s"})],
        }
    )
    assert proxy.call("GET", "/big", chaos="size=100000").complete
    return proxy


@pytest.mark.parametrize(
    "framing", ["", pytest.param("chunked pieces=800", marks=pytest.mark.long)]
)
def test_a_client_that_does_not_read_200_mb(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, framing: str
) -> None:
    before = proxy.memory
    with proxy.client(receive_buffer=65536) as client:
        client.send(request_bytes("GET", "/big", chaos=f"size={200 * MIB} {framing}"))
        assert client.read_head().status == 200
        peak = before
        for _ in range(10):
            time.sleep(0.05)
            peak = max(peak, proxy.memory)
        assert peak - before < 8 * MIB
        assert proxy.in_flight() == 1
        assert proxy.call("GET", "/big").status == 200, "others are served meanwhile"
    eventually(lambda: proxy.in_flight() == 0)


@pytest.mark.long
def test_a_200_mb_download_comes_whole(proxy: RunningProxy) -> None:
    before = proxy.memory
    expected = hashlib.sha256(pattern(200 * MIB)).hexdigest()
    found = hashlib.sha256()
    with proxy.client() as client:
        client.send(request_bytes("GET", "/big", chaos=f"size={200 * MIB}"))
        assert client.read_head().status == 200
        for _ in range(200):
            found.update(client.read_some(MIB))
        assert proxy.memory - before < 16 * MIB
    assert found.hexdigest() == expected


def test_an_upstream_that_does_not_read_the_upload(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    """The pressure reaches the client: it cannot send what nobody takes."""
    before = proxy.memory
    body = b"u" * (50 * MIB)
    with proxy.client() as client:
        length = {"Content-Length": str(len(body))}
        client.send(request_bytes("PUT", "/big", length, chaos="read-delay=1", request_id="slow"))
        sent = client.send_some(body, timeout=0.3)
        assert sent < 30 * MIB
        assert proxy.memory - before < 8 * MIB
        client.send(body[sent:])
        assert client.read_response("PUT").status == 200
    (seen,) = shared_chaos.seen("slow")
    assert seen.length == len(body)
    assert seen.digest == hashlib.sha256(body).hexdigest()


def test_a_large_chunked_upload_streams(proxy: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    before = proxy.memory
    piece = pattern(MIB)
    digest = hashlib.sha256()
    with proxy.client() as client:
        chunked = {"Transfer-Encoding": "chunked"}
        client.send(request_bytes("PUT", "/big", chunked, chaos="200", request_id="streamed"))
        for number in range(40):
            client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            digest.update(piece)
            if number == 3:
                shared_chaos.wait_seen("streamed")
                shared_chaos.wait(lambda: shared_chaos.seen("streamed")[0].length > 2 * MIB)
        client.send(b"0\r\n\r\n")
        assert client.read_response("PUT").status == 200
    (seen,) = shared_chaos.seen("streamed")
    assert (seen.length, seen.digest) == (40 * MIB, digest.hexdigest())
    assert proxy.memory - before < 8 * MIB
