"""An HTTP/2 client before an HTTP/1.1 upstream: every row of what is said differently there."""

import base64

import pytest
from exchange.http2 import (
    END_HEADERS,
    END_STREAM,
    GET,
    HEADERS,
    PADDED,
    POST,
    Http2Client,
    data,
    frame,
    rst,
)
from exchange.wires import response

from proxy.config.model import Listener
from proxy.wire.h2.request_stream import EARLY_SECONDS

INFORMATION = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
CONNECT = [(":method", "CONNECT"), (":authority", "10.0.0.7:443")]
WEBSOCKET = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":path", "/chat?room=1"),
    (":authority", "shop"),
    ("sec-websocket-version", "13"),
    ("origin", "http://shop"),
]


@pytest.fixture
def client(stage):
    made = Http2Client(stage.loop, stage.gate())
    stage.clients.append(made)
    return made


def asked(stage, client, fields, body=None):
    """What the upstream gets."""
    client.ask(1, fields, body)
    server = stage.accept()
    request = server.request()
    server.answer()
    return request


def chunked(body):
    parts, rest = [], body
    while True:
        size, _, rest = rest.partition(b"\r\n")
        if not int(size, 16):
            return b"".join(parts), rest
        parts.append(rest[: int(size, 16)])
        rest = rest[int(size, 16) + 2 :]


# --- requests -------------------------------------------------------------------------------------


def test_a_request(stage, client):
    request = asked(stage, client, [*GET, ("user-agent", "me"), ("x-a", "b")])
    assert request.line == "GET /x HTTP/1.1"
    assert request.fields[:3] == [("Host", "shop"), ("user-agent", "me"), ("x-a", "b")]
    assert request.get("via") == "2.0 stage"
    assert request.get("content-length") is None
    assert not [name for name in request.names if name.startswith(":")]


def test_a_query_and_another_method(stage, client):
    fields = [(":method", "PROPFIND"), *GET[1:2], (":path", "/a?b=c?d"), GET[3]]
    assert asked(stage, client, fields).line == "PROPFIND /a?b=c?d HTTP/1.1"


def test_the_whole_server(stage, client):
    fields = [(":method", "OPTIONS"), GET[1], (":path", "*"), GET[3]]
    assert asked(stage, client, fields).line == "OPTIONS * HTTP/1.1"


def test_crumbs_of_a_cookie_are_one(stage, client):
    crumbs = [("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")]
    request = asked(stage, client, [*GET, *crumbs])
    assert request.all("cookie") == ["a=1; b=2; c=3"]
    assert request.get("x") == "y"


def test_one_cookie_stays_where_it_is(stage, client):
    request = asked(stage, client, [*GET, ("cookie", "a=1"), ("x", "y")])
    assert [name.lower() for name in request.names[:3]] == ["host", "cookie", "x"]


def test_te_trailers(stage, client):
    request = asked(stage, client, [*GET, ("te", "trailers")])
    assert (request.get("te"), request.get("connection")) == ("trailers", "TE")


def test_a_body_of_known_length(stage, client):
    request = asked(stage, client, [*POST, ("content-length", "5")], b"hello")
    assert (request.get("content-length"), request.body) == ("5", b"hello")
    assert request.get("transfer-encoding") is None


