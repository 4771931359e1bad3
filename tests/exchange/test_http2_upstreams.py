"""HTTP/1.1 clients, and an upstream that speaks HTTP/2: messages, endings, windows, sessions."""

import pytest
from exchange.http2 import GET, POST, Http2Client
from exchange.http2_server import CONNECT, STREAMS, WINDOW
from exchange.wires import request

CONFIG = """
service: stage
upstreams:
  shop:
    protocol: http2
    endpoints: ["http://10.0.0.1:80"]
    connections: {{{connections}}}
policies:
  default:
    timeouts: {{attempt: 5s, request: 15s, idle: 60s}}
    retry: {{backoff: {{initial: 100ms, jitter: none}}, {retry}}}
    circuit_breaker: {{mode: off}}
routes: [{{name: shop, upstream: shop}}]
"""
CALL = [*POST, ("content-type", "application/grpc"), ("te", "trailers")]
REFUSED, CANCEL, INTERNAL, HTTP_1_1, ENHANCE_YOUR_CALM = 7, 8, 2, 13, 11


@pytest.fixture
def http2(make_stage):
    def make(retry="attempts: 3", connections="max: 10"):
        return make_stage(CONFIG.format(retry=retry, connections=connections))

    return make


def begun(stage, *asked, settings=None):
    client = stage.ask(*asked)
    server = stage.accept_http2(settings)
    return client, server, server.latest


def chunked(*pieces, trailers=""):
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return request("POST /x HTTP/1.1", "Transfer-Encoding: chunked", "Trailer: x-sum") + (
        body + b"0\r\n" + trailers.encode() + b"\r\n"
    )


# --- messages -----------------------------------------------------------------------------------


def test_a_request_in_http2(http2):
    asked = request(
        "GET /x/y?a=b HTTP/1.1",
        "X-Mixed: Case",
        "Cookie: a=1; b=2",
        "Connection: keep-alive, X-Hop",
        "X-Hop: 1",
        "Keep-Alive: timeout=5",
        "TE: trailers, deflate",
    )
    client, server, one = begun(http2(), asked)
    assert [name for name, _ in one.fields[:4]] == [":method", ":scheme", ":path", ":authority"]
    pseudo = {name: value for name, value in one.fields if name[0] == ":"}
    assert pseudo == {
        ":method": "GET",
        ":scheme": "http",
        ":path": "/x/y?a=b",
        ":authority": "shop",
    }
    assert (one.get("x-mixed"), one.get("cookie"), one.get("te")) == (
        "Case",
        "a=1; b=2",
        "trailers",
    )
    names = {name for name, _ in one.fields}
    assert not names & {"host", "connection", "x-hop", "keep-alive", "transfer-encoding"}
    assert {"via", "x-request-id", "traceparent"} <= names
    assert one.ended
    server.answer(200, b"hello", ("x-from", "there"))
    answer = client.answer()
    assert (answer.status, answer.body, answer.get("x-from")) == (200, b"hello", "there")
    assert answer.get("content-length") == "5"
    assert answer.get("via").startswith("2")


def test_a_body_by_length(http2):
    client, server, one = begun(http2(), request("POST /x HTTP/1.1", body=b"order"))
    assert (one.get("content-length"), one.body, one.ended) == ("5", b"order", True)
    server.answer(201)
    assert client.answer().status == 201


def test_a_chunked_body_and_its_trailers(http2):
    stage = http2()
    client, server, one = begun(stage, chunked(b"ab", b"cde", trailers="x-sum: 5\r\n"))
    assert one.all("content-length") == []
    assert (one.body, one.ended, one.trailers) == (b"abcde", True, {b"x-sum": b"5"})
    server.answer(200, b"pong", trailers=[("x-check", "ok")])
    assert client.received().endswith(b"4\r\npong\r\n0\r\nx-check: ok\r\n\r\n")


def test_a_response_without_a_length_is_chunked(http2):
    client, server, one = begun(http2(), request())
    server.head(one)
    server.flush()
    server.data(one, b"ab")
    server.flush()
    server.data(one, b"cd", end=True)
    server.flush()
    answer = client.answer()
    assert answer.get("transfer-encoding") == "chunked"
    assert answer.body == b"2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n"


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_responses_without_a_body(http2, method, status):
    stage = http2()
    client, server, one = begun(stage, request(f"{method} /x HTTP/1.1"))
    fields = [("content-length", "7")] if method == "HEAD" else []
    server.head(one, status, *fields, end=True)
    server.flush()
    answer = client.answer()
    assert (answer.status, answer.body) == (status, b"")
    assert stage.counts().idle == 1


