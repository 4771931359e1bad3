"""RFC 9113 sections 3 to 8, row by row: bytes of frames, and what the client gets for them."""

import pytest
from exchange.http2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GET,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    POST,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW,
    WITH_PRIORITY,
    Http2Client,
    data,
    frame,
    number,
    rst,
    settings,
    window,
)
from exchange.wires import Peer

from proxy.http.h2.frames import PREFACE
from proxy.wire.h2.downstream import Http2Downstream
from proxy.wire.h2.request_stream import EARLY_SECONDS


@pytest.fixture
def client(stage):
    """A client whose settings have come."""
    made = Http2Client(stage.loop, stage.gate())
    stage.clients.append(made)
    return made


def open_stream(client):
    """HEADERS of stream 1, whose body has not ended."""
    return client.headers(1, POST, ended=False)


def closed_stream(client):
    return client.headers(1) + rst(1)


def in_three(client, block):
    return (
        client.headers(1, block=block[:3], flags=0)
        + frame(CONTINUATION, 0, 1, b"")
        + frame(CONTINUATION, END_HEADERS, 1, block[3:])
    )


def changed(fields, **pseudo):
    return [(name, pseudo.get(name[1:], value)) for name, value in fields]


def without(name):
    return [field for field in GET if field[0] != name]


