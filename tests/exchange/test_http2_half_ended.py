"""One side of an HTTP/2 stream has ended or was cut: the other goes on, and nothing is lost."""

import pytest
from exchange.http2 import POST, Http2Client, data, rst
from exchange.http2_server import CONNECT, WINDOW
from exchange.stage import CONFIG
from exchange.test_http2_upstreams import INTERNAL, WEBSOCKET
from exchange.wires import request
from hyperframe.frame import DataFrame, HeadersFrame, RstStreamFrame

from proxy.wire.h2.requests import LINGER_SECONDS

HTTP2 = CONFIG.replace("shop: {", "shop: {protocol: http2, ")
PROTOCOL_ERROR = 1
CHAT = [(":method", "CONNECT"), (":protocol", "websocket"), *POST[1:]]


@pytest.fixture
def stage(make_stage):
    return make_stage(HTTP2)


@pytest.fixture
def client(stage):
    made = Http2Client(stage.loop, stage.gate())
    stage.clients.append(made)
    return made


def tunnel(stage, settings=()):
    """A tunnel of an HTTP/1 client: the client, the server, its stream."""
    client = stage.ask(WEBSOCKET)
    server = stage.accept_http2({CONNECT: 1, **dict(settings)})
    one = server.latest
    server.head(one, 200)
    server.flush()
    assert client.answer().status == 101
    return client, server, one


def test_trailers_within_a_tunnel_break_it(stage):
    """RFC 9113 section 8.5: only DATA come within a tunnel."""
    client, server, one = tunnel(stage)
    server.h2.send_headers(one.id, [("x", "y")], end_stream=True)
    server.flush()
    server.listen()
    assert one.reset == PROTOCOL_ERROR
    assert client.closed
    assert stage.counts().streams == 0


# --- uploads --------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [bytes(60_000), bytes(10)], ids=["long", "short"])
def test_an_upload_goes_on_after_an_early_answer_to_a_client_that_sends_first(stage, body):
    """Its client reads nothing before it has sent everything, as simple clients do."""
    client = stage.ask(request("POST /x HTTP/1.1", "Content-Length: 1000000"), bytes(200_000))
    server = stage.accept_http2()
    assert not client.reading
    client.stop_reading_soon()
    server.head(server.latest, 413)
    for at in range(0, len(body), 10_000):
        server.data(server.latest, body[at : at + 10_000])
    server.data(server.latest, b"", end=True)
    server.flush()
    assert client.reading
    for _ in range(8):
        client.send(bytes(100_000))
    client.read_on()
    assert client.answer().status == 413


# --- tunnels --------------------------------------------------------------------------------------


def test_a_client_goes_on_in_a_tunnel_that_its_upstream_has_half_ended(stage):
    client, server, one = tunnel(stage, {WINDOW: 10}.items())
    server.data(one, b"all from here", end=True)
    server.flush()
    client.send(b"0123456789 and more")
    server.listen()
    assert one.body == b"0123456789"
    assert not client.reading
    server.credit(one, 100)
    server.listen()
    assert one.body == b"0123456789 and more"
    assert client.reading
    client.close()
    server.listen()
    assert one.ended
    assert one.reset is None
    assert stage.counts().streams == 0
    stage.assert_at_rest()


def test_a_half_ended_tunnel_that_is_reset_is_over_at_once(stage):
    client, server, one = tunnel(stage)
    server.data(one, b"all from here", end=True)
    server.flush()
    server.say(reset_of(one, INTERNAL))
    assert client.closed
    assert stage.counts().streams == 0
    stage.assert_at_rest()


@pytest.mark.parametrize("patience", [1, 50])
def test_a_tunnels_last_bytes_wait_for_the_window(stage, patience):
    client, server, one = tunnel(stage, {WINDOW: 10}.items())
    server.data(one, b"", end=True)
    server.flush()
    client.send(b"0123456789 and the last")
    client.close()
    stage.pass_time(patience)
    server.credit(one, 100)
    server.listen()
    assert one.body == b"0123456789 and the last"
    assert one.ended
    assert one.reset is None
    assert not streams_of(stage)


def test_a_tunnels_last_bytes_do_not_wait_for_ever(stage):
    client, server, one = tunnel(stage, {WINDOW: 10}.items())
    server.data(one, b"", end=True)
    server.flush()
    client.send(b"0123456789 and the last")
    client.close()
    stage.pass_time(LINGER_SECONDS)
    server.listen()
    assert one.reset is not None
    assert not streams_of(stage)