def test_informational_heads_pass(http2):
    asked = request("POST /x HTTP/1.1", "Expect: 100-continue", "Content-Length: 5")
    client, server, one = begun(http2(), asked)
    assert one.get("expect") == "100-continue"
    server.head(one, 103, ("link", "</x>"))
    server.head(one, 100)
    server.flush()
    assert b" 103 " in (seen := client.received())
    assert b" 100 " in seen
    client.send(b"order")
    assert (server.latest.body, server.latest.ended) == (b"order", True)
    server.answer(200)
    assert client.answer().status == 200


# --- endings ------------------------------------------------------------------------------------


def test_a_stream_that_was_refused_is_repeated_at_once(http2):
    stage = http2()
    client, server, one = begun(stage, request("POST /x HTTP/1.1", body=b"order"))
    server.refuse(one, REFUSED)
    assert server.count == 2
    server.answer(200, b"ok")
    assert client.answer().body == b"ok"
    assert [wait for *_, wait in stage.records[0].attempts] == [0.0, 0.0]


def test_http11_that_is_required_is_spoken_from_then_on(http2):
    stage = http2("attempts: 1")
    client, server, one = begun(stage, request("POST /x HTTP/1.1", body=b"order"))
    server.refuse(one, HTTP_1_1)
    http1 = stage.accept()
    assert http1.request().body == b"order"
    http1.answer(200)
    assert client.answer().status == 200
    client.send(request("GET /y HTTP/1.1"))
    http1.answer(200)
    assert client.answer().status == 200
    assert server.count == 1


def test_http11_that_an_upstream_does_not_speak_is_not_insisted_on(http2):
    """It cannot mean what it said: the next request is in HTTP/2 again."""
    stage = http2("attempts: 1")
    client, server, one = begun(stage, request("POST /x HTTP/1.1", body=b"order"))
    server.refuse(one, HTTP_1_1)
    http1 = stage.accept()
    http1.send(b"\0\0\0\4\0\0\0\0\0")
    assert client.answer().status == 502
    client.send(request("GET /y HTTP/1.1"))
    assert server.count == 2
    server.answer(200)
    assert client.answer().status == 200


def test_http11_that_a_long_upload_could_not_be_told_in_is_remembered(http2):
    stage = http2("attempts: 1, body_limit: 4B")
    client, server, one = begun(stage, request("POST /x HTTP/1.1", body=b"an order"))
    server.refuse(one, HTTP_1_1)
    assert client.answer().status == 502
    client.send(request("GET /y HTTP/1.1"))
    stage.accept().answer(200)
    assert client.answer().status == 200


def test_a_grpc_call_never_goes_over_http11(http2):
    """Neither the call whose stream said so, nor a later one."""
    stage = http2("attempts: 1")
    caller = Http2Client(stage.loop, stage.gate())
    caller.send(caller.headers(1, CALL))
    server = stage.accept_http2()
    server.refuse(server.latest, HTTP_1_1)
    caller.read()
    assert caller.head(1)["grpc-status"] == "13"
    for number, fields in ((3, GET), (5, CALL)):
        caller.send(caller.headers(number, fields))
        if number == 3:
            server.refuse(server.latest, HTTP_1_1)
            stage.accept().answer(200)
        else:
            server.answer(200, b"ok")
        caller.read()
        assert caller.head(number)[":status"] == "200"
    assert server.count == 3


def test_another_reset_is_a_reset(http2):
    stage = http2()
    client, server, one = begun(stage, request("POST /x HTTP/1.1", body=b"order"))
    server.reset_stream(one, INTERNAL)
    answer = client.answer()
    assert (answer.status, answer.reason) == (502, "upstream-reset")
    assert "INTERNAL_ERROR" in stage.records[0].detail
    assert server.count == 1


def test_a_reset_within_the_response_truncates_it(http2):
    stage = http2()
    client, server, one = begun(stage, request())
    server.head(one, 200)
    server.data(one, b"half")
    server.flush()
    server.reset_stream(one, INTERNAL)
    assert not client.received().endswith(b"0\r\n\r\n")
    assert client.closed
    assert stage.records[0].reason == "upstream-truncated"


