"""What a client may cost: each known attack on HTTP/2, with the work done upstream counted."""

import pytest
from exchange.http2 import (
    CONTINUATION,
    DATA,
    GET,
    PADDED,
    PING,
    POST,
    PRIORITY,
    Http2Client,
    data,
    frame,
    number,
    rst,
    settings,
    window,
)

from proxy.http.h2.frames import PREFACE

PATIENT = """
limits: {header_timeout: 30s}
upstreams: {shop: {endpoints: ["http://10.0.0.1"]}}
routes: [{name: shop, upstream: shop}]
"""
CALM = "ENHANCE_YOUR_CALM"


@pytest.fixture
def client(stage):
    made = Http2Client(stage.loop, stage.gate())
    stage.clients.append(made)
    return made


def flood(client, make, most):
    """Sends until the proxy ends the connection; returns how many it took."""
    for count in range(most):
        client.send(make(count))
        if client.goaways or client.closed:
            return count
    return most


def test_rapid_reset(stage, client):
    """CVE-2023-44487: streams that are cancelled in the read that opens them."""
    count = flood(client, lambda n: client.headers(2 * n + 1) + rst(2 * n + 1), 1000)
    assert client.goaways[0][1] == CALM
    assert 199 <= count <= 201
    assert stage.connects == 0


def test_rapid_reset_of_what_has_begun(stage, client):
    """At most a hundred at once, and an attempt ends with its stream."""

    def one(count):
        client.send(client.headers(2 * count + 1))
        assert stage.gate().streams == 1
        return rst(2 * count + 1)

    count = flood(client, one, 1000)
    assert client.goaways[0][1] == CALM
    assert 199 <= count <= 201
    assert stage.gate().streams == 0
    while stage.connects:
        stage.refuse()


def test_a_client_whose_deadlines_run_out_is_not_an_attacker(stage, client):
    for count in range(300):
        client.send(client.headers(2 * count + 1))
        stage.pass_time(0.51)
        client.send(rst(2 * count + 1))
    assert not client.goaways
    while stage.connects:
        stage.refuse()


def test_resets_that_go_on_slowly_are_no_flood(stage, client):
    for count in range(400):
        client.send(client.headers(2 * count + 1) + rst(2 * count + 1))
        stage.pass_time(0.05)
    assert not client.goaways


@pytest.mark.parametrize(
    "bait",
    [
        lambda n: window(n, 0),
        lambda n: window(n, 2**31 - 1),
        lambda n: frame(PRIORITY, 0, n, bytes(4)),
        lambda n: frame(PRIORITY, 0, n, number(n) + b"\0"),
    ],
)
def test_streams_that_the_proxy_is_made_to_reset(stage, client, bait):
    """CVE-2025-8671, MadeYouReset: it counts like the client's own resets."""

    def one(count):
        client.send(client.headers(2 * count + 1, POST, ended=False))
        return bait(2 * count + 1)

    count = flood(client, one, 1000)
    assert client.goaways[0][1] == CALM
    assert 199 <= count <= 201
    assert stage.gate().streams == 0
    while stage.connects:
        stage.refuse()


def test_streams_beyond_the_limit(stage, client):
    client.send(b"".join(client.headers(2 * count + 1) for count in range(150)))
    refused = [what for kind, _, what in client.frames if kind == "RST_STREAM"]
    assert refused == ["REFUSED_STREAM"] * 50
    assert stage.connects == stage.gate().streams == 100
    flood(client, lambda n: client.headers(2 * n + 1001), 300)
    assert client.goaways[0][1] == CALM
    while stage.connects:
        stage.refuse()


def test_a_flood_of_continuation(stage, client):
    """CVE-2024-27316."""
    client.send(client.headers(1, block=b"", flags=0))
    count = flood(client, lambda n: frame(CONTINUATION, 0, 1, b""), 100)
    assert client.goaways[0][1] == CALM
    assert count == 8


def test_continuation_of_too_many_bytes(stage, client):
    client.send(client.headers(1, block=bytes(16384), flags=0))
    count = flood(client, lambda n: frame(CONTINUATION, 0, 1, bytes(16384)), 100)
    assert client.goaways[0][1] == CALM
    assert count == 3


def test_a_field_block_that_does_not_end(stage, client):
    client.send(client.headers(1, flags=0))
    stage.pass_time(9.9)
    assert not client.read()
    stage.pass_time(0.2)
    client.read()
    assert client.goaways[0][1] == CALM