CONNECTION_ERRORS = {
    # section 3.4, 4: the preface, sizes
    "first frame is PING": (lambda c: frame(PING, payload=bytes(8)), "PROTOCOL_ERROR", PREFACE),
    "first SETTINGS is an ACK": (lambda c: frame(SETTINGS, ACK), "PROTOCOL_ERROR", PREFACE),
    "first frame is HEADERS": (lambda c: c.headers(1), "PROTOCOL_ERROR", PREFACE),
    "frame above 16 KiB": (lambda c: open_stream(c) + data(1, bytes(16385)), "FRAME_SIZE_ERROR"),
    "HEADERS above 16 KiB": (
        lambda c: frame(HEADERS, END_HEADERS, 1, bytes(16385)),
        "FRAME_SIZE_ERROR",
    ),
    "bad field block": (lambda c: c.headers(1, block=b"\x80"), "COMPRESSION_ERROR"),
    "field block cut off": (lambda c: c.headers(1, block=b"\x40\x05ab"), "COMPRESSION_ERROR"),
    "PRIORITY in a field block": (
        lambda c: c.headers(1, flags=0) + frame(PRIORITY, 0, 1, bytes(5)),
        "PROTOCOL_ERROR",
    ),
    "HEADERS in a field block": (lambda c: c.headers(1, flags=0) + c.headers(3), "PROTOCOL_ERROR"),
    "unknown frame in a field block": (
        lambda c: c.headers(1, flags=0) + frame(0xBB, 0, 1, b"x"),
        "PROTOCOL_ERROR",
    ),
    "CONTINUATION of another stream": (
        lambda c: c.headers(1, flags=0) + frame(CONTINUATION, END_HEADERS, 3, b""),
        "PROTOCOL_ERROR",
    ),
    # section 5.1: states
    "DATA on an idle stream": (lambda c: data(1, b"x"), "PROTOCOL_ERROR"),
    "RST_STREAM on an idle stream": (lambda c: rst(1), "PROTOCOL_ERROR"),
    "WINDOW_UPDATE on an idle stream": (lambda c: window(1, 1), "PROTOCOL_ERROR"),
    "CONTINUATION on an idle stream": (
        lambda c: frame(CONTINUATION, END_HEADERS, 1, b""),
        "PROTOCOL_ERROR",
    ),
    "DATA on a closed stream": (lambda c: closed_stream(c) + data(1, b"x"), "STREAM_CLOSED"),
    "HEADERS on a closed stream": (lambda c: closed_stream(c) + c.headers(1), "STREAM_CLOSED"),
    "CONTINUATION on a closed stream": (
        lambda c: closed_stream(c) + frame(CONTINUATION, END_HEADERS, 1, b""),
        "PROTOCOL_ERROR",
    ),
    "stream with an even number": (lambda c: c.headers(2), "PROTOCOL_ERROR"),
    "stream that was skipped": (lambda c: c.headers(5) + c.headers(3), "PROTOCOL_ERROR"),
    # section 6: each frame
    "DATA without a stream": (lambda c: data(0, b"x"), "PROTOCOL_ERROR"),
    "padding longer than DATA": (
        lambda c: open_stream(c) + frame(DATA, PADDED, 1, b"\x05x"),
        "PROTOCOL_ERROR",
    ),
    "padded and empty": (lambda c: open_stream(c) + frame(DATA, PADDED, 1), "FRAME_SIZE_ERROR"),
    "HEADERS without a stream": (lambda c: c.headers(0), "PROTOCOL_ERROR"),
    "padding longer than HEADERS": (
        lambda c: frame(HEADERS, END_HEADERS | PADDED, 1, b"\x09abc"),
        "PROTOCOL_ERROR",
    ),
    "HEADERS shorter than a priority": (
        lambda c: frame(HEADERS, END_HEADERS | WITH_PRIORITY, 1, b"abc"),
        "FRAME_SIZE_ERROR",
    ),
    "PRIORITY without a stream": (lambda c: frame(PRIORITY, 0, 0, bytes(5)), "PROTOCOL_ERROR"),
    "PRIORITY of 4 bytes, idle": (lambda c: frame(PRIORITY, 0, 1, bytes(4)), "FRAME_SIZE_ERROR"),
    "RST_STREAM without a stream": (lambda c: rst(0), "PROTOCOL_ERROR"),
    "RST_STREAM of 3 bytes": (
        lambda c: open_stream(c) + frame(RST_STREAM, 0, 1, bytes(3)),
        "FRAME_SIZE_ERROR",
    ),
    "SETTINGS ACK that is not empty": (lambda c: frame(SETTINGS, ACK, 0, b"x"), "FRAME_SIZE_ERROR"),
    "SETTINGS with a stream": (lambda c: frame(SETTINGS, 0, 1), "PROTOCOL_ERROR"),
    "SETTINGS of 5 bytes": (lambda c: frame(SETTINGS, 0, 0, bytes(5)), "FRAME_SIZE_ERROR"),
    "33 settings": (lambda c: settings(*[(0x99, 0)] * 33), "ENHANCE_YOUR_CALM"),
    "ENABLE_PUSH 2": (lambda c: settings((2, 2)), "PROTOCOL_ERROR"),
    "INITIAL_WINDOW_SIZE 2^31": (lambda c: settings((4, 2**31)), "FLOW_CONTROL_ERROR"),
    "MAX_FRAME_SIZE 16383": (lambda c: settings((5, 16383)), "PROTOCOL_ERROR"),
    "MAX_FRAME_SIZE 2^24": (lambda c: settings((5, 2**24)), "PROTOCOL_ERROR"),
    "ENABLE_CONNECT_PROTOCOL back to 0": (lambda c: settings((8, 1), (8, 0)), "PROTOCOL_ERROR"),
    "PUSH_PROMISE": (lambda c: frame(PUSH_PROMISE, END_HEADERS, 1, bytes(4)), "PROTOCOL_ERROR"),
    "PING of 7 bytes": (lambda c: frame(PING, 0, 0, bytes(7)), "FRAME_SIZE_ERROR"),
    "PING with a stream": (lambda c: frame(PING, 0, 1, bytes(8)), "PROTOCOL_ERROR"),
    "GOAWAY with a stream": (lambda c: frame(GOAWAY, 0, 1, bytes(8)), "PROTOCOL_ERROR"),
    "GOAWAY of 7 bytes": (lambda c: frame(GOAWAY, 0, 0, bytes(7)), "FRAME_SIZE_ERROR"),
    "WINDOW_UPDATE 0": (lambda c: window(0, 0), "PROTOCOL_ERROR"),
    "WINDOW_UPDATE of 3 bytes": (lambda c: frame(WINDOW, 0, 0, bytes(3)), "FRAME_SIZE_ERROR"),
    "connection window above 2^31-1": (lambda c: window(0, 2**31 - 1), "FLOW_CONTROL_ERROR"),
    "stream window above 2^31-1 by settings": (
        lambda c: settings((4, 100)) + open_stream(c) + window(1, 2**31 - 101) + settings((4, 200)),
        "FLOW_CONTROL_ERROR",
    ),
}