def test_no_error_after_a_whole_response_is_no_failure(http2):
    stage = http2()
    asked = request("POST /x HTTP/1.1", "Content-Length: 10")
    client, server, one = begun(stage, asked)
    server.head(one, 413, ("content-length", "3"))
    server.data(one, b"big", end=True)
    server.h2.reset_stream(one.id, 0)
    server.flush()
    answer = client.answer()
    assert (answer.status, answer.body) == (413, b"big")
    assert stage.records[0].reason == ""


def test_a_client_that_leaves_cancels_its_stream_alone(http2):
    stage = http2()
    client, server, one = begun(stage, request())
    other = stage.ask(request())
    assert server.count == 2
    client.reset()
    server.listen()
    assert one.reset == CANCEL
    server.answer(200, b"ok")
    assert other.answer().status == 200


def test_an_attempt_that_times_out_is_cancelled(http2):
    stage = http2("attempts: 1")
    client, server, one = begun(stage, request())
    stage.pass_time(5)
    assert client.answer().reason == "attempt-timeout"
    server.listen()
    assert one.reset == CANCEL
    assert stage.counts().idle == 1


def test_answers_that_come_after_a_cancel_are_no_flood(http2):
    """Many at once, from an upstream that does not know of the resets yet."""
    stage = http2(connections="max: 1")
    client, server, one = begun(stage, request())
    late = []
    for _ in range(1500):
        late.append(one)
        client.reset()
        client = stage.ask(request())
        one = server.latest
    for one in late:
        for fields in ([(":status", "200")], [("x-sum", "7")]):
            server.malformed(one, fields, end=False)
    server.answer(200)
    assert client.answer().status == 200
    assert server.goaway is None


def test_an_upstream_that_goes_on_and_on_after_a_reset_is_a_flood(http2):
    stage = http2("attempts: 1", connections="max: 1")
    _, server, one = begun(stage, request())
    stage.pass_time(5)
    server.listen()
    count = 0
    while server.goaway is None and count < 3000:
        server.malformed(one, [("x-sum", "7")], end=False)
        server.listen()
        count += 1
    assert 990 <= count <= 1010
    assert server.goaway == ENHANCE_YOUR_CALM


def test_an_early_answer_ends_the_request(http2):
    stage = http2()
    client, server, one = begun(stage, request("POST /x HTTP/1.1", "Content-Length: 10"))
    server.answer(403, b"no")
    assert client.answer().status == 403
    server.listen()
    assert one.reset in (CANCEL, 0)


@pytest.mark.parametrize(
    ("length", "body"), [("5", b"1234"), ("3", b"1234"), ("5", b"")], ids=["less", "more", "none"]
)
def test_a_body_must_have_its_length(http2, length, body):
    stage = http2("attempts: 1")
    client, server, one = begun(stage, request())
    fields = [(":status", "200"), ("content-length", length)]
    server.malformed(one, fields, *([body] if body else []))
    answer = client.answer()
    assert (answer.status, answer.reason) == (502, "upstream-malformed")
    server.listen()
    assert one.reset == 1
    assert stage.counts().idle == 1  # one stream's fault is not the connection's


# --- GOAWAY and lost connections ----------------------------------------------------------------


def test_goaway_repeats_what_was_not_processed_and_keeps_the_rest(http2):
    stage = http2()
    first, server, one = begun(stage, request("POST /1 HTTP/1.1", body=b"one"))
    second = stage.ask(request("POST /2 HTTP/1.1", body=b"two"))
    assert server.count == 2
    server.go_away(last=one.id)
    other = stage.accept_http2()
    assert other.request().body == b"two"
    other.answer(200, b"second")
    assert second.answer().body == b"second"
    server.answer(200, b"first", one=one)
    assert first.answer().body == b"first"
    assert server.closed
    assert server.count == 2


def test_nothing_below_the_last_id_is_repeated(http2):
    stage = http2()
    client, server, one = begun(stage, request("POST /1 HTTP/1.1", body=b"one"))
    server.go_away(last=one.id)
    server.close()
    assert client.answer().reason == "upstream-reset"
    assert stage.connects == 0


def test_a_session_that_goes_away_lends_no_more(http2):
    stage = http2()
    client, server, one = begun(stage, request())
    server.go_away()
    client_two = stage.ask(request())
    other = stage.accept_http2()
    other.answer(200)
    assert client_two.answer().status == 200
    server.answer(200, one=one)
    assert client.answer().status == 200
    assert (server.closed, stage.counts().idle) == ("close", 1)


