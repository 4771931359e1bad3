"""Clients that turn HTTP/2 against the proxy: what it costs upstream, and a neighbour's answers.

Each attack comes on a connection of its own, with a normal client beside it, which is answered all
the time. `upstream work` counts requests that an attack caused there.
"""

import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from chaos.upstream import ChaosUpstream
from integration.http2_client import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    SETTINGS,
    Http2Client,
    frame,
    literal,
    rst,
    settings,
    window,
)
from integration.running_proxy import RunningProxy, eventually
from integration.settings import ONCE, Settings, route

MIB = 1024 * 1024
MAY_TAKE = 8 * MIB
MAY_WAIT = 1.0
"""Seconds for which the proxy may be at work until a neighbour has its answer."""
STREAMS = 100
BURST = 200
SPARE = 40
"""Resets that a bucket refills while an attack runs."""
HEADER_TIMEOUT = 0.7
IDLE = 0.5


@pytest.fixture(scope="module")
def upstream() -> Iterator[ChaosUpstream]:
    made = ChaosUpstream().start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy], upstream: ChaosUpstream
) -> RunningProxy:
    return module_proxy(
        {
            "upstreams": {
                "chaos": {"endpoints": [upstream.url], "connections": {"max": 500}},
            },
            "limits": {"streams": STREAMS, "header_timeout": f"{HEADER_TIMEOUT:g}s"},
            "access_log": {"requests": "none"},
            "policies": {
                "default": {
                    "retry": ONCE,
                    "bulkhead": {"max_concurrent": 500},
                    "timeouts": {"idle": f"{IDLE:g}s"},
                }
            },
            "routes": [route("hang"), route("quick"), route("big"), route("neighbour")],
        }
    )


@pytest.fixture(autouse=True)
def rules(upstream: ChaosUpstream) -> None:
    upstream.rules.update({"/": "", "/hang": "hang", "/big": "size=8000000"})


@contextmanager
def neighbour(proxy: RunningProxy) -> Iterator[None]:
    """A client that asks all the time: each answer is right, and comes soon.

    What counts is the proxy's own time: the machine may hold up both for longer.
    """
    stop = threading.Event()
    wrong: list[object] = []
    waits: list[float] = []

    def ask() -> None:
        with proxy.client() as client:
            ended = False
            while not ended:  # once more after the attack
                ended = stop.wait(0.005)
                begin, worked = time.monotonic(), proxy.cpu_seconds
                answer = client.request("GET", "/neighbour")
                waits.append(min(time.monotonic() - begin, proxy.cpu_seconds - worked))
                if answer.status != 200 or not answer.complete:
                    wrong.append(answer)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        stop.set()
        asking.join(20)
    assert not wrong
    assert max(waits) < MAY_WAIT


@pytest.fixture
def attacker(proxy: RunningProxy) -> Iterator[Http2Client]:
    """A client with a neighbour beside it; the proxy's memory is bounded meanwhile."""
    before = proxy.memory
    with neighbour(proxy), Http2Client(proxy.outbound) as client:
        yield client
    assert proxy.memory - before < MAY_TAKE
    eventually(lambda: proxy.in_flight() == 0)


def work(upstream: ChaosUpstream, path: str) -> int:
    return len(upstream.seen_path(path))


def test_more_streams_than_allowed(attacker: Http2Client, upstream: ChaosUpstream) -> None:
    """Those beyond `limits.streams` are refused before any work."""
    numbers = range(1, 2 * (STREAMS + 50), 2)
    attacker.send(b"".join([attacker.head(number, "/hang/many") for number in numbers]))
    for number in numbers[STREAMS:]:
        assert attacker.until_ended(number).reset == "REFUSED_STREAM"
    upstream.wait(lambda: work(upstream, "/hang/many") >= STREAMS)
    assert work(upstream, "/hang/many") == STREAMS
    assert attacker.goaway is None
    seen = upstream.seen_path("/hang/many")
    attacker.send(b"".join([rst(number) for number in numbers[:STREAMS]]))
    for one in seen:
        assert one.lost.wait(3)