@pytest.mark.parametrize("row", CONNECTION_ERRORS)
def test_what_ends_the_connection(stage, row):
    make, code, *first = CONNECTION_ERRORS[row]
    client = Http2Client(stage.loop, stage.gate(), first=first[0] if first else None)
    stage.clients.append(client)
    client.send(make(client))
    assert [one for _, one in client.goaways] == [code]
    stage.pass_time(1.1)
    assert client.gone
    assert [one.reason for one in stage.records if one.status == 400] == ["bad-request"]
    assert not stage.gate().streams


STREAM_ERRORS = {
    "DATA after END_STREAM": (lambda c: c.headers(1) + data(1, b"x"), "STREAM_CLOSED"),
    "HEADERS after END_STREAM": (lambda c: c.headers(1) + c.headers(1), "STREAM_CLOSED"),
    "HEADERS twice without END_STREAM": (
        lambda c: open_stream(c) + c.headers(1, [("a", "b")], ended=False),
        "PROTOCOL_ERROR",
    ),
    "PRIORITY of 4 bytes": (
        lambda c: open_stream(c) + frame(PRIORITY, 0, 1, bytes(4)),
        "FRAME_SIZE_ERROR",
    ),
    "PRIORITY on itself": (
        lambda c: open_stream(c) + frame(PRIORITY, 0, 1, number(1) + b"\0"),
        "PROTOCOL_ERROR",
    ),
    "HEADERS that depend on themselves": (
        lambda c: frame(
            HEADERS,
            END_HEADERS | END_STREAM | WITH_PRIORITY,
            1,
            number(1) + b"\0" + c.block(GET),
        ),
        "PROTOCOL_ERROR",
    ),
    "WINDOW_UPDATE 0": (lambda c: open_stream(c) + window(1, 0), "PROTOCOL_ERROR"),
    "window above 2^31-1": (lambda c: open_stream(c) + window(1, 2**31 - 1), "FLOW_CONTROL_ERROR"),
    "more DATA than its window": (
        lambda c: open_stream(c) + b"".join(data(1, bytes(16384)) for _ in range(22)),
        "FLOW_CONTROL_ERROR",
    ),
    "upper-case name": (lambda c: c.headers(1, [*GET, ("X-A", "b")]), "PROTOCOL_ERROR"),
    "unknown pseudo-header": (lambda c: c.headers(1, [(":x", "y"), *GET]), "PROTOCOL_ERROR"),
    ":status": (lambda c: c.headers(1, [*GET, (":status", "200")]), "PROTOCOL_ERROR"),
    "pseudo-header behind a field": (
        lambda c: c.headers(1, [("a", "b"), *GET]),
        "PROTOCOL_ERROR",
    ),
    "pseudo-header in trailers": (
        lambda c: open_stream(c) + c.headers(1, [(":method", "GET")]),
        "PROTOCOL_ERROR",
    ),
    "trailer that frames": (
        lambda c: open_stream(c) + c.headers(1, [("content-length", "5")]),
        "PROTOCOL_ERROR",
    ),
    "connection": (lambda c: c.headers(1, [*GET, ("connection", "close")]), "PROTOCOL_ERROR"),
    "transfer-encoding": (
        lambda c: c.headers(1, [*POST, ("transfer-encoding", "chunked")], ended=False),
        "PROTOCOL_ERROR",
    ),
    "keep-alive": (lambda c: c.headers(1, [*GET, ("keep-alive", "5")]), "PROTOCOL_ERROR"),
    "upgrade": (lambda c: c.headers(1, [*GET, ("upgrade", "h2c")]), "PROTOCOL_ERROR"),
    "proxy-connection": (
        lambda c: c.headers(1, [*GET, ("proxy-connection", "x")]),
        "PROTOCOL_ERROR",
    ),
    "te": (lambda c: c.headers(1, [*GET, ("te", "gzip")]), "PROTOCOL_ERROR"),
    "empty :path": (lambda c: c.headers(1, changed(GET, path="")), "PROTOCOL_ERROR"),
    ":path without a slash": (lambda c: c.headers(1, changed(GET, path="x")), "PROTOCOL_ERROR"),
    ":path with a space": (lambda c: c.headers(1, changed(GET, path="/a b")), "PROTOCOL_ERROR"),
    ":path with a fragment": (lambda c: c.headers(1, changed(GET, path="/a#b")), "PROTOCOL_ERROR"),
    ":path with a line end": (
        lambda c: c.headers(1, changed(GET, path="/ HTTP/1.1\r\nx: y")),
        "PROTOCOL_ERROR",
    ),
    ":path * for GET": (lambda c: c.headers(1, changed(GET, path="*")), "PROTOCOL_ERROR"),
    "no :method": (lambda c: c.headers(1, without(":method")), "PROTOCOL_ERROR"),
    "no :scheme": (lambda c: c.headers(1, without(":scheme")), "PROTOCOL_ERROR"),
    "no :path": (lambda c: c.headers(1, without(":path")), "PROTOCOL_ERROR"),
    ":method twice": (lambda c: c.headers(1, [GET[0], *GET]), "PROTOCOL_ERROR"),
    ":scheme twice": (lambda c: c.headers(1, [GET[1], *GET]), "PROTOCOL_ERROR"),
    ":path twice": (lambda c: c.headers(1, [GET[2], *GET]), "PROTOCOL_ERROR"),
    ":method that is none": (lambda c: c.headers(1, changed(GET, method="G T")), "PROTOCOL_ERROR"),
    "CONNECT with :path": (
        lambda c: c.headers(1, changed(GET, method="CONNECT")),
        "PROTOCOL_ERROR",
    ),
    ":protocol without CONNECT": (
        lambda c: c.headers(1, [*GET, (":protocol", "websocket")], ended=False),
        "PROTOCOL_ERROR",
    ),
    "line feed in a value": (lambda c: c.headers(1, [*GET, ("a", "b\nc: d")]), "PROTOCOL_ERROR"),
    "NUL in a value": (lambda c: c.headers(1, [*GET, ("a", "b\0")]), "PROTOCOL_ERROR"),
    "blank before a value": (lambda c: c.headers(1, [*GET, ("a", " b")]), "PROTOCOL_ERROR"),
    "content-length twice": (
        lambda c: c.headers(1, [*POST, *[("content-length", "1")] * 2], ended=False),
        "PROTOCOL_ERROR",
    ),
    "content-length that is none": (
        lambda c: c.headers(1, [*POST, ("content-length", "+1")], ended=False),
        "PROTOCOL_ERROR",
    ),
    "content-length without a body": (
        lambda c: c.headers(1, [*POST, ("content-length", "1")]),
        "PROTOCOL_ERROR",
    ),
    "less DATA than content-length": (
        lambda c: (
            c.headers(1, [*POST, ("content-length", "2")], ended=False) + data(1, b"x", ended=True)
        ),
        "PROTOCOL_ERROR",
    ),
    "more DATA than content-length": (
        lambda c: c.headers(1, [*POST, ("content-length", "1")], ended=False) + data(1, b"xy"),
        "PROTOCOL_ERROR",
    ),
    "DATA with content-length 0": (
        lambda c: c.headers(1, [*POST, ("content-length", "0")], ended=False) + data(1, b"xy"),
        "PROTOCOL_ERROR",
    ),
    "less DATA than content-length, with trailers": (
        lambda c: (
            c.headers(1, [*POST, ("content-length", "2")], ended=False)
            + data(1, b"x")
            + c.headers(1, [("a", "b")])
        ),
        "PROTOCOL_ERROR",
    ),
}


