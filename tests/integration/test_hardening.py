"""Clients and upstreams that mean no good, or know no end: others are served, memory is bounded."""

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from chaos.upstream import ChaosUpstream
from integration.pki import Pki
from integration.raw_client import BrokenOff, RawClient, request_bytes
from integration.running_proxy import RunningProxy, eventually
from integration.settings import ONCE, Settings, route

MIB = 1024 * 1024
MAY_TAKE = 8 * MIB
LORISES = 1000
HEADER_TIMEOUT = 3.0


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy], shared_chaos: ChaosUpstream
) -> RunningProxy:
    proxy = module_proxy(
        {
            "upstreams": {"chaos": {"endpoints": [shared_chaos.url]}},
            "limits": {"header_timeout": f"{HEADER_TIMEOUT:g}s"},
            "policies": {"default": {"timeouts": {"attempt": "20s", "request": "30s"}}},
            "routes": [
                route("h", retry=ONCE),
                route("again"),
                route("long", retry=ONCE, timeouts={"max_duration": "600ms"}),
                route(
                    "one",
                    retry={"attempts": 2, "backoff": {"initial": "5s", "max": "5s"}},
                    bulkhead={"max_concurrent": 1, "max_queue": 5, "queue_timeout": "10s"},
                ),
            ],
        }
    )
    assert proxy.call("GET", "/h", chaos="size=100000").complete
    return proxy


@contextlib.contextmanager
def bounded_memory(proxy: RunningProxy, may_take: int = MAY_TAKE) -> Iterator[None]:
    """At the end of what happens inside, the proxy has not taken more than that."""
    before = proxy.memory
    yield
    taken = proxy.memory - before
    assert taken < may_take, f"{taken / MIB:.1f} MiB"


# --- what has no end ----------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["chunked", "until-close"])
def test_an_upstream_that_never_stops_sending(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, framing: str
) -> None:
    """Read by nobody, read for a while, left by its client: then the upstream is left as well."""
    request_id = f"endless-{framing}"
    with bounded_memory(proxy), proxy.client(receive_buffer=65536) as client:
        script = f"endless {framing}"
        client.send(request_bytes("GET", "/h", chaos=script, request_id=request_id))
        assert client.read_head().status == 200
        time.sleep(0.3)
        assert len(client.read_some(20 * MIB)) == 20 * MIB
        assert proxy.call("GET", "/h").status == 200
    (seen,) = shared_chaos.seen(request_id)
    assert seen.lost.wait(3)
    eventually(lambda: proxy.in_flight() == 0)


def test_max_duration_ends_what_never_ends(proxy: RunningProxy) -> None:
    with proxy.client() as client:
        client.send(request_bytes("GET", "/long", chaos="endless chunked", request_id="overlong"))
        with pytest.raises((BrokenOff, ConnectionError)):
            client.read_response()
    assert proxy.logged("overlong")["reason"] == "upstream-truncated"


def test_a_response_head_that_never_ends(proxy: RunningProxy) -> None:
    with bounded_memory(proxy):
        answers = [proxy.call("GET", "/h", chaos="endless-head") for _ in range(5)]
    assert [(one.status, one.why) for one in answers] == [(502, "upstream-malformed")] * 5
    assert proxy.call("GET", "/again", chaos="endless-head | size=3").status == 200


def test_a_hundred_thousand_chunks_each_way(
    proxy: RunningProxy, shared_chaos: ChaosUpstream
) -> None:
    number = 100_000
    with bounded_memory(proxy), proxy.client() as client:
        chunks = {"Transfer-Encoding": "chunked"}
        body = b"1\r\nx\r\n" * number + b"0\r\n\r\n"
        started = time.monotonic()
        up = client.request("POST", "/h", chunks, body, request_id="crumbs", chaos="size=2")
        down = client.request("GET", "/h", chaos=f"size={number} chunked pieces={number}")
        assert time.monotonic() - started < 10
    assert up.status == 200
    assert shared_chaos.seen("crumbs")[0].length == number
    assert len(down.body) == number


@pytest.mark.alone
@pytest.mark.long
def test_pressure_passes_through_tls_on_either_side(
    start_chaos: Callable[..., ChaosUpstream],
    start_proxy: Callable[..., RunningProxy],
    shared_chaos: ChaosUpstream,
    tmp_path: Path,
) -> None:
    (tmp_path / "pki").mkdir()
    pki = Pki(tmp_path / "pki")
    cert, key = pki.files("127.0.0.1")
    behind = start_chaos(tls=pki.server())
    proxy = start_proxy(
        {
            "listeners": {"inbound": {"tls": {"cert": cert, "key": key}}},
            "upstreams": {
                "app": {"endpoints": [shared_chaos.url]},
                "secure": {"endpoints": [behind.url], "tls": {"ca": pki.ca}},
            },
            "routes": [route("s", "secure", retry=ONCE)],
        }
    )
    small = {"receive_buffer": 65536}
    with ExitStack() as stack:
        inbound = stack.enter_context(proxy.client("inbound", tls=pki.client(), **small))
        outbound = stack.enter_context(proxy.client(**small))
        assert (inbound.request("GET", "/").status, outbound.request("GET", "/s").status) == (
            200,
            200,
        )
        with bounded_memory(proxy):
            for client, path in ((inbound, "/"), (outbound, "/s")):
                client.send(request_bytes("GET", path, chaos="endless chunked"))
                time.sleep(0.3)
                assert len(client.read_some(10 * MIB)) == 10 * MIB
            upload = stack.enter_context(proxy.client())
            length = {"Content-Length": str(50 * MIB)}
            upload.send(request_bytes("PUT", "/s", length, chaos="read-delay=5"))
            assert upload.send_some(b"u" * (50 * MIB), timeout=0.3) < 30 * MIB