def test_rapid_reset_in_one_read(attacker: Http2Client, upstream: ChaosUpstream) -> None:
    """CVE-2023-44487: a request that is cancelled in the same read costs nothing upstream."""
    pairs = [attacker.head(n, "/hang/rapid") + rst(n) for n in range(1, 4000, 2)]
    attacker.send(b"".join(pairs))
    assert attacker.until_goaway() == "ENHANCE_YOUR_CALM"
    assert work(upstream, "/hang/rapid") <= SPARE


def test_rapid_reset_read_by_read(attacker: Http2Client, upstream: ChaosUpstream) -> None:
    """CVE-2023-44487, each request begun before it is cancelled."""
    number = 1
    while not attacker.goaway and not attacker.closed and number < 2000:
        attacker.send(attacker.head(number, "/hang/slowly"))
        attacker.send(frame(PING, 0, 0, bytes(8)))
        pongs = attacker.pongs
        while attacker.pongs == pongs and attacker.read(1):
            pass
        attacker.send(rst(number))
        number += 2
    assert attacker.until_goaway() == "ENHANCE_YOUR_CALM"
    assert work(upstream, "/hang/slowly") <= BURST + SPARE
    for one in upstream.seen_path("/hang/slowly"):
        assert one.lost.wait(3)


MADE_YOU_RESET = {
    "an increment of 0": lambda n: window(n, 0),
    "a window above 2^31-1": lambda n: window(n, 2**31 - 1),
    "DATA after the end": lambda n: frame(DATA, 0, n, b"x"),
    "HEADERS after the end": lambda n: frame(HEADERS, END_HEADERS | END_STREAM, n, b"\x82"),
    "a stream that depends on itself": lambda n: frame(PRIORITY, 0, n, struct.pack(">LB", n, 0)),
    "PRIORITY of 4 bytes": lambda n: frame(PRIORITY, 0, n, bytes(4)),
}
"""CVE-2025-8671: frames for which the proxy must reset the stream itself."""


@pytest.mark.parametrize("fault", MADE_YOU_RESET)
def test_made_you_reset(attacker: Http2Client, upstream: ChaosUpstream, fault: str) -> None:
    path = f"/hang/{len(fault)}"
    before = work(upstream, path)
    number = 1
    while not attacker.goaway and not attacker.closed and number < 2000:
        attacker.send(attacker.head(number, path))
        attacker.send(MADE_YOU_RESET[fault](number))
        while number not in attacker.streams and not attacker.goaway and attacker.read(1):
            pass
        number += 2
    assert attacker.until_goaway() == "ENHANCE_YOUR_CALM"
    assert attacker.streams[1].reset in ("PROTOCOL_ERROR", "FLOW_CONTROL_ERROR", "STREAM_CLOSED",
                                         "FRAME_SIZE_ERROR")  # fmt: skip
    assert work(upstream, path) - before <= BURST + SPARE
    for one in upstream.seen_path(path):
        assert one.lost.wait(3)


def test_continuation_flood(attacker: Http2Client, upstream: ChaosUpstream) -> None:
    """CVE-2024-27316: a field block without end is not kept."""
    attacker.send(frame(HEADERS, END_STREAM, 1, b"\x82\x86\x84"))
    part = frame(CONTINUATION, 0, 1, 8 * literal(b"name", b"value"))
    attacker.send(200 * part)
    assert attacker.until_goaway() == "ENHANCE_YOUR_CALM"


def test_continuation_flood_of_large_frames(attacker: Http2Client) -> None:
    attacker.send(frame(HEADERS, 0, 1, b"\x82"))
    attacker.send(6 * frame(CONTINUATION, 0, 1, bytes(16384)))
    assert attacker.until_goaway() == "ENHANCE_YOUR_CALM"