@pytest.mark.parametrize("waits", [False, True], ids=["asked later", "waits"])
def test_a_stream_without_an_end_keeps_no_room_after_goaway(http2, waits):
    """A watch that goes on for hours on a connection that leaves, and `max` is 1."""
    stage = http2(connections="max: 1, max_streams: 2")
    watch, server, _ = begun(stage, request())
    asked = [stage.ask(request()) for _ in range(2 if waits else 1)]
    assert (server.count, stage.connects) == (2, 0)
    server.go_away()
    if not waits:
        asked.append(stage.ask(request()))
    other = stage.accept_http2()
    other.answer(200)
    assert asked[1].answer().status == 200
    for stream in server.requests:
        server.answer(200, one=stream)
    assert [client.answer().status for client in (watch, asked[0])] == [200, 200]
    assert server.closed == "close"
    assert stage.counts().idle == 1


def test_a_connection_without_room_counts_again_when_it_has_some(http2):
    """An upstream that allows no streams for a while, as some do before they close."""
    stage = http2(connections="max: 1")
    watch, server, one = begun(stage, request())
    server.change({STREAMS: 0})
    client = stage.ask(request())
    other = stage.accept_http2({STREAMS: 1})
    busy = stage.ask(request())
    assert (other.count, stage.connects) == (1, 0)
    server.change({STREAMS: 2})
    assert server.count == 2
    late = stage.ask(request())
    assert stage.connects == 0
    server.answer(200)
    assert busy.answer().status == 200
    other.answer(200)
    assert client.answer().status == 200
    assert stage.connects == 0
    server.answer(200)
    assert late.answer().status == 200
    server.answer(200, one=one)
    assert watch.answer().status == 200


def test_streams_on_leaving_connections_are_bounded(http2):
    stage = http2("attempts: 1", connections="max: 1")
    watches = []
    for _ in range(17):
        watches.append(stage.ask(request()))
        server = stage.accept_http2()
        server.go_away()
    late = stage.ask(request())
    assert stage.connects == 0
    server.answer(200)
    assert watches[-1].answer().status == 200
    stage.accept_http2().answer(200)
    assert late.answer().status == 200


def test_a_session_retires_although_a_stream_does_not_end(http2):
    stage = http2(connections="max: 1, max_streams: 2, max_requests: 3")
    watch, server, one = begun(stage, request())
    clients = [stage.ask(request()) for _ in range(3)]
    assert server.count == 2
    server.answer(200)
    assert server.count == 3
    assert stage.connects == 1
    other = stage.accept_http2()
    other.answer(200)
    server.answer(200)
    assert [client.answer().status for client in clients] == [200] * 3
    server.answer(200, one=one)
    assert watch.answer().status == 200
    assert server.closed == "close"


def test_an_idle_session_closes_with_goaway(http2):
    stage = http2()
    client, server, _one = begun(stage, request())
    server.answer(200)
    client.received()
    server.go_away()
    assert server.closed == "close"
    assert stage.counts() == (0, 0, 0, 0, 0)


def test_a_lost_connection_loses_all_its_requests(http2):
    stage = http2("attempts: 1")
    clients = [stage.ask(request()) for _ in range(3)]
    server = stage.accept_http2()
    assert server.count == 3
    server.close()
    assert [client.answer().reason for client in clients] == ["upstream-reset"] * 3


def test_a_connection_lost_before_the_request_was_written_costs_nothing(http2):
    stage = http2("attempts: 1")
    first, server, _one = begun(stage, request())
    server.answer(200)
    first.received()
    client = stage.client()
    # In one turn of the loop: a request, and the end of the connection before it was flushed.
    client.transport.deliver(request("POST /x HTTP/1.1", body=b"order"))
    server.transport._lose(None)
    stage.loop.run()
    other = stage.accept_http2()
    other.answer(200, b"ok")
    assert client.answer().body == b"ok"
    assert len(stage.records[-1].attempts) == 1


# --- many streams -------------------------------------------------------------------------------


def test_one_connection_serves_many_and_another_is_opened_when_it_is_full(http2):
    stage = http2(connections="max: 2")
    clients = [stage.ask(request()) for _ in range(5)]
    assert stage.connects == 1
    server = stage.accept_http2({STREAMS: 2})
    assert server.count == 2
    assert stage.connects == 1
    other = stage.accept_http2({STREAMS: 2})
    assert other.count == 2
    assert (stage.connects, stage.counts().waiting) == (0, 1)
    server.answer(200, one=server.requests[0])
    assert server.count == 3
    for one in server.requests[1:]:
        server.answer(200, one=one)
    for one in other.requests:
        other.answer(200, one=one)
    assert [client.answer().status for client in clients] == [200] * 5