@pytest.mark.parametrize("row", STREAM_ERRORS)
@pytest.mark.parametrize("together", [True, False])
def test_what_ends_the_stream(stage, client, row, together):
    """In one read nothing reaches an upstream; frame by frame what has begun there is cancelled."""
    make, code = STREAM_ERRORS[row]
    sent = make(client)
    for piece in [sent] if together else frames_of(sent):
        client.send(piece)
    assert client.error(1) == code
    assert not client.goaways
    assert not stage.gate().streams
    assert [one.reason for one in stage.records] == ["bad-request"]
    if together:
        assert not stage.connects
    while stage.connects:
        stage.refuse()
    client.ask(3)
    stage.accept().answer(body=b"it goes on")
    client.read()
    assert client.body(3) == b"it goes on"


def frames_of(sent):
    while sent:
        end = 9 + int.from_bytes(sent[:3], "big")
        yield sent[:end]
        sent = sent[end:]


ANSWERED = {
    "Host that differs": (lambda c: c.headers(1, [*GET, ("host", "other")]), 400),
    "two Hosts": (lambda c: c.headers(1, [*GET, ("host", "shop"), ("host", "shop")]), 400),
    "no authority": (lambda c: c.headers(1, without(":authority")), 400),
    "authority with userinfo": (lambda c: c.headers(1, changed(GET, authority="u:p@shop")), 400),
    "another scheme": (lambda c: c.headers(1, changed(GET, scheme="ftp")), 400),
    "disguised length": (lambda c: c.headers(1, [*GET, ("content_length", "5")]), 400),
    "two content types": (
        lambda c: c.headers(1, [*GET, ("content-type", "a/b"), ("content-type", "c/d")]),
        400,
    ),
    "long URL": (lambda c: c.headers(1, changed(GET, path="/" + "a" * 20000)), 414),
    "many fields": (lambda c: c.headers(1, [*GET, *[("a", "b")] * 130]), 431),
    "another :protocol": (
        lambda c: c.headers(
            1,
            [*changed(GET, method="CONNECT"), (":protocol", "connect-udp")],
            ended=False,
        ),
        400,
    ),
    "CONNECT without a port": (
        lambda c: c.headers(1, [(":method", "CONNECT"), (":authority", "shop")], ended=False),
        400,
    ),
}


