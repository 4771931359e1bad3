"""What a request looks like upstream, and a response when it returns."""

import pytest
from exchange.wires import Answer, request, response

from proxy.config.model import Listener


def test_a_request_and_its_response(stage):
    client = stage.ask(request("GET /a?b=c HTTP/1.1", "Accept: text/plain", "X-oDD: 1"))
    server = stage.accept()
    seen = server.request()
    assert seen.line == "GET /a?b=c HTTP/1.1"
    assert seen.names == [
        "Host", "Accept", "X-oDD", "Via", "X-Request-Id", "traceparent", "X-Request-Timeout-Ms",
    ]  # fmt: skip
    assert (seen.get("host"), seen.get("via")) == ("shop", "1.1 stage")
    assert int(seen.get("x-request-timeout-ms")) == 15000
    server.send(response(200, b"hello", "X-One: 1", "x-TWO: 2"))
    answer = client.answer()
    assert (answer.line, answer.body) == ("HTTP/1.1 200 Word", b"hello")
    assert answer.names == ["X-One", "x-TWO", "Content-Length", "Via", "X-Request-Id", "Date"]
    assert answer.get("x-request-id") == seen.get("x-request-id")
    assert not client.closed
    assert stage.counts().idle == 1
    assert stage.records[0].attempts == [("10.0.0.1:80", 200, 0.0)]
    assert (stage.records[0].status, stage.records[0].reason) == (200, "")


def exchanged(stage, asked, *answered, listener=Listener.OUTBOUND):
    """One exchange over a connection of its own: what the server saw, and the client's side."""
    client = stage.ask(asked, listener=listener)
    server = stage.accept()
    seen = server.request()
    server.send(*answered)
    return seen, client, server


# --- request bodies and their framing -----------------------------------------------------------


def test_a_body_with_a_length(stage):
    seen, client, _ = exchanged(stage, request("POST /x HTTP/1.1", body=b"12345"), response())
    assert (seen.get("content-length"), seen.body) == ("5", b"12345")
    assert client.answer().status == 200
    assert stage.records[0].bytes_in == 5


def test_a_body_in_chunks(stage):
    asked = request("POST /x HTTP/1.1", "Transfer-Encoding: chunked")
    chunks = b"5;name=x\r\n12345\r\n0\r\nX-Sum: 9\r\n\r\n"
    seen, client, _ = exchanged(stage, asked + chunks, response())
    assert (seen.get("transfer-encoding"), seen.get("content-length")) == ("chunked", None)
    assert seen.body == b"5\r\n12345\r\n0\r\nX-Sum: 9\r\n\r\n"
    assert client.answer().status == 200
    assert stage.records[0].bytes_in == 5


def test_a_length_of_nothing_is_said(stage):
    seen, *_ = exchanged(stage, request("POST /x HTTP/1.1", "Content-Length: 0"), response())
    assert seen.get("content-length") == "0"


# --- responses without bodies -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "status", "fields"),
    [
        ("HEAD", 200, ["Content-Length: 5"]),
        ("HEAD", 200, ["Transfer-Encoding: chunked"]),
        ("GET", 304, ["Content-Length: 5"]),
        ("GET", 304, []),
        ("GET", 204, []),
    ],
)
def test_a_response_without_a_body(stage, method, status, fields):
    asked = request(f"{method} /x HTTP/1.1")
    _, client, server = exchanged(stage, asked, response(status, b"", *fields))
    answer = client.answer()
    assert (answer.status, answer.body) == (status, b"")
    for field in fields:
        name, _, value = field.partition(": ")
        assert answer.get(name) == value
    client.send(request("GET /again HTTP/1.1"))
    server.answer(200, b"again")
    assert client.answer().body == b"again"
    assert stage.counts().idle == 1