def test_continuation_flood_of_empty_frames(attacker: Http2Client) -> None:
    attacker.send(frame(HEADERS, 0, 1) + 5000 * frame(CONTINUATION, 0, 1))
    assert attacker.until_goaway() == "ENHANCE_YOUR_CALM"


def test_a_field_block_that_takes_its_time(attacker: Http2Client) -> None:
    """A fragment now and then keeps a connection for `limits.header_timeout` only."""
    begin = time.monotonic()
    attacker.send(frame(HEADERS, END_STREAM, 1, b"\x82"))
    for _ in range(7):
        attacker.read(0.3)
        attacker.send(frame(CONTINUATION, 0, 1, b"\x86"))
        if attacker.goaway or attacker.closed:
            break
    assert attacker.until_goaway() == "ENHANCE_YOUR_CALM"
    assert time.monotonic() - begin < HEADER_TIMEOUT + 1.5


def inserted(name: bytes, value: bytes) -> bytes:
    length = len(value) - 127
    coded = bytes((0x7F, length & 0x7F | 0x80, length >> 7))
    return b"\x40" + bytes((len(name),)) + name + coded + value


def test_hpack_bomb(attacker: Http2Client, upstream: ChaosUpstream) -> None:
    """16 KiB on the wire, 64 MiB when it is decoded."""
    block = b"\x82\x86\x44\x04/big" + inserted(b"x", 4000 * b"v") + 12_000 * b"\xbe"
    attacker.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, block))
    assert attacker.until_goaway() == "COMPRESSION_ERROR"
    assert work(upstream, "/big") == 0


def test_a_header_that_is_a_little_too_long(attacker: Http2Client, upstream: ChaosUpstream) -> None:
    """It is answered 431, and the connection's table stays right."""
    front = b"\x82\x86\x04\x0a/quick/431\x01\x04shop"
    bomb = front + inserted(b"x", 4000 * b"v") + 30 * b"\xbe"
    attacker.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, bomb))
    assert attacker.until_ended(1).status == 431
    attacker.send(frame(HEADERS, END_HEADERS | END_STREAM, 3, front + b"\xbe"))
    assert attacker.until_ended(3).status == 200
    (seen,) = upstream.seen_path("/quick/431")
    assert seen.header("x") == 4000 * "v"


FLOODS = {
    "SETTINGS": settings((3, 100)),
    "PING": frame(PING, 0, 0, bytes(8)),
    "PRIORITY": frame(PRIORITY, 0, 1, struct.pack(">LB", 0, 0)),
    "WINDOW_UPDATE": window(0, 1),
    "unknown frames": frame(0xEE, 0, 1, b"x"),
    "acknowledgements": frame(SETTINGS, 1),
    "pongs": frame(PING, 1, 0, bytes(8)),
}
"""CVE-2019-9511 to 9518: frames that cost work and move nothing on."""


@pytest.mark.parametrize("kind", FLOODS)
def test_floods_of_control_frames(attacker: Http2Client, kind: str) -> None:
    for _ in range(20):
        attacker.send(100 * FLOODS[kind])
        attacker.read()
    assert attacker.until_goaway() == "ENHANCE_YOUR_CALM"


def test_a_flood_of_resets_of_closed_streams(attacker: Http2Client) -> None:
    attacker.send(attacker.head(1, "/quick/resets"))
    assert attacker.until_ended(1).status == 200
    attacker.send(2000 * rst(1))
    assert attacker.until_goaway() == "ENHANCE_YOUR_CALM"


def test_a_flood_of_empty_data(attacker: Http2Client, upstream: ChaosUpstream) -> None:
    attacker.send(attacker.head(1, "/quick/empty", method="POST", ended=False))
    attacker.send(1000 * frame(DATA, 0, 1))
    assert attacker.until_goaway() == "ENHANCE_YOUR_CALM"