def test_max_streams_limits_what_the_peer_allows(http2):
    stage = http2(connections="max_streams: 3")
    for _ in range(4):
        stage.ask(request())
    server = stage.accept_http2({STREAMS: 100})
    assert server.count == 3
    assert stage.connects == 1


def test_a_limit_that_rises_serves_those_who_wait(http2):
    stage = http2(connections="max: 1")
    for _ in range(3):
        stage.ask(request())
    server = stage.accept_http2({STREAMS: 1})
    assert server.count == 1
    server.change({STREAMS: 3})
    assert server.count == 3


def test_streams_that_never_end_do_not_block_others(http2):
    stage = http2(connections="max_streams: 2")
    for _ in range(2):
        stage.ask(request())
    server = stage.accept_http2()
    assert server.count == 2
    for one in server.requests:
        server.head(one, 200)
        server.flush()
    client = stage.ask(request())
    other = stage.accept_http2()
    other.answer(200)
    assert client.answer().status == 200


def test_max_requests_retires_a_session(http2):
    stage = http2(connections="max_requests: 2")
    for _ in range(2):
        client = stage.ask(request())
        if stage.connects:
            server = stage.accept_http2()
        server.answer(200)
        assert client.answer().status == 200
    assert server.closed == "close"


# --- windows ------------------------------------------------------------------------------------


def test_a_body_waits_for_the_window_and_so_does_its_client(http2):
    stage = http2()
    body = b"x" * 200_000
    asked = request("POST /x HTTP/1.1", f"Content-Length: {len(body)}")
    client, server, one = begun(stage, asked, settings={WINDOW: 1000})
    client.send(body[:100_000])
    server.listen()
    assert len(one.body) == 1000
    assert not client.reading
    other = stage.ask(request())
    server.answer(200, b"ok")
    assert other.answer().status == 200  # a neighbour is not held up
    for _ in range(4):
        server.credit(one, 50_000)
        server.listen()
        if client.reading and len(body) > 100_000:
            client.send(body[100_000:])
            body = b""
        server.listen()
    assert len(one.body) == 200_000
    assert one.ended
    server.answer(200, one=one)
    assert client.answer().status == 200


def test_a_client_that_does_not_read_fills_its_own_window_alone(http2):
    stage = http2()
    slow, server, one = begun(stage, request())
    server.head(one, 200)
    server.flush()
    slow.stop_reading()
    piece = b"x" * 16_384
    for _ in range(16):
        server.data(one, piece)
        server.flush()
    server.listen()
    assert server.h2.local_flow_control_window(one.id) == 0
    others = [stage.ask(request()) for _ in range(5)]
    server.listen()
    for number in range(5):
        server.answer(200, b"ok" * 1000, one=server.requests[1 + number])
    assert [other.answer().status for other in others] == [200] * 5
    slow.read_on()
    server.listen()
    assert server.h2.local_flow_control_window(one.id) >= 100_000
    server.data(one, b"", end=True)
    server.flush()


# --- what is no HTTP/2 --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "answered in HTTP/1.1"),
        (b"<!DOCTYPE HTML>", "a document without a status line"),
        (b"\x15\x03\x01\0\x02\x02\x46", "a TLS alert"),
        (b"SSH-2.0-x\r\n", "an SSH server"),
        (b"\0\0\x08\x06\0\0\0\0\0" + b"12345678", "the first frame is not SETTINGS"),
    ],
)
@pytest.mark.parametrize("early", [False, True], ids=["asked", "early"])
def test_another_protocol_is_told_as_a_connect_failure(http2, said, told, early):
    """`early`: it came while the proxy was still busy with the connect."""
    stage = http2("attempts: 1")
    client = stage.ask(request("POST /x HTTP/1.1", body=b"order"))
    server = stage.accept_http2(greet=False, early=said if early else b"")
    if early:
        stage.loop.run()
    else:
        server.send(said)
    answer = client.answer()
    assert answer.reason == "connect-failed"
    assert told in stage.records[0].detail
    stage.pass_time(2)
    assert server.closed


def test_a_server_that_closes_at_once_is_a_connect_failure(http2):
    stage = http2("attempts: 1")
    client = stage.ask(request())
    server = stage.accept_http2(greet=False)
    server.close()
    assert client.answer().reason == "connect-failed"
    assert "spoken to in HTTP/2" in stage.records[0].detail


