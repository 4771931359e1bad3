"""Request bodies on their way: replayed, forfeited, waited for; and what the clocks do."""

import pytest
from exchange.wires import request, response

POLICY = """
service: stage
upstreams: {{shop: {{endpoints: ["http://10.0.0.1:80"]}}}}
policies:
  default:
    timeouts: {{attempt: 1s, request: 3s, idle: 10s}}
    retry: {{methods: any, body_limit: 10B, backoff: {{initial: 100ms, jitter: none}}}}
    {more}
routes: [{{name: shop, upstream: shop}}]
"""


@pytest.fixture
def short(make_stage):
    """Times and a body_limit that are soon reached."""

    def make(more=""):
        return make_stage(POLICY.format(more=more))

    return make


def post(length, body=b"", *fields):
    return request("POST /x HTTP/1.1", f"Content-Length: {length}", *fields) + body


# --- another attempt ----------------------------------------------------------------------------


def test_a_body_within_the_limit_is_sent_again(short):
    stage = short()
    client = stage.ask(post(10), b"01234", b"56789")
    first = stage.accept()
    assert first.request().body == b"0123456789"
    first.close()
    stage.pass_time(0.11)
    second = stage.accept()
    assert second.request().body == b"0123456789"
    second.answer()
    assert client.answer().status == 200


def test_it_may_come_before_and_after_the_failure(short):
    stage = short()
    client = stage.ask(post(9, b"012"))
    first = stage.accept()
    assert first.request().body == b"012"
    client.send(b"3")
    assert first.received() == b"3"
    first.close()
    client.send(b"45")
    stage.pass_time(0.11)
    client.send(b"6")
    second = stage.accept()
    assert second.request().body == b"0123456"
    client.send(b"78")
    assert second.received() == b"78"
    second.answer()
    assert client.answer().status == 200
    assert stage.records[0].bytes_in == 9


def test_chunks_are_sent_again_as_chunks(short):
    stage = short()
    client = stage.ask(request("POST /x HTTP/1.1", "Transfer-Encoding: chunked") + b"2\r\n01\r\n")
    stage.accept().close()
    client.send(b"0\r\n\r\n")
    stage.pass_time(0.11)
    second = stage.accept()
    seen = second.request()
    assert (seen.get("transfer-encoding"), seen.body) == ("chunked", b"2\r\n01\r\n0\r\n\r\n")
    second.answer()
    assert client.answer().status == 200


def test_a_body_beyond_the_limit_forfeits_the_attempt_not_the_request(short):
    stage = short()
    client = stage.ask(post(11, b"0123456789"))
    server = stage.accept()
    client.send(b"X")
    assert server.request().body == b"0123456789X"
    server.answer(503)
    assert client.answer().status == 503
    assert stage.stats().refused == {"body": 1}


def test_before_anything_was_sent_even_a_long_body_is_whole(short):
    stage = short()
    client = stage.ask(post(30, b"0" * 20))
    stage.refuse()
    client.send(b"1" * 10)
    stage.pass_time(0.11)
    server = stage.accept()
    assert server.request().body == b"0" * 20 + b"1" * 10
    server.answer()
    assert client.answer().status == 200


def test_no_more_is_read_than_is_held_while_nobody_takes_it(short):
    stage = short()
    client = stage.ask(post(1_000_000))
    for _ in range(7):
        client.send(b"x" * 10_000)
        if not client.reading:
            break
    assert not client.reading
    server = stage.accept()
    assert client.reading
    assert len(server.request().body) == 70_000
    client.send(b"x" * 930_000)
    server.answer()
    assert client.answer().status == 200


# --- early answers ------------------------------------------------------------------------------


def test_an_early_answer_ends_the_clients_connection(stage):
    client = stage.ask(post(10, b"01234"))
    server = stage.accept()
    server.answer(413, b"too much")
    answer = client.answer()
    assert (answer.status, answer.get("connection")) == (413, "close")
    assert client.transport.eof_written
    assert server.closed == "abort"
    client.send(b"56789")
    assert [record.status for record in stage.records] == [413]


def test_a_body_may_go_on_while_the_response_does(stage):
    client = stage.ask(post(6, b"01"))
    server = stage.accept()
    assert server.request().body == b"01"
    server.send(response(200, b"01", "Content-Length: 6"))
    client.send(b"23")
    assert server.received() == b"23"
    client.send(b"45")
    assert server.received() == b"45"
    server.send(b"2345")
    assert client.answer().body == b"012345"
    assert not client.closed
    assert stage.counts().idle == 1


def test_the_time_of_an_upload_makes_no_early_answer_slow(short):
    stage = short(
        "circuit_breaker: {minimum_calls: 1, window: {size: 1}, slow_call: {duration: 2s}}"
    )
    client = stage.ask(post(100, b"0"))
    server = stage.accept()
    for _ in range(5):
        stage.pass_time(1)
        client.send(b"0")
    server.send(response(200, b"01", "Content-Length: 6"))
    assert stage.transitions == []
    assert stage.snapshot().slow_calls == 0


# --- the clocks ---------------------------------------------------------------------------------


def test_clocks_stand_still_while_the_body_flows(short):
    stage = short()
    client = stage.ask(post(10, b"0"))
    server = stage.accept()
    for _ in range(9):
        stage.pass_time(2)
        client.send(b"0")
    assert client.received() == b""
    stage.pass_time(0.9)
    server.answer()
    assert client.answer().status == 200