# --- clients that mean no good ------------------------------------------------------------------


@pytest.mark.alone
@pytest.mark.long
def test_a_thousand_slow_clients_disturb_nobody(proxy: RunningProxy) -> None:
    """Half a head each, a byte more now and then; their time does not begin anew with it."""
    with ExitStack() as stack:
        began = time.monotonic()
        slow = [stack.enter_context(proxy.client(timeout=20)) for _ in range(LORISES)]
        for client in slow:
            client.send(b"GET /h HTTP/1.1\r\nHost: a\r\nX-A: ")
        before = proxy.cpu_seconds
        waits = []
        while time.monotonic() - began < HEADER_TIMEOUT * 0.9:
            waits.append(proxy.call("GET", "/h").elapsed)
            for client in slow[:: LORISES // 20]:
                client.send(b"a")
            time.sleep(0.05)
        assert proxy.cpu_seconds - before < 1.5
        assert len(waits) > 3
        assert sorted(waits)[len(waits) // 2] < 0.2
        answers = [client.read_response() for client in slow[:: LORISES // 20]]
        assert {(one.status, one.why) for one in answers} == {(408, "header-timeout")}
    eventually(lambda: proxy.metric("proxy_connections", listener="outbound") == 0, timeout=10)


def test_an_early_answer_reaches_a_client_that_goes_on_sending(proxy: RunningProxy) -> None:
    """With the connection's end behind it, and no reset that would destroy it on its way."""
    for number in range(5):
        with proxy.client() as client:
            length = {"Content-Length": str(50 * MIB)}
            script = f"413 early close size={number * 5000}"
            client.send(request_bytes("PUT", "/h", length, chaos=script))
            with contextlib.suppress(ConnectionError):
                client.send_some(b"x" * (8 * MIB), timeout=0.2)
            response = client.read_response("PUT")
            assert (response.status, len(response.body)) == (413, number * 5000)
            assert client.closed()
    eventually(lambda: proxy.in_flight() == 0)


def test_pipelined_requests_without_reading_an_answer(proxy: RunningProxy) -> None:
    """The client stops being read from: what waits is bounded, whatever it sends."""
    flood = request_bytes("GET", "/h", chaos="size=100000") * 200_000
    with bounded_memory(proxy), proxy.client(receive_buffer=4096) as client:
        sent = client.send_some(flood, timeout=0.5)
        assert sent < len(flood)
        assert proxy.call("GET", "/h").status == 200
    eventually(lambda: proxy.in_flight() == 0)


STAGES = {
    "waiting for a place": "size=3",
    "waiting for the head": "hang",
    "waiting for another attempt": "503 header=Retry-After:2 | 200",
    "in the middle of the body": "size=1000000 pieces=1000 interval=0.01",
    "with the body unread": f"size={64 * MIB}",
    "after half a head": "hang-in-head",
}


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_client_that_leaves_gives_its_place_back(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, stage: str, how: str
) -> None:
    with ExitStack() as stack:
        if stage == "waiting for a place":
            first = stack.enter_context(proxy.client())
            first.send(request_bytes("GET", "/one", chaos="hang"))
            eventually(lambda: proxy.bulkhead("one")["in_use"] == 1)
        client = stack.enter_context(proxy.client(receive_buffer=65536))
        client.send(request_bytes("GET", "/one", chaos=STAGES[stage]))
        waiting = "queued" if stage == "waiting for a place" else "in_use"
        eventually(lambda: proxy.bulkhead("one")[waiting] == 1)
        time.sleep(0.05)
        _leave(client, how)
        eventually(lambda: proxy.bulkhead("one")[waiting] == 0)
    eventually(lambda: proxy.in_flight() == 0)
    assert proxy.bulkhead("one")["in_use"] == 0


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_leaves_in_its_own_body(
    proxy: RunningProxy, shared_chaos: ChaosUpstream, how: str
) -> None:
    request_id = f"half-{how}"
    client = proxy.client()
    length = {"Content-Length": "1000000"}
    client.send(request_bytes("POST", "/one", length, request_id=request_id) + b"x" * 100_000)
    (seen,) = shared_chaos.wait_seen(request_id)
    _leave(client, how)
    assert seen.lost.wait(3)
    assert not seen.complete.is_set()
    eventually(lambda: proxy.bulkhead("one")["in_use"] == 0)


def _leave(client: RawClient, how: str) -> None:
    client.close() if how == "close" else client.reset()


def test_connections_that_are_reset_as_they_are_made(proxy: RunningProxy) -> None:
    """Before they are accepted, or with a request already sent."""
    files = proxy.open_files
    for number in range(300):
        with socket.create_connection(("127.0.0.1", proxy.outbound)) as one:
            if number % 2:
                one.sendall(request_bytes("GET", "/h"))
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    eventually(lambda: proxy.in_flight() == 0)
    eventually(lambda: proxy.open_files <= files + 2, timeout=8)
    assert proxy.call("GET", "/h").status == 200
    proxy.assert_sound()