def test_many_settings_in_one_frame(attacker: Http2Client) -> None:
    attacker.send(settings(*(33 * [(4, 65535)])))
    assert attacker.until_goaway() == "ENHANCE_YOUR_CALM"


def test_padding_longer_than_its_frame(attacker: Http2Client) -> None:
    attacker.send(attacker.head(1, "/quick/pad", method="POST", ended=False))
    attacker.send(frame(DATA, PADDED, 1, b"\x05abcd"))
    assert attacker.until_goaway() == "PROTOCOL_ERROR"


def test_a_connection_window_that_overflows(attacker: Http2Client) -> None:
    attacker.send(window(0, 2**31 - 1))
    assert attacker.until_goaway() == "FLOW_CONTROL_ERROR"


def test_a_client_that_lets_a_stream_starve(proxy: RunningProxy, upstream: ChaosUpstream) -> None:
    """CVE-2019-9511: a window of 0 holds an answer for `timeouts.idle` only."""
    with neighbour(proxy), Http2Client(proxy.outbound, (4, 0)) as client:
        begin = time.monotonic()
        client.send(client.head(1, "/big/starved"))
        answer = client.until_ended(1)
        assert (answer.reset, answer.body) == ("CANCEL", b"") or answer.reset == "INTERNAL_ERROR"
        assert IDLE <= time.monotonic() - begin < IDLE + 2
        (seen,) = upstream.seen_path("/big/starved")
        assert seen.lost.wait(3)
        client.send(client.head(3, "/quick/after"))
        client.send(window(3, 1000))
        assert client.until_ended(3).body


def test_a_client_that_reads_no_acknowledgements(proxy: RunningProxy) -> None:
    """CVE-2019-9512: answers to its frames are kept up to 64 KiB, then it is gone."""
    before = proxy.memory
    announced = (4, 2**31 - 1)
    with neighbour(proxy), Http2Client(proxy.outbound, announced, receive_buffer=4096) as client:
        client.send(window(0, 2**30))
        client.send(client.head(1, "/hang/unread", method="POST", ended=False))
        client.send(client.head(3, "/big/unread"))
        time.sleep(0.2)  # its answer fills every buffer on the way
        piece = frame(DATA, 0, 1, b"x") + 4 * frame(PING, 0, 0, bytes(8))
        end = time.monotonic() + 5
        while not client.closed:
            assert time.monotonic() < end
            client.send(50 * piece)
            time.sleep(0.002)
    assert proxy.memory - before < MAY_TAKE


def test_h2c_by_upgrade_is_not_offered(proxy: RunningProxy) -> None:
    answer = proxy.call(
        "GET", "/quick/h2c",
        headers=[("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"),
                 ("HTTP2-Settings", "AAMAAABkAAQAAP__")],
    )  # fmt: skip
    assert answer.status == 200
    assert answer.header("upgrade") is None


def test_fields_that_are_new_each_time(attacker: Http2Client, upstream: ChaosUpstream) -> None:
    """Names and values are remembered up to a bound: here 120 times 40 fields of 100 bytes."""
    for at in range(120):
        fields = b"".join([literal(b"x-%d-%d" % (at, n), b"%0100d" % at) for n in range(40)])
        block = b"\x82\x86\x04\x0a/quick/new\x01\x04shop" + fields
        attacker.send(frame(HEADERS, END_HEADERS | END_STREAM, 2 * at + 1, block))
        assert attacker.until_ended(2 * at + 1).status == 200


def test_a_burst_of_lawful_requests(attacker: Http2Client, upstream: ChaosUpstream) -> None:
    """As many as are allowed at once, again and again: nothing is refused."""
    first = 1
    for _ in range(5):
        numbers = range(first, first + 2 * STREAMS, 2)
        first += 2 * STREAMS
        attacker.send(b"".join([attacker.head(number, "/quick/lawful") for number in numbers]))
        for number in numbers:
            assert attacker.until_ended(number, 10).status == 200
    assert work(upstream, "/quick/lawful") == 5 * STREAMS
