"""One client connection and many requests: pipelining, keeping, refusing, lingering."""

from time import process_time

import pytest
from exchange.wires import Answer, request, response

SMALL = """
service: stage
upstreams: {shop: {endpoints: ["http://10.0.0.1:80"]}}
limits: {header_bytes: 1KiB, url_bytes: 200B, headers: 8, body_bytes: 100B, connections: 2,
         header_timeout: 10s, idle_timeout: 75s}
routes:
  - {name: shop, match: {prefix: /}, upstream: shop}
egress: {allow: []}
"""
REFUSING = """
service: stage
upstreams: {shop: {endpoints: ["http://10.0.0.1:80"]}}
routes: [{name: shop, match: {prefix: /shop}, upstream: shop}]
egress: {allow: [none]}
"""


def answers(data):
    """Several answers with lengths, taken apart."""
    found = []
    while data:
        answer = Answer(data)
        size = int(answer.get("content-length") or 0)
        data = answer.body[size:]
        answer.body = answer.body[:size]
        found.append(answer)
    return found


# --- one after the other ------------------------------------------------------------------------


def test_pipelined_requests_are_answered_in_order(stage):
    client = stage.ask(b"".join(request(f"GET /{n} HTTP/1.1") for n in range(3)))
    server = stage.accept()
    for n in range(3):
        assert server.request().line == f"GET /{n} HTTP/1.1"
        server.answer(200, b"%d" % n)
    assert [answer.body for answer in answers(client.received())] == [b"0", b"1", b"2"]
    assert len(stage.servers) == 1


def test_a_body_and_the_next_head_in_one_piece(stage):
    client = stage.ask(
        request("POST /1 HTTP/1.1", body=b"12345") + request("GET /2 HTTP/1.1") + b"GET /3 HT"
    )
    server = stage.accept()
    assert server.request().body == b"12345"
    server.answer()
    assert server.request().line == "GET /2 HTTP/1.1"
    server.answer()
    client.send(b"TP/1.1\r\nHost: shop\r\n\r\n")
    assert server.request().line == "GET /3 HTTP/1.1"


def test_empty_lines_between_requests_are_passed_over(stage):
    client = stage.ask(b"\r\n\r\n" + request())
    server = stage.accept()
    server.answer()
    client.send(b"\r", b"\n", b"\r\n" + request("GET /2 HTTP/1.1"))
    server.received()
    server.answer()
    assert [answer.status for answer in answers(client.received())] == [200, 200]


def test_a_flood_of_empty_lines_costs_no_more_than_its_bytes(stage):
    """A copy of the rest for each of them would take minutes."""
    before = process_time()
    client = stage.ask(b"\r\n" * 2_000_000 + request())
    assert process_time() - before < 5
    stage.accept().answer()
    assert client.answer().status == 200


def test_many_requests_that_the_proxy_answers_itself(make_stage):
    """A thousand at once, and no call within a call for each of them."""
    stage = make_stage(REFUSING)
    client = stage.ask(request() * 2000)
    got = answers(client.received())
    assert len(got) == 2000
    assert {answer.reason for answer in got} == {"egress-denied"}
    assert not client.closed


def test_a_refused_post_whose_body_came_with_it_keeps_the_connection(make_stage):
    stage = make_stage(REFUSING)
    client = stage.ask(request("POST /x HTTP/1.1", body=b"12345") + request())
    first, second = answers(client.received())
    assert first.status == second.status == 403
    assert first.get("connection") is None
    assert not client.transport.eof_written


def test_a_refused_post_whose_body_is_still_to_come_ends_the_connection(make_stage):
    stage = make_stage(REFUSING)
    client = stage.ask(request("POST /x HTTP/1.1", "Content-Length: 5") + b"123")
    answer = client.answer()
    assert (answer.status, answer.get("connection")) == (403, "close")
    assert client.transport.eof_written
    client.send(b"45" + request())
    assert client.received() == b""
    assert len(stage.records) == 1


def test_the_client_may_ask_for_the_end(stage):
    client = stage.ask(request("GET /x HTTP/1.1", "Connection: close") + request())
    stage.accept().answer()
    assert client.answer().get("connection") == "close"
    assert client.transport.eof_written
    assert len(stage.records) == 1


def test_too_much_ahead_is_not_read(stage):
    client = stage.ask(request())
    server = stage.accept()
    rest = request("GET /x HTTP/1.1", "X: " + "y" * 1000) * 70
    client.send(rest)
    assert not client.reading
    for _ in range(71):
        server.received()
        server.answer()
    assert client.reading
    assert len(stage.records) == 71


# --- lingering ----------------------------------------------------------------------------------


def test_what_comes_after_the_last_answer_is_read_and_dropped(stage):
    client = stage.ask(b"BAD\r\n\r\n")
    assert client.answer().status == 400
    assert client.transport.eof_written
    client.send(b"x" * 100_000)
    assert client.reading
    assert not client.closed
    stage.pass_time(1.01)
    assert client.closed == "abort"


def test_the_client_may_end_the_lingering(stage):
    client = stage.ask(b"BAD\r\n\r\n")
    client.close()
    assert client.gone
    assert not stage.gate().connections