def test_they_run_again_behind_it(short):
    stage = short()
    client = stage.ask(post(20, b"0" * 5))
    stage.accept()
    stage.pass_time(5)
    client.send(b"0" * 15)
    stage.pass_time(0.9)
    assert client.received() == b""
    stage.pass_time(0.2)
    assert client.answer().reason == "attempt-timeout"


def test_connecting_runs_against_them(short):
    stage = short()
    client = stage.ask(post(10, b"0"))
    stage.pass_time(3.01)
    assert client.answer().status == 504
    stage.accept()


def test_a_client_that_stops_sending(short):
    stage = short()
    client = stage.ask(post(10, b"0"))
    server = stage.accept()
    stage.pass_time(9.9)
    assert client.received() == b""
    stage.pass_time(0.2)
    answer = client.answer()
    assert (answer.status, answer.reason) == (408, "body-timeout")
    assert server.closed == "abort"
    assert stage.snapshot().calls == 0


def test_a_client_that_never_begins_is_not_the_upstreams_failure(short):
    stage = short()
    client = stage.ask(post(10))
    stage.accept()
    stage.pass_time(10.1)
    assert client.answer().reason == "body-timeout"
    assert stage.snapshot().calls == 0


def test_an_upstream_that_takes_nothing_is(short):
    stage = short()
    client = stage.ask(post(1000, b"0" * 20))
    server = stage.accept()
    server.stop_reading()
    assert not client.reading
    stage.pass_time(10.1)
    assert client.answer().reason == "attempt-timeout"
    assert stage.snapshot().failures == 1


# --- Expect: 100-continue -----------------------------------------------------------------------


def test_continue_is_the_upstreams_to_say(short):
    stage = short()
    client = stage.ask(post(5, b"", "Expect: 100-continue"))
    server = stage.accept()
    seen = server.request()
    assert (seen.get("expect"), seen.body) == ("100-continue", b"")
    assert client.received() == b""
    server.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.received() == b"HTTP/1.1 100 Continue\r\n\r\n"
    stage.pass_time(5)
    client.send(b"01234")
    assert server.received() == b"01234"
    server.answer()
    assert client.answer().status == 200
    assert not client.closed


def test_or_to_refuse(short):
    stage = short()
    client = stage.ask(post(5, b"", "Expect: 100-continue"))
    server = stage.accept()
    server.answer(417)
    answer = client.answer()
    assert (answer.status, answer.get("connection")) == (417, "close")
    assert server.closed == "abort"


def test_an_upstream_that_says_nothing_runs_out_of_time(short):
    """A client may send without the 100: that it does not says nothing about the upstream."""
    stage = short("circuit_breaker: {minimum_calls: 9}")
    client = stage.ask(post(5, b"", "Expect: 100-continue", "X-Request-Timeout-Ms: 1010"))
    stage.accept()
    stage.pass_time(1.02)
    assert client.answer().status == 504
    assert (stage.snapshot().calls, stage.snapshot().failures) == (0, 0)


def test_nor_does_an_upstream_that_gives_up_waiting_for_the_body(short):
    stage = short("circuit_breaker: {minimum_calls: 9}")
    client = stage.ask(post(5, b"", "Expect: 100-continue"))
    while not client.transport.written:
        server = stage.accept()
        stage.pass_time(0.5)
        server.close()
        stage.pass_time(0.2)
    assert client.answer().status == 502
    assert stage.snapshot().calls == 0


def test_but_a_client_that_has_sent_its_body_after_all_does(short):
    stage = short("circuit_breaker: {minimum_calls: 9}")
    client = stage.ask(post(5, b"", "Expect: 100-continue", "X-Request-Timeout-Ms: 3000"))
    stage.accept()
    stage.pass_time(1)
    client.send(b"01234")
    stage.pass_time(2.1)
    assert client.answer().status == 504
    assert stage.snapshot().failures > 0


def test_nothing_is_expected_of_a_body_that_is_here(short):
    stage = short()
    stage.ask(post(5, b"012", "Expect: 100-continue"))
    assert stage.accept().request().get("expect") is None


# --- bodies that are wrong ----------------------------------------------------------------------


@pytest.mark.parametrize("when", ["connecting", "sending", "pausing", "relaying"])
def test_a_body_that_turns_out_malformed(short, when):
    stage = short()
    client = stage.ask(request("PUT /x HTTP/1.1", "Transfer-Encoding: chunked"), b"1\r\n0\r\n")
    server = None if when == "connecting" else stage.accept()
    if when == "pausing":
        server.answer(503)
    if when == "relaying":
        server.send(response(200, b"12", "Content-Length: 5"))
        client.received()
    client.send(b"zz\r\n")
    if when == "relaying":
        assert client.received() == b""
        assert client.closed
    else:
        answer = client.answer()
        assert (answer.status, answer.reason) == (400, "bad-request")
        assert answer.get("connection") == "close"
    if server is not None:
        assert server.closed
    assert [record.reason for record in stage.records] == ["bad-request"]
    assert stage.snapshot().failures == (1 if when == "pausing" else 0)


def test_a_body_that_grows_too_large(make_stage):
    stage = make_stage(POLICY.format(more="") + "limits: {body_bytes: 5B}\n")
    client = stage.ask(request("PUT /x HTTP/1.1", "Transfer-Encoding: chunked"), b"5\r\n01234\r\n")
    server = stage.accept()
    client.send(b"1\r\n5\r\n")
    assert client.answer().reason == "body-too-large"
    assert server.closed == "abort"
    assert stage.snapshot().calls == 0