def test_a_bomb_of_fields(stage, client):
    """A small block that is a large head: answered; a huge one ends the connection."""
    client.send(client.headers(1, [*GET, ("x-large", "y" * 3000)]))
    stage.accept().answer()
    large = client.block([("x-large", "y" * 3000)])
    assert len(large) < 4
    head = client.block(GET)
    client.send(client.headers(3, block=head + large * 30))
    assert client.head(3)[":status"] == "431"
    client.send(client.headers(5, block=head + large * 200))
    assert client.goaways[0][1] == "COMPRESSION_ERROR"
    assert not stage.connects


CONTROL_FRAMES = {
    "SETTINGS": lambda n: settings((1, n % 4096)),
    "PING": lambda n: frame(PING, 0, 0, bytes(8)),
    "PING ACK": lambda n: frame(PING, 1, 0, bytes(8)),
    "PRIORITY": lambda n: frame(PRIORITY, 0, 2 * n + 1, bytes(5)),
    "WINDOW_UPDATE": lambda n: window(0, 1),
    "unknown": lambda n: frame(0xBB, 0, 0, b""),
}


@pytest.mark.parametrize("kind", CONTROL_FRAMES)
def test_control_frames_that_move_nothing_on(stage, client, kind):
    """CVE-2019-9512, 9513, 9515, 9518."""
    assert 998 <= flood(client, CONTROL_FRAMES[kind], 3000) <= 1001
    assert client.goaways[0][1] == CALM


STRAY_FRAMES = {
    "empty DATA": lambda c: data(1),
    "DATA of padding": lambda c: frame(DATA, PADDED, 1, b"\x01\0"),
    "HEADERS": lambda c: c.headers(1, [("x-sum", "7")]),
}


@pytest.mark.parametrize("kind", STRAY_FRAMES)
def test_frames_on_a_stream_that_was_reset(stage, client, kind):
    """A client may not know of the reset yet; one that goes on and on does."""
    client.send(client.headers(1, [*POST, ("content-length", "1")], ended=False) + data(1, b"xy"))
    assert client.error(1) == "PROTOCOL_ERROR"
    assert 990 <= flood(client, lambda n: STRAY_FRAMES[kind](client), 3000) <= 1010
    assert client.goaways[0][1] == CALM


def test_data_on_a_stream_that_was_reset_is_no_flood(stage, client):
    """Small messages in transit, as many as the stream's window allows."""
    client.send(client.headers(1, [*POST, ("content-length", "1")], ended=False) + data(1, b"xy"))
    client.send(data(1, b"a message") * 20_000)
    client.send(data(1, b"", ended=True))
    assert not client.goaways


def test_streams_that_are_opened_after_the_last_goaway(stage, client):
    client.ask(1)
    (connection,) = stage.gate().connections
    connection.leave()
    connection.last_goaway()
    stage.loop.run()
    client.read()
    said = len(client.goaways)
    for count in range(3000):
        client.send(client.headers(2 * count + 3))
        if len(client.goaways) > said:
            break
    assert 990 <= count <= 1001
    assert client.goaways[-1] == (1, CALM)
    while stage.connects:
        stage.refuse()


def test_bytes_of_a_body_do_not_cover_a_flood(stage, client):
    client.send(client.headers(1, POST, ended=False))
    stage.accept()
    count = flood(client, lambda n: data(1, b"x") + 4 * frame(PING, 0, 0, bytes(8)), 1000)
    assert client.goaways[0][1] == CALM
    assert 300 <= count <= 340


def test_a_ping_with_each_small_message_is_no_flood(stage, client):
    client.send(client.headers(1, POST, ended=False))
    stage.accept()
    assert flood(client, lambda n: data(1, b"x") + frame(PING, 0, 0, bytes(8)), 3000) == 3000


def test_window_updates_for_what_was_sent_are_none(stage, client):
    """A client that updates two windows for each frame that it got."""
    client.send(window(0, 2**30), settings((4, 2**30)))
    client.ask(1)
    server = stage.accept()
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
    for _ in range(2000):
        server.send(bytes(16384))
        client.send(window(0, 16384) + window(1, 16384))
    assert not client.goaways