def test_a_server_that_allows_no_streams_is_a_connect_failure(http2):
    stage = http2("attempts: 1")
    client = stage.ask(request())
    stage.accept_http2({STREAMS: 0})
    assert "MAX_CONCURRENT_STREAMS" in client.answer().body.decode()


def test_a_broken_connection_says_why_and_takes_no_more(http2):
    stage = http2("attempts: 1")
    client, server, _one = begun(stage, request())
    server.send(b"\0\0\x04\x08\0\0\0\0\0\0\0\0\0")  # WINDOW_UPDATE by 0
    assert client.answer().reason == "upstream-malformed"
    assert "WINDOW_UPDATE" in stage.records[0].detail
    server.listen()
    assert server.goaway == 1
    stage.ask(request())
    assert stage.connects == 1
    stage.pass_time(2)
    assert server.closed


# --- keepalive ----------------------------------------------------------------------------------


def test_no_ping_unless_it_is_configured(http2):
    stage = http2()
    _client, server, one = begun(stage, request())
    server.head(one, 200)
    server.flush()
    stage.pass_time(50)
    server.listen()
    assert server.pings == 0


def test_a_ping_while_requests_are_open(http2):
    stage = http2(connections="keepalive: {interval: 10s, timeout: 3s}, idle_timeout: 1h")
    _client, server, one = begun(stage, request())
    server.head(one, 200)
    server.flush()
    stage.pass_time(10.1)
    server.listen()  # it answers
    assert server.pings == 1
    stage.pass_time(10.1)
    server.listen()
    assert server.pings == 2
    server.data(one, b"", end=True)
    server.flush()
    stage.pass_time(30)
    server.listen()
    assert server.pings == 2


def test_a_peer_that_answers_no_ping_is_lost(http2):
    stage = http2(connections="keepalive: {interval: 10s, timeout: 3s}")
    _client, server, one = begun(stage, request())
    server.head(one, 200)
    server.flush()
    stage.pass_time(13.2)
    assert stage.records[0].reason == "upstream-truncated"
    assert server.closed == "abort"


# --- upgrades -----------------------------------------------------------------------------------

WEBSOCKET = request(
    "GET /chat HTTP/1.1",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


def test_a_websocket_over_http2(http2):
    stage = http2()
    client = stage.ask(WEBSOCKET)
    server = stage.accept_http2({CONNECT: 1})
    one = server.latest
    pseudo = [name for name, _ in one.fields if name[0] == ":"]
    assert sorted(pseudo) == [":authority", ":method", ":path", ":protocol", ":scheme"]
    assert (one.get(":method"), one.get(":protocol"), one.get(":path")) == (
        "CONNECT",
        "websocket",
        "/chat",
    )
    assert one.all("sec-websocket-key") == []
    assert one.get("sec-websocket-version") == "13"
    assert not one.ended
    server.head(one, 200)
    server.data(one, b"hi")
    server.flush()
    answer = client.answer()
    assert (answer.status, answer.get("upgrade")) == (101, "websocket")
    assert answer.get("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert answer.body == b"hi"
    client.send(b"there")
    server.listen()
    assert one.body == b"there"
    server.data(one, b"", end=True)
    server.flush()
    client.close()
    server.listen()
    assert one.ended or one.reset is not None
    assert stage.counts().streams == 0


def test_a_websocket_that_is_refused_over_http2(http2):
    stage = http2()
    client = stage.ask(WEBSOCKET)
    server = stage.accept_http2({CONNECT: 1})
    server.head(server.latest, 403, ("content-length", "2"))
    server.data(server.latest, b"no", end=True)
    server.flush()
    answer = client.answer()
    assert (answer.status, answer.body) == (403, b"no")


def test_a_websocket_goes_over_http11_where_http2_cannot_carry_it(http2):
    stage = http2()
    client = stage.ask(WEBSOCKET)
    server = stage.accept_http2()
    assert server.count == 0
    http1 = stage.accept()
    assert b"Upgrade: websocket" in http1.received()
    http1.send(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi")
    assert client.answer().status == 101
    assert stage.counts().streams == 1
    client.reset()


def test_a_tunnel_that_is_cut_is_reset(http2):
    stage = http2()
    client = stage.ask(WEBSOCKET)
    server = stage.accept_http2({CONNECT: 1})
    one = server.latest
    server.head(one, 200)
    server.flush()
    client.reset()
    server.listen()
    assert one.reset == CANCEL
    assert stage.counts() == (0, 1, 0, 0, 0)