def test_a_body_of_unknown_length(stage, client):
    request = asked(stage, client, POST, b"hello")
    assert request.get("transfer-encoding") == "chunked"
    assert chunked(request.body) == (b"hello", b"\r\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_no_body_where_one_is_usual(stage, client, method):
    request = asked(stage, client, [(":method", method), *GET[1:]])
    assert request.get("content-length") == "0"


def test_an_empty_body(stage, client):
    """END_STREAM comes with an empty DATA frame."""
    request = asked(stage, client, POST, b"")
    assert (request.get("content-length"), request.get("transfer-encoding")) == ("0", None)


def test_trailers_of_a_request(stage, client):
    sent = client.headers(1, POST, ended=False) + data(1, b"hello")
    client.send(sent + client.headers(1, [("x-sum", "7"), ("authorization", "dropped")]))
    server = stage.accept()
    assert chunked(server.request().body) == (b"hello", b"x-sum: 7\r\n\r\n")
    server.answer()


def test_trailers_after_a_length_are_dropped(stage, client):
    head = client.headers(1, [*POST, ("content-length", "5")], ended=False)
    client.send(head + data(1, b"hello") + client.headers(1, [("x-sum", "7")]))
    server = stage.accept()
    assert server.request().body == b"hello"
    server.answer()


def test_expect_passes(stage, client):
    client.send(client.headers(1, [*POST, ("expect", "100-continue")], ended=False))
    server = stage.accept()
    assert server.request().get("expect") == "100-continue"
    server.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    client.read()
    assert client.head(1)[":status"] == "100"
    assert 1 not in client.ended
    client.send(data(1, b"go", ended=True))
    server.answer(201)
    client.read()
    assert client.head(1)[":status"] == "201"


def test_on_inbound_too(make_stage):
    stage = make_stage(
        "service: stage\nupstreams: {app: {endpoints: ['http://10.0.0.1:80']}}\n"
        "listeners: {inbound: {address: 0.0.0.0:7071}}"
    )
    client = Http2Client(stage.loop, stage.gate(Listener.INBOUND))
    stage.clients.append(client)
    client.ask(1, [*GET, ("forwarded", "for=evil"), ("x-forwarded-for", "1.2.3.4")])
    server = stage.accept()
    request = server.request()
    assert request.get("x-forwarded-for") == "1.2.3.4, 10.9.8.7"
    assert request.get("x-forwarded-host") == "shop"
    server.answer()


# --- responses ------------------------------------------------------------------------------------


def answered(stage, client, raw, fields=GET):
    client.ask(1, fields)
    stage.accept().send(raw)
    client.read()
    return client.head(1)


def test_a_response(stage, client):
    raw = response(200, b"hello", "X-Mixed-Case: Yes", "Set-Cookie: a", "Set-Cookie: b")
    head = answered(stage, client, raw)
    assert next(iter(head)) == ":status"
    assert (head[":status"], head["x-mixed-case"], head["content-length"]) == ("200", "Yes", "5")
    assert head["set-cookie"] == "a\nb"
    assert head["via"] == "1.1 stage"
    assert client.body(1) == b"hello"
    assert 1 in client.ended


def test_fields_of_the_connection_stay_behind(stage, client):
    raw = response(200, b"", "Connection: close, X-Hop", "X-Hop: 1", "Keep-Alive: timeout=5")
    head = answered(stage, client, raw)
    assert {"connection", "x-hop", "keep-alive", "transfer-encoding"}.isdisjoint(head)
    client.ask(3)
    assert stage.connects == 1, "the client's connection goes on"
    stage.accept().answer()


def test_chunks_with_trailers(stage, client):
    raw = response(200, b"", "Transfer-Encoding: chunked")
    answered(stage, client, raw + b"5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n")
    assert client.frames[0][2][":status"] == "200"
    assert client.frames[-1] == ("HEADERS", 1, {"x-sum": "7"})
    assert client.body(1) == b"hello"
    assert 1 in client.ended


def test_chunks_without_trailers(stage, client):
    raw = response(200, b"", "Transfer-Encoding: chunked")
    answered(stage, client, raw + b"5\r\nhello\r\n0\r\n\r\n")
    assert client.body(1) == b"hello"
    assert 1 in client.ended


def test_a_body_until_the_end_of_the_connection(stage, client):
    client.ask(1)
    server = stage.accept()
    server.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
    client.read()
    assert 1 not in client.ended
    server.close()
    client.read()
    assert client.body(1) == b"hello"
    assert 1 in client.ended


def test_informational_heads(stage, client):
    client.ask(1)
    server = stage.accept()
    server.send(INFORMATION + response(200, b"x"))
    client.read()
    heads = [what for kind, _, what in client.frames if kind == "HEADERS"]
    assert [head[":status"] for head in heads] == ["103", "200"]
    assert heads[0]["link"] == "</a>"


@pytest.mark.parametrize(
    ("fields", "raw", "length"),
    [
        ([(":method", "HEAD"), *GET[1:]], response(200, b"", "Content-Length: 5"), "5"),
        (GET, b"HTTP/1.1 204 No Content\r\n\r\n", None),
        (GET, b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", None),
        (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "0"),
    ],
)
def test_responses_without_a_body(stage, client, fields, raw, length):
    head = answered(stage, client, raw, fields)
    assert head.get("content-length") == length
    assert [kind for kind, _, _ in client.frames] == ["HEADERS"]
    assert 1 in client.ended


def test_a_head_that_needs_continuation(stage, client):
    """16 KiB and more are spread over frames; the client's decoder sees one block."""
    client.ask(1)
    server = stage.accept()
    server.send(response(200, b"x", "X-Long: " + "\x7e" * 20000))
    raw = client.received()
    assert raw[3] == HEADERS
    assert not raw[4] & END_HEADERS
    size = int.from_bytes(raw[:3], "big")
    assert raw[9 + size + 3] == 9
    assert raw[9 + size + 4] & END_HEADERS


def test_a_truncated_response_never_ends_well(stage, client):
    client.ask(1)
    server = stage.accept()
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
    server.reset()
    client.read()
    assert client.error(1) == "INTERNAL_ERROR"
    assert 1 not in client.ended
    assert stage.records[-1].reason == "upstream-truncated"


def test_the_proxys_own_answer(stage, client):
    client.ask(1, [*GET, ("x-request-timeout-ms", "0")])
    head = client.head(1)
    assert (head[":status"], head["content-type"]) == ("504", "application/problem+json")
    assert 'details="' in head["proxy-status"]
    assert 1 in client.ended


# --- endings --------------------------------------------------------------------------------------


def test_an_early_answer_stops_the_body(stage, client):
    client.send(client.headers(1, POST, ended=False) + data(1, b"hello"))
    server = stage.accept()
    server.answer(413, b"no")
    client.read()
    assert client.head(1)[":status"] == "413"
    assert 1 in client.ended
    assert client.error(1) is None
    stage.pass_time(EARLY_SECONDS)
    client.read()
    assert client.error(1) == "NO_ERROR"
    client.send(data(1, b"in transit"), rst(1))
    assert not client.goaways
    assert not stage.gate().streams


@pytest.mark.parametrize("how", ["data", "trailers", "reset"])
def test_a_client_that_ends_soon_after_an_early_answer_is_not_told_to_stop(stage, client, how):
    client.send(client.headers(1, POST, ended=False) + data(1, b"hello"))
    stage.accept().answer(413, b"no")
    client.read()
    client.send(data(1, b"what was on its way"))
    assert stage.gate().streams == 1
    if how == "data":
        client.send(data(1, b"the end", ended=True))
    elif how == "trailers":
        client.send(client.headers(1, [("x-sum", "7")]))
    else:
        client.send(rst(1))
    assert not stage.gate().streams
    stage.pass_time(2 * EARLY_SECONDS)
    client.read()
    assert client.error(1) is None
    assert not client.goaways
    assert [record.status for record in stage.records] == [413]


def test_rules_hold_after_an_early_answer(stage, client):
    client.send(client.headers(1, [*POST, ("content-length", "3")], ended=False))
    stage.accept().answer(200, b"ok")
    client.send(data(1, b"too much"))
    assert client.error(1) == "PROTOCOL_ERROR"
    assert not stage.gate().streams
    assert [(record.status, record.reason) for record in stage.records] == [(200, "")]


def test_a_reset_cancels_the_attempt_in_the_same_call(stage, client):
    client.ask(1)
    server = stage.accept()
    client.transport.deliver(rst(1))
    assert server.closed == "abort"
    stage.loop.run()
    assert stage.records[-1].reason == "client-gone"
    assert not stage.gate().streams


def test_a_reset_in_the_same_read_costs_nothing(stage, client):
    client.send(client.headers(1) + rst(1))
    assert (stage.connects, stage.records, stage.gate().streams) == (0, [], 0)


def test_a_lost_connection_cancels_all(stage, client):
    client.ask(1)
    client.ask(3)
    servers = [stage.accept(), stage.accept()]
    client.reset()
    assert [server.closed for server in servers] == ["abort", "abort"]
    assert [one.reason for one in stage.records] == ["client-gone"] * 2
    assert not stage.gate().streams


# --- tunnels --------------------------------------------------------------------------------------


def test_a_tunnel(stage, client):
    client.send(client.headers(1, CONNECT, ended=False))
    server = stage.accept()
    client.read()
    assert client.head(1)[":status"] == "200"
    assert "content-length" not in client.head(1)
    client.send(data(1, b"ping"))
    assert server.received() == b"ping"
    server.send(b"pong")
    client.read()
    assert client.body(1) == b"pong"
    client.send(data(1, b"bye", ended=True))
    assert server.received() == b"bye"
    assert server.transport.eof_written
    server.send(b"last")
    server.close()
    client.read()
    assert client.body(1) == b"ponglast"
    assert 1 in client.ended


def test_a_tunnel_whose_bytes_come_along(stage, client):
    """Before the tunnel is there, and its end too."""
    client.send(client.headers(1, CONNECT, ended=False) + data(1, b"early", ended=True))
    server = stage.accept()
    assert server.received() == b"early"
    assert server.transport.eof_written
    server.close()
    client.read()
    assert 1 in client.ended


def test_a_tunnel_that_is_lost(stage, client):
    client.send(client.headers(1, CONNECT, ended=False))
    server = stage.accept()
    server.reset()
    client.read()
    assert client.error(1) == "CONNECT_ERROR"


@pytest.mark.parametrize("trailers", [[("x", "y")], []], ids=["fields", "empty"])
@pytest.mark.parametrize("opened", [True, False])
@pytest.mark.parametrize("ask", [CONNECT, WEBSOCKET], ids=["connect", "websocket"])
def test_a_tunnel_has_no_trailers(stage, client, ask, opened, trailers):
    """RFC 9113 section 8.5: only DATA come within a tunnel."""
    bytes_of_it = client.headers(1, ask, ended=False)
    if opened:
        client.send(bytes_of_it)
        server = stage.accept()
        if ask is WEBSOCKET:
            server.send(b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        client.read()
        assert client.head(1)[":status"] == "200"
        client.send(client.headers(1, trailers))
        assert server.closed == "abort"
    else:
        client.send(bytes_of_it + client.headers(1, trailers))
    client.read()
    assert client.error(1) == "PROTOCOL_ERROR"
    assert not stage.gate().streams


def test_a_tunnel_to_another_port_is_denied(stage, client):
    client.send(client.headers(1, [CONNECT[0], (":authority", "db:80")], ended=False))
    client.read()
    assert client.head(1)[":status"] == "403"


def test_a_websocket(stage, client):
    client.send(client.headers(1, WEBSOCKET, ended=False))
    server = stage.accept()
    request = server.request()
    assert request.line == "GET /chat?room=1 HTTP/1.1"
    assert (request.get("upgrade"), request.get("connection")) == ("websocket", "Upgrade")
    assert len(base64.b64decode(request.get("sec-websocket-key"))) == 16
    assert (request.get("origin"), request.get("sec-websocket-version")) == ("http://shop", "13")
    assert request.get("transfer-encoding") is None
    fields = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x"
    line = "HTTP/1.1 101 Switching Protocols"
    server.send(f"{line}\r\n{fields}\r\nSec-WebSocket-Protocol: p\r\n\r\n!".encode())
    client.read()
    head = client.head(1)
    assert (head[":status"], head["sec-websocket-protocol"]) == ("200", "p")
    assert {"upgrade", "connection", "sec-websocket-accept"}.isdisjoint(head)
    assert client.body(1) == b"!"
    client.send(data(1, b"frame"))
    assert server.received() == b"frame"
    server.close()
    client.send(data(1, b"", ended=True))
    assert 1 in client.ended


def test_a_websocket_that_is_refused(stage, client):
    client.send(client.headers(1, WEBSOCKET, ended=False))
    stage.accept().answer(403, b"no")
    client.read()
    assert (client.head(1)[":status"], client.body(1)) == ("403", b"no")
    assert 1 in client.ended


def test_each_websocket_has_its_own_key(stage, client):
    keys = []
    for number in (1, 3):
        client.send(client.headers(number, WEBSOCKET, ended=False))
        server = stage.accept()
        keys.append(server.request().get("sec-websocket-key"))
        server.answer(403, b"", "Connection: close")
    assert len(set(keys)) == 2


def test_padding_of_trailers_is_no_field(stage, client):
    client.send(client.headers(1, POST, ended=False))
    padded = b"\x02" + client.block([("a", "b")]) + b"\0\0"
    client.send(frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, padded))
    server = stage.accept()
    assert chunked(server.request().body) == (b"", b"a: b\r\n\r\n")
    server.answer()