@pytest.mark.parametrize("padded", [False, True])
def test_empty_data(stage, client, padded):
    """CVE-2019-9518: at most one in succession."""
    empty = frame(DATA, PADDED, 1, b"\x01\0") if padded else data(1)
    client.send(client.headers(1, POST, ended=False), empty, data(1, b"x"), empty)
    assert not client.goaways
    client.send(empty)
    assert client.goaways[0][1] == CALM
    while stage.connects:
        stage.refuse()


def test_answers_for_a_client_that_does_not_read(stage, client):
    """The proxy's own queue has an end."""
    client.stop_reading()
    for _ in range(990):
        client.transport.deliver(frame(PING, 0, 0, bytes(8)) * 1)
    assert not client.closed
    stage.pass_time(60)
    for _ in range(990):
        client.transport.deliver(frame(PING, 0, 0, bytes(8)))
        stage.pass_time(0.01)
    stage.pass_time(5)
    for _ in range(3000):
        if client.closed:
            break
        client.transport.deliver(frame(PING, 0, 0, bytes(8)))
        stage.pass_time(0.02)
    assert client.closed == "abort"
    assert client.gone


def test_nothing_begins_for_a_client_that_does_not_read(stage, client):
    client.stop_reading()
    client.ask(1)
    assert stage.connects == 0
    client.read_on()
    stage.accept().answer(200, b"now")
    client.read()
    assert client.body(1) == b"now"


def test_a_client_that_reads_nothing_at_all_ends(stage, client):
    client.stop_reading()
    stage.pass_time(75.1)
    assert client.closed == "abort"


def test_settings_that_are_not_acknowledged(stage):
    client = Http2Client(stage.loop, stage.gate(), first=PREFACE + settings())
    stage.clients.append(client)
    client.ask(1)
    server = stage.accept()
    stage.pass_time(10.1)
    client.read()
    assert client.goaways[0][1] == "SETTINGS_TIMEOUT"
    assert server.closed == "abort"


@pytest.mark.parametrize("first", [b"P", PREFACE[:20], PREFACE])
def test_a_beginning_that_does_not_come(stage, first):
    """limits.header_timeout holds for preface and SETTINGS too."""
    client = Http2Client(stage.loop, stage.gate(), first=first)
    stage.clients.append(client)
    stage.pass_time(9.9)
    assert not client.closed
    stage.pass_time(1.3)
    assert client.gone
    assert stage.records[-1].reason == "header-timeout"


def test_a_client_has_header_timeout_to_greet(make_stage):
    """Longer than it has to acknowledge the settings."""
    stage = make_stage(PATIENT)
    client = Http2Client(stage.loop, stage.gate(), first=PREFACE)
    stage.clients.append(client)
    stage.pass_time(29)
    client.send(settings())
    client.ask(1)
    stage.accept().answer(200)
    client.read()
    assert client.head(1)[":status"] == "200"
    stage.pass_time(10.1)
    client.read()
    assert client.goaways[0][1] == "SETTINGS_TIMEOUT"


def test_a_long_read_is_processed_in_portions(stage, client, monkeypatch):
    """A thousand tiny requests in one read: some begin, then others have their turn."""
    client.transport.deliver(b"".join(client.headers(2 * count + 1) for count in range(60)))
    assert 0 < stage.connects < 60
    assert not client.reading
    stage.loop.run()
    assert stage.connects == 60
    assert client.reading
    while stage.connects:
        stage.refuse()


@pytest.mark.parametrize("begun", [False, True], ids=["wrong", "cancelled"])
def test_streams_that_end_early_are_a_portion_sooner(stage, client, begun):
    """Each of them is recorded, which takes as long as a dozen frames."""
    heads = [client.headers(2 * count + 1) for count in range(60)]
    ends = [rst(2 * n + 1) if begun else window(2 * n + 1, 0) for n in range(60)]
    if begun:
        client.send(b"".join(heads))
        client.transport.deliver(b"".join(ends))
    else:
        client.transport.deliver(
            b"".join(head + end for head, end in zip(heads, ends, strict=True))
        )
    assert 10 <= 60 - stage.gate().streams <= 12 if begun else len(stage.records) <= 12
    assert not client.reading
    stage.loop.run()
    assert client.reading
    assert stage.gate().streams == 0
    while stage.connects:
        stage.refuse()


def test_frames_are_processed_in_portions(stage, client):
    client.transport.deliver(frame(PING, 0, 0, b"12345678") * 500)
    assert not client.reading
    client.read()
    stage.loop.run()
    assert client.reading
    assert len([one for one in client.read() if one[0] == "PONG"]) == 500
