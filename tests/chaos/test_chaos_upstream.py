"""The chaos upstream does what its script says: the other tests believe it."""

from collections.abc import Iterator

import pytest
from chaos.script import parse_script, pattern
from chaos.upstream import ChaosUpstream
from integration.raw_client import BrokenOff, RawClient


@pytest.fixture(scope="module")
def chaos() -> Iterator[ChaosUpstream]:
    upstream = ChaosUpstream().start()
    yield upstream
    upstream.stop()


@pytest.fixture
def client(chaos: ChaosUpstream) -> Iterator[RawClient]:
    with RawClient(chaos.port, timeout=3) as one:
        yield one


def test_steps_follow_each_other_and_the_last_one_stays(client: RawClient) -> None:
    script = {"x-chaos": "503 header=Retry-After:1 | 404 | 200 size=5", "x-request-id": "steps"}
    statuses = [client.request("GET", "/", script).status for _ in range(4)]
    assert statuses == [503, 404, 200, 200]


def test_an_unknown_word_is_an_error() -> None:
    with pytest.raises(ValueError, match="tiemout"):
        parse_script("200 tiemout")


def test_records_the_request(client: RawClient, chaos: ChaosUpstream) -> None:
    client.request("POST", "/a?b", request_id="record", body=b"hello")
    (seen,) = chaos.seen("record")
    assert (seen.method, seen.target, bytes(seen.body)) == ("POST", "/a?b", b"hello")
    assert seen.complete.is_set()


def test_chunked_both_ways_with_trailers(client: RawClient, chaos: ChaosUpstream) -> None:
    head = {"Transfer-Encoding": "chunked", "X-Chaos": "chunked echo pieces=2 trailer=X-Sum:ab"}
    client.send(
        b"POST / HTTP/1.1\r\nX-Request-Id: chunks\r\n"
        + b"".join(f"{k}: {v}\r\n".encode() for k, v in head.items())
        + b"\r\n5\r\nhello\r\n0\r\nX-In: 1\r\n\r\n"
    )
    response = client.read_response("POST")
    assert response.body == b"hello"
    assert response.trailers == [("X-Sum", "ab")]
    assert chaos.seen("chunks")[0].trailers == [("X-In", "1")]


@pytest.mark.parametrize("framing", ["", "chunked"])
@pytest.mark.parametrize("rst", ["", "rst"])
def test_truncates(client: RawClient, framing: str, rst: str) -> None:
    with pytest.raises((BrokenOff, ConnectionError)):
        client.request("GET", "/", chaos=f"size=1000 truncate=100 {framing} {rst}")


@pytest.mark.parametrize("fault", ["reset-before-body", "reset-before-head", "reset-in-head"])
def test_resets(client: RawClient, fault: str) -> None:
    with pytest.raises((BrokenOff, ConnectionError)):
        client.request("GET", "/", chaos=fault)


def test_notices_that_the_client_left(client: RawClient, chaos: ChaosUpstream) -> None:
    with RawClient(chaos.port) as other:
        other.send(b"GET / HTTP/1.1\r\nX-Chaos: hang\r\nX-Request-Id: left\r\n\r\n")
        (seen,) = chaos.wait_seen("left")
        assert not seen.lost.is_set()
    assert seen.lost.wait(2)


@pytest.mark.parametrize(
    ("script", "before"), [("held", b""), ("held-body size=4 pieces=2", b"00")]
)
def test_holds_back_until_it_is_let_go(
    client: RawClient, chaos: ChaosUpstream, script: str, before: bytes
) -> None:
    client.send(b"GET /held HTTP/1.1\r\nX-Request-Id: %b\r\n" % script[:9].encode())
    client.send(b"X-Chaos: %b\r\n\r\n" % script.encode())
    (seen,) = chaos.wait_seen(script[:9])
    if before:
        assert client.read_head().status == 200
        assert client.read_some(2) == before
    assert client.stays_open(0.05)
    assert not seen.answered.is_set()
    chaos.let_go("/held")
    if before:
        assert client.read_some(2) == b"00"
    else:
        assert client.read_response().body == b"ok"
    assert seen.answered.wait(2)


def test_restart_keeps_the_port() -> None:
    upstream = ChaosUpstream().start()
    port = upstream.port
    with RawClient(port) as client:
        assert client.request("GET", "/").status == 200
        upstream.pause()
        assert client.closed()
    with pytest.raises(ConnectionRefusedError):
        RawClient(port)
    upstream.resume()
    with RawClient(port) as client:
        assert client.request("GET", "/").status == 200
    upstream.stop()


def test_every_stretch_of_the_pattern_differs() -> None:
    assert pattern(20) == b"0000000\n0000001\n0000"
    assert len(pattern(1_000_003)) == 1_000_003