CALL = [(":method", "POST"), (":scheme", "http"), (":path", "/a.B/C"), (":authority", "shop"),
        ("content-type", "application/grpc"), ("te", "trailers")]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ([*CALL, *[("a", "b")] * 130], "8"),
        (changed(CALL, path="/" + "a" * 20000), "13"),
        ([*CALL, ("host", "other")], "13"),
    ],
    ids=["many-fields", "long-url", "host-that-differs"],
)
def test_a_grpc_caller_is_answered_in_its_own_words(stage, client, call, code):
    client.send(client.headers(1, call))
    head = client.head(1)
    assert (head[":status"], head["grpc-status"]) == ("200", code)
    assert head["content-type"] == "application/grpc"
    assert head["grpc-message"]
    ((key, count),) = stage.stats("").requests.items()
    assert (key[0], key[3], count) == (200, int(code), 1)


@pytest.mark.parametrize("row", ANSWERED)
def test_what_is_answered(stage, client, row):
    make, status = ANSWERED[row]
    client.send(make(client))
    assert client.head(1)[":status"] == str(status)
    assert 1 in client.ended
    assert not stage.connects
    stage.pass_time(EARLY_SECONDS)  # for a request that has not ended
    assert not stage.gate().streams
    client.ask(3)
    stage.accept().answer()
    assert client.read()[-1][:2] == ("HEADERS", 3)


ACCEPTED = {
    "unknown frame": lambda c: frame(0xBB, 0xFF, 7, b"whatever") + c.headers(1),
    "unknown setting": lambda c: settings((0x99, 7)) + c.headers(1),
    "unknown flags and the reserved bit": lambda c: frame(
        HEADERS, END_HEADERS | END_STREAM | 0x50, 1 | 1 << 31, c.block(GET)
    ),
    "PRIORITY on an idle stream": lambda c: frame(PRIORITY, 0, 9, bytes(5)) + c.headers(1),
    "HEADERS with a priority": lambda c: frame(
        HEADERS, END_HEADERS | END_STREAM | WITH_PRIORITY, 1, bytes(5) + c.block(GET)
    ),
    "padded HEADERS": lambda c: frame(
        HEADERS, END_HEADERS | END_STREAM | PADDED, 1, b"\x03" + c.block(GET) + bytes(3)
    ),
    "CONTINUATION": lambda c: in_three(c, c.block(GET)),
    "Host that is the authority": lambda c: c.headers(1, [*GET, ("host", "Shop")]),
    "Host without :authority": lambda c: c.headers(1, [*without(":authority"), ("host", "shop")]),
    "te: trailers": lambda c: c.headers(1, [*GET, ("te", "trailers")]),
}