def test_a_204_never_says_how_its_body_is_framed(stage):
    """RFC 9112 section 6.1: no Transfer-Encoding in a 204; section 8.6 of 9110: no length."""
    asked = request() * 2
    _, client, server = exchanged(stage, asked, response(204, b"", "Transfer-Encoding: chunked"))
    server.send(response(204, b"", "Content-Length: 0"))
    heads = client.received().split(b"\r\n\r\n")
    assert len(heads) == 3
    for head in heads[:2]:
        assert b"transfer-encoding" not in head.lower()
        assert b"content-length" not in head.lower()


# --- responses in chunks and up to the close ----------------------------------------------------


def test_a_response_in_chunks(stage):
    _, client, _ = exchanged(
        stage,
        request(),
        response(200, b"5;x=y\r\nhello\r\n", "Transfer-Encoding: chunked", "Trailer: X-Sum"),
        b"6\r\n world\r\n0\r\nX-Sum: 1\r\nAge: 4\r\n\r\n",
    )
    answer = client.answer()
    assert answer.get("transfer-encoding") == "chunked"
    assert answer.get("trailer") == "X-Sum"
    assert answer.body == b"5\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n"
    assert stage.counts().idle == 1
    assert stage.records[0].bytes_out == 11
    assert not client.closed


UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"


def test_a_response_up_to_the_close_becomes_chunks(stage):
    _, client, server = exchanged(stage, request(), UNTIL_CLOSE + b"hel", b"lo")
    assert client.answer().body == b"3\r\nhel\r\n2\r\nlo\r\n"
    assert stage.records == []
    server.close()
    assert client.received() == b"0\r\n\r\n"
    assert (stage.records[0].reason, stage.records[0].bytes_out) == ("", 5)
    assert not client.closed
    assert stage.counts() == (0, 0, 0, 0, 0)


def test_a_response_of_http_1_0(stage):
    asked = b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    _, client, server = exchanged(stage, request(), asked)
    answer = client.answer()
    assert (answer.line, answer.body) == ("HTTP/1.1 200 OK", b"hello")
    assert server.closed
    assert not client.closed


def test_bytes_behind_a_response_belong_to_nobody(stage):
    _, client, server = exchanged(stage, request(), response(200, b"one") + response(200, b"two"))
    assert client.answer().body == b"one"
    assert server.closed
    assert stage.counts().idle == 0


# --- responses that break off -------------------------------------------------------------------


@pytest.mark.parametrize(
    "begun",
    [
        response(200, b"1234", "Content-Length: 5"),
        response(200, b"5\r\n123", "Transfer-Encoding: chunked"),
        response(200, b"3\r\n123\r\n", "Transfer-Encoding: chunked"),
        response(200, b"3\r\n123\r\n0\r\n", "Transfer-Encoding: chunked"),
    ],
)
@pytest.mark.parametrize("how", ["close", "reset"])
def test_what_breaks_off_is_never_ended(stage, begun, how):
    _, client, server = exchanged(stage, request(), begun)
    getattr(server, how)()
    assert not client.answer().body.endswith(b"0\r\n\r\n")
    assert client.closed
    assert stage.records[0].reason == "upstream-truncated"


def test_a_reset_is_no_end_of_a_body_up_to_the_close(stage):
    _, client, server = exchanged(stage, request(), UNTIL_CLOSE + b"hel")
    server.reset()
    assert client.answer().body == b"3\r\nhel\r\n"
    assert client.closed
    assert stage.records[0].reason == "upstream-truncated"


def test_chunks_that_turn_out_malformed(stage):
    begun = response(200, b"3\r\n123\r\n", "Transfer-Encoding: chunked")
    _, client, server = exchanged(stage, request(), begun, b"zz\r\n")
    assert client.answer().body == b"3\r\n123\r\n"
    assert client.closed
    assert server.closed
    assert stage.records[0].reason == "upstream-truncated"


# --- clients of HTTP/1.0 ------------------------------------------------------------------------