def test_a_slow_client_is_given_time_for_the_answer(stage):
    client = stage.ask(b"BA")
    client.stop_reading_soon()
    client.send(b"D\r\n\r\n")
    stage.pass_time(30)
    assert not client.closed
    client.read_on()
    stage.pass_time(1.01)
    assert client.closed == "abort"


def test_a_client_that_never_reads_the_answer_is_closed(stage):
    client = stage.ask(b"BA")
    client.stop_reading()
    client.send(b"D\r\n\r\n")
    stage.pass_time(77)
    assert client.closed == "abort"


# --- times --------------------------------------------------------------------------------------


def test_a_connection_without_a_request_is_ended(make_stage):
    stage = make_stage(SMALL)
    client = stage.client()
    stage.pass_time(9.9)
    assert client.received() == b""
    stage.pass_time(0.2)
    assert (client.answer().status, stage.stats("").answers) == (408, {(408, "header-timeout"): 1})


def test_a_slow_head_is_ended(make_stage):
    stage = make_stage(SMALL)
    client = stage.ask(request())
    stage.accept().answer()
    client.received()
    stage.pass_time(60)
    client.send(b"GET / H")
    stage.pass_time(9.9)
    client.send(b"TTP/1.1\r\n")
    assert client.received() == b""
    stage.pass_time(0.2)
    assert client.answer().reason == "header-timeout"


def test_an_idle_connection_is_closed_without_a_word(make_stage):
    stage = make_stage(SMALL)
    client = stage.ask(request())
    stage.accept().answer()
    client.received()
    stage.pass_time(74.9)
    assert not client.closed
    stage.pass_time(0.2)
    assert (client.closed, client.received()) == ("close", b"")


def test_each_head_has_its_own_time(make_stage):
    stage = make_stage(SMALL)
    client = stage.client()
    for n in range(4):
        stage.pass_time(8)
        client.send(b"GET / HTTP/1.1\r\n")
        stage.pass_time(1)
        client.send(b"Host: shop\r\n\r\n")
        stage.accept().answer(200, b"%d" % n)
        assert client.answer().body == b"%d" % n


# --- limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (request("GET /" + "x" * 199 + " HTTP/1.1"), 0),
        (request("GET /" + "x" * 200 + " HTTP/1.1"), 414),
        (request("GET /" + "x" * 5000 + " HTTP/1.1"), 414),
        (b"GET /" + b"x" * 5000, 414),
        (request("GET / HTTP/1.1", "X: " + "y" * 900), 0),
        (request("GET / HTTP/1.1", "X: " + "y" * 1100), 431),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 1100, 431),
        (request("GET / HTTP/1.1", *["A: b"] * 7), 0),
        (request("GET / HTTP/1.1", *["A: b"] * 8), 431),
        (request("POST / HTTP/1.1", body=b"x" * 100), 0),
        (request("POST / HTTP/1.1", "Content-Length: 101"), 413),
        (b"\x16\x03\x01\x02", 400),
        (b"GET / HTTP/1.1\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n", 400),
        (b"\r\n\rG", 400),
        (request("POST / HTTP/1.1", "Transfer-Encoding: chunked") + b"zz\r\n", 400),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_limits_and_garbage(make_stage, asked, status, split):
    stage = make_stage(SMALL)
    client = stage.client()
    for piece in [asked[n : n + 1] for n in range(len(asked))] if split else [asked]:
        client.send(piece)
        if client.transport.eof_written:
            break
    if not status:
        stage.accept().answer()
        assert client.answer().status == 200
        return
    answer = client.answer()
    reason = {400: "bad-request", 413: "body-too-large", 414: "url-too-long"}
    assert (answer.status, answer.reason) == (status, reason.get(status, "headers-too-large"))
    assert answer.get("connection") == "close"
    assert client.transport.eof_written
    assert [record.reason for record in stage.records] == [answer.reason]


def test_a_head_cut_off_by_the_clients_end(stage):
    client = stage.ask(b"GET / HTTP/1.1\r\nHo")
    client.close()
    assert client.answer().status == 400


def test_more_connections_than_allowed(make_stage):
    stage = make_stage(SMALL)
    stage.client(), stage.client()
    third = stage.client()
    answer = third.answer()
    assert (answer.reason, answer.get("retry-after")) == ("connections-full", "1")
    third.close()
    stage.clients[0].close()
    assert stage.client().received() == b""


# --- clients that leave -------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("when", ["connecting", "waiting", "receiving"])
def test_a_client_that_leaves(stage, how, when):
    client = stage.ask(request())
    server = None
    if when != "connecting":
        server = stage.accept()
    if when == "receiving":
        server.send(response(200, b"12", "Content-Length: 5"))
    getattr(client, how)()
    assert [record.reason for record in stage.records] == ["client-gone"]
    if server is not None:
        assert server.closed
    assert stage.snapshot().failures == 0
    stage.assert_at_rest()


def test_a_client_that_leaves_without_having_read_everything(stage):
    """Its place is free at once, and not when the last byte for it has gone: it never will."""
    client = stage.ask(request())
    server = stage.accept()
    client.stop_reading_soon()
    server.send(response(200, b"12", "Content-Length: 5"))
    client.close()
    assert client.gone
    assert [record.reason for record in stage.records] == ["client-gone"]
    assert server.closed