@pytest.mark.parametrize("row", ACCEPTED)
def test_what_is_accepted(stage, client, row):
    client.send(ACCEPTED[row](client))
    server = stage.accept()
    assert server.request().line == "GET /x HTTP/1.1"
    server.answer(200, b"hello")
    client.read()
    assert (client.head(1)[":status"], client.body(1)) == ("200", b"hello")
    assert 1 in client.ended


def test_a_ping_comes_back(client):
    client.send(frame(PING, 0, 0, b"12345678"))
    assert client.frames == [("PONG", 0, b"12345678")]


def test_settings_of_the_proxy(client):
    assert client.settings == {3: 100, 4: 256 * 1024, 6: 64 * 1024, 8: 1}
    assert client.windows == {0: 1024 * 1024 - 65535}


def test_every_split_of_the_bytes(make_stage):
    """The same, however the bytes arrive."""
    stage = make_stage()
    model = Http2Client(stage.loop, stage.gate(), first=b"")
    raw = (
        PREFACE
        + settings((4, 70000))
        + model.headers(1, [*POST, ("a", "b" * 30)], ended=False, flags=0)
        + frame(CONTINUATION, END_HEADERS, 1, b"")
        + data(1, b"hello ")
        + frame(DATA, PADDED | END_STREAM, 1, b"\x02world\0\0")
    )
    for at in range(1, len(raw)):
        client = Http2Client(stage.loop, stage.gate(), first=raw[:at])
        client.send(raw[at:])
        server = stage.accept() if stage.connects else stage.servers[-1]
        asked = server.request()
        assert asked.line == "POST /x HTTP/1.1"
        assert b"".join(asked.body.split(b"\r\n")[1::2]) == b"hello world"
        server.answer(200, b"yes")
        client.read()
        assert (client.head(1)[":status"], client.body(1)) == ("200", b"yes")
        client.reset()


def test_byte_by_byte(stage):
    client = Http2Client(stage.loop, stage.gate(), first=b"")
    stage.clients.append(client)
    raw = PREFACE + settings() + client.headers(1)
    for at in range(len(raw)):
        client.send(raw[at : at + 1])
    stage.accept().answer(200, b"yes")
    client.read()
    assert client.body(1) == b"yes"


def test_a_client_that_chose_http2_and_does_not_speak_it(stage):
    """By ALPN, which the connection learns before its first byte."""
    client = Peer(stage.loop, Http2Downstream(stage.gate()))
    stage.clients.append(client)
    client.send(b"GET /x HTTP/1.1\r\nHost: shop\r\n\r\n")
    assert b"does not begin with HTTP/2's preface" in client.received()
    stage.pass_time(1.1)
    assert client.gone
    assert stage.records[-1].reason == "bad-request"


def test_another_preface_is_refused_as_http1(stage):
    client = stage.ask(b"PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n")
    assert client.answer().status == 400


def test_http1_beside_it(stage):
    client = stage.ask(b"P", b"OST /x HTTP/1.1\r\nHost: shop\r\nContent-Length: 0\r\n\r\n")
    stage.accept().answer()
    assert client.answer().status == 200


def test_the_rest_of_a_flood_is_refused(make_stage):
    """limits.streams, over which nothing is begun."""
    stage = make_stage(
        "limits: {streams: 2}\nupstreams: {shop: {endpoints: ['http://10.0.0.1']}}\n"
        "routes: [{name: shop, upstream: shop}]"
    )
    client = Http2Client(stage.loop, stage.gate())
    stage.clients.append(client)
    client.send(b"".join(client.headers(number) for number in (1, 3, 5, 7)))
    assert stage.connects == 2
    assert [client.error(number) for number in (1, 3, 5, 7)] == [
        None,
        None,
        "REFUSED_STREAM",
        "REFUSED_STREAM",
    ]
    assert stage.gate().streams == 2