def test_a_1_0_client_gets_no_chunks(stage):
    asked = request("GET /x HTTP/1.0", "Connection: keep-alive")
    _, client, server = exchanged(
        stage,
        asked,
        response(200, b"3\r\n123\r\n", "Transfer-Encoding: chunked"),
        b"2\r\n45\r\n0\r\nX-Sum: 1\r\n\r\n",
    )
    answer = client.answer()
    assert (answer.get("transfer-encoding"), answer.body) == (None, b"12345")
    assert answer.get("connection") == "close"
    assert client.transport.eof_written
    assert stage.counts().idle == 1
    assert stage.records[0].bytes_out == 5
    assert server.closed == ""


def test_a_1_0_client_is_kept_where_the_length_is_known(stage):
    asked = request("GET /x HTTP/1.0", "Connection: keep-alive")
    _, client, server = exchanged(stage, asked, response(200, b"hello"))
    assert client.answer().get("connection") == "keep-alive"
    client.send(asked)
    server.answer(200, b"again")
    assert client.answer().body == b"again"


def test_a_1_0_client_is_not_kept_unasked(stage):
    _, client, _ = exchanged(stage, request("GET /x HTTP/1.0"), response(200, b"hello"))
    assert client.answer().get("connection") == "close"
    assert client.transport.ended_by == "close"


def test_what_breaks_off_does_not_look_whole_to_a_1_0_client(stage):
    """Its only sign of an end is the close, so it gets a reset instead."""
    _, client, server = exchanged(stage, request("GET /x HTTP/1.0"), UNTIL_CLOSE + b"hel")
    server.reset()
    assert client.answer().body == b"hel"
    assert client.closed == "abort"
    assert client.transport.socket.options
    assert stage.records[0].reason == "upstream-truncated"


def test_a_1_0_client_that_leaves(stage):
    _, client, server = exchanged(stage, request("GET /x HTTP/1.0"), UNTIL_CLOSE + b"hel")
    client.reset()
    assert server.closed
    assert stage.records[0].reason == "client-gone"


def test_no_informational_response_for_a_1_0_client(stage):
    _, client, _ = exchanged(
        stage,
        request("GET /x HTTP/1.0"),
        b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n",
        response(),
    )
    assert client.answer().status == 200


# --- informational responses --------------------------------------------------------------------


@pytest.mark.parametrize("together", [True, False])
def test_informational_responses_pass(stage, together):
    pieces = [
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\nX: 1\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n",
        response(200, b"hello"),
    ]
    pieces = [b"".join(pieces)] if together else pieces
    _, client, _ = exchanged(stage, request(), *pieces)
    got = client.received()
    assert got.startswith(
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
    )
    assert Answer(got[got.index(b"HTTP/1.1 200") :]).body == b"hello"
    assert stage.counts().idle == 1


# --- fields -------------------------------------------------------------------------------------


def test_fields_for_one_connection_stay_behind_both_ways(stage):
    asked = request(
        "GET /x HTTP/1.1",
        "Connection: X-Mine, keep-alive",
        "X-Mine: 1",
        "Keep-Alive: 5",
        "TE: gzip, trailers",
        "Proxy-Authorization: x",
    )
    answered = response(
        200, b"", "Connection: x-theirs", "X-Theirs: 1", "Keep-Alive: 5", "Proxy-Authenticate: x"
    )
    seen, client, _ = exchanged(stage, asked, answered)
    gone = {"x-mine", "keep-alive", "proxy-authorization", "x-theirs"}
    assert gone.isdisjoint(name.lower() for name in seen.names)
    assert (seen.get("te"), seen.get("connection")) == ("trailers", "TE")
    assert seen.get("te") == "trailers"
    answer = client.answer()
    assert (gone | {"proxy-authenticate"}).isdisjoint(name.lower() for name in answer.names)


def test_te_without_trailers_stays_behind(stage):
    seen, *_ = exchanged(stage, request("GET /x HTTP/1.1", "TE: gzip"), response())
    assert seen.get("te") is None