# --- bytes and a reset in one read ----------------------------------------------------------------


def test_bytes_before_an_upstreams_reset_reach_the_client(stage, client):
    client.ask(1)
    server = stage.accept_http2()
    one = server.latest
    server.head(one, 200)
    server.flush()
    server.say(DataFrame(one.id, b"some of it"), reset_of(one, INTERNAL))
    client.read()
    assert client.body(1) == b"some of it"
    assert client.error(1) == "INTERNAL_ERROR"
    assert stage.records[-1].reason == "upstream-truncated"
    assert stage.records[-1].bytes_out == 10


def test_a_head_and_a_reset_in_one_read_are_no_response(stage, client):
    """It may be asked for again."""
    client.ask(1)
    server = stage.accept_http2()
    one = server.latest
    head = HeadersFrame(one.id, server.h2.encoder.encode([(":status", "200")]))
    head.flags.add("END_HEADERS")
    server.say(head, DataFrame(one.id, b"some of it"), reset_of(one, INTERNAL))
    client.read()
    stage.pass_time(1)
    server.answer(200, b"all of it")
    client.read()
    assert client.body(1) == b"all of it"


def test_an_upstreams_last_bytes_of_a_tunnel_and_its_reset(stage):
    client, server, one = tunnel(stage)
    server.say(DataFrame(one.id, b"goodbye"), reset_of(one, INTERNAL))
    assert client.received() == b"goodbye"
    assert client.closed


def test_a_clients_last_bytes_of_a_tunnel_and_its_reset(stage, client):
    client.send(client.headers(1, CHAT, ended=False))
    server = stage.accept_http2({CONNECT: 1})
    one = server.latest
    server.head(one, 200)
    server.flush()
    client.send(data(1, b"goodbye") + rst(1))
    server.listen()
    assert one.body == b"goodbye"
    assert one.reset is not None
    stage.assert_at_rest()


# --- resets again and again -----------------------------------------------------------------------


@pytest.mark.parametrize("whole", [False, True], ids=["going on", "whole"])
def test_a_flood_of_resets_of_one_stream(stage, client, whole):
    """The first one says something, the others are counted."""
    client.send(client.headers(1, POST, ended=False))
    server = stage.accept_http2()
    one = server.latest
    if whole:
        server.head(one, 200, end=True)
    server.send(server.h2.data_to_send() + reset_of(one, INTERNAL).serialize() * 2000)
    stage.loop.run()
    assert b"too many control frames" in server.received()


# --- responses without a body ---------------------------------------------------------------------


@pytest.mark.parametrize(("method", "status"), [("GET", 304), ("GET", 204), ("HEAD", 200)], ids=str)
def test_a_response_without_a_body_whose_end_comes_later(stage, method, status):
    """Nothing says to an HTTP/1 client that chunks follow."""
    client = stage.ask(request(f"{method} /x HTTP/1.1"), request("GET /next HTTP/1.1"))
    server = stage.accept_http2()
    one = server.latest
    server.head(one, status)
    server.flush()
    server.say(DataFrame(one.id, b"", flags=["END_STREAM"]))
    answer = client.answer()
    assert answer.status == status
    assert answer.all("transfer-encoding") == []
    assert answer.body == b""
    server.answer(200, b"next")
    assert client.answer().body == b"next"


# --- empty frames ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headed", "reason"), [(False, "upstream-malformed"), (True, "upstream-truncated")]
)
def test_a_flood_of_empty_frames_from_an_upstream_is_told_as_what_it_is(
    stage, client, headed, reason
):
    client.ask(1, POST, b"order")
    server = stage.accept_http2()
    one = server.latest
    if headed:
        server.head(one, 200)
        server.flush()
    server.say(*[DataFrame(one.id, b"")] * 3)
    assert stage.records[-1].reason == reason
    assert "empty DATA" in stage.records[-1].detail


def reset_of(one, code):
    frame = RstStreamFrame(one.id)
    frame.error_code = code
    return frame


def streams_of(stage):
    """The streams that the sessions to upstreams still have."""
    return [
        stream
        for upstream in stage.gateway.upstreams
        for endpoint in upstream.endpoints
        for pool in endpoint.pools
        for session in pool._sessions
        if session.connection is not None
        for stream in session.connection.streams
    ]