def test_via_is_appended(stage):
    asked = request("GET /x HTTP/1.1", "Via: 1.0 a", "Via: 1.1 b")
    seen, client, _ = exchanged(stage, asked, response(200, b"", "Via: 1.1 c"))
    assert seen.get("via") == "1.0 a, 1.1 b, 1.1 stage"
    assert client.answer().all("via") == ["1.1 c", "1.1 stage"]


def test_the_callers_request_id_is_kept(stage):
    seen, client, _ = exchanged(stage, request("GET /x HTTP/1.1", "X-Request-Id: abc"), response())
    assert seen.get("x-request-id") == client.answer().get("x-request-id") == "abc"
    assert stage.records[0].request_id == "abc"


def test_outbound_says_nothing_of_the_client(stage):
    asked = request("GET /x HTTP/1.1", "X-Forwarded-For: 1.2.3.4")
    seen, *_ = exchanged(stage, asked, response())
    assert seen.all("x-forwarded-for") == ["1.2.3.4"]
    assert seen.get("x-forwarded-proto") is None


def test_inbound_says_who_the_client_is(make_stage):
    stage = make_stage("service: stage")
    asked = request("GET /x HTTP/1.1", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Host: old")
    seen, *_ = exchanged(stage, asked, response(), listener=Listener.INBOUND)
    assert seen.all("x-forwarded-for") == ["1.2.3.4, 10.9.8.7"]
    assert seen.all("x-forwarded-proto") == ["http"]
    assert seen.all("x-forwarded-host") == ["old"]


RULES = """
service: stage
upstreams: {shop: {endpoints: ["http://10.0.0.1:80"]}}
routes:
  - name: shop
    match: {prefix: /api}
    upstream: shop
    rewrite: {prefix: /stock, host: "shop.internal:81"}
    headers:
      request: {set: {X-Team: shop}, remove: [x-debug]}
      response: {set: {X-Served: stage}, remove: [server]}
"""


def test_a_routes_own_rules(make_stage):
    stage = make_stage(RULES)
    asked = request("GET /api/items?q=/api HTTP/1.1", "X-Debug: 1", "x-team: theirs", "X-Other: 2")
    seen, client, _ = exchanged(stage, asked, response(200, b"", "Server: x", "X-Served: them"))
    assert seen.line == "GET /stock/items?q=/api HTTP/1.1"
    assert seen.get("host") == "shop.internal:81"
    assert (seen.all("x-team"), seen.get("x-debug"), seen.get("x-other")) == (["shop"], None, "2")
    answer = client.answer()
    assert (answer.all("x-served"), answer.get("server")) == (["stage"], None)


def test_absolute_form_goes_on_as_origin_form(stage):
    asked = request("GET http://other:81/a?b HTTP/1.1")
    seen, *_ = exchanged(stage, asked, response())
    assert (seen.line, seen.get("host")) == ("GET /a?b HTTP/1.1", "other:81")


# --- ways that lead nowhere ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "status", "reason"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", 400, "no-authority"),
        (request("GET http://10.1.1.1:9/ HTTP/1.1"), 403, "egress-denied"),
        (request("GET http://127.0.0.1:7070/ HTTP/1.1"), 508, "loop"),
        (request("GET http://shop:80/ HTTP/1.1", "Via: " + "1.1 stage, " * 5 + "x"), 508, "loop"),
    ],
)
def test_refused_before_it_has_a_route(make_stage, asked, status, reason):
    stage = make_stage("{service: stage, egress: {allow: [shop]}}")
    stage.gateway.own_addresses.add("0.0.0.0", 7070)
    client = stage.ask(asked)
    answer = client.answer()
    assert (answer.status, answer.reason) == (status, reason)
    assert stage.stats("").answers == {(status, reason): 1}
    assert stage.connects == 0
