"""Copies of requests: what they carry, and that the request never notices them."""

import pytest
from exchange.calls import Caller, accept
from exchange.wires import request, response

from proxy.config.loading import load_text
from proxy.config.model import Listener
from proxy.config.standing_aside import standing_aside
from proxy.config.summary import summary
from proxy.exchange import mirroring
from proxy.exchange.mirroring import BEHIND
from proxy.routing.explain import describe_request, explain

TEXT = """
service: stage
upstreams:
  shop: {endpoints: ["http://10.0.0.1:80"]}
  copy: {endpoints: ["http://10.0.0.2:80"]}
policies:
  default:
    timeouts: {attempt: 2s, request: 10s}
    retry: {backoff: {initial: 100ms, jitter: none}}
routes:
  - {name: shop, upstream: shop, mirror: {upstream: copy, max_in_flight: 2}}
"""


@pytest.fixture
def stage(make_stage):
    return make_stage(TEXT)


def both(stage):
    """The connections of the request and of its copy."""
    server = stage.accept()
    assert server.endpoint.ip == "10.0.0.1"
    mirror = stage.accept()
    assert mirror.endpoint.ip == "10.0.0.2"
    return server, mirror


def test_a_copy_that_is_cut_while_it_is_answered_keeps_no_connection(stage):
    client = stage.ask(request("POST /x HTTP/1.1", "Content-Length: 10", body=b"12345"))
    _, mirror = both(stage)
    mirror.send(response(200, b"ab", "Content-Length: 5"))
    client.reset()
    stage.loop.run()
    assert mirror.closed
    assert stage.counts("copy").active == 0
    assert stage.stats().mirrors == {"2xx": 1}


@pytest.mark.parametrize("answers", [True, False])
def test_a_copy_has_its_time_from_the_end_of_its_body_on(stage, answers):
    client = stage.ask(request("POST /x HTTP/1.1", "Content-Length: 4", body=b"1"))
    server, mirror = both(stage)
    for piece in (b"2", b"3", b"4"):
        stage.pass_time(1)
        client.send(piece)
    server.answer()
    assert client.answer().status == 200
    stage.pass_time(1.9)
    assert stage.stats().mirrors == {}, "the body took longer than an attempt may"
    if answers:
        mirror.answer()
    stage.pass_time(0.2)
    assert stage.stats().mirrors == {"2xx" if answers else "failed": 1}


def test_method_head_and_body_go_to_the_mirror_and_its_answer_nowhere(stage):
    client = stage.ask(request("POST /a?b=1 HTTP/1.1", "X-A: 1", "X-Mirrored: 7", body=b"hello"))
    server, mirror = both(stage)
    original, copy = server.request(), mirror.request()
    assert (copy.line, copy.body) == (original.line, b"hello")
    assert (copy.get("host"), copy.get("x-a")) == ("shop", "1")
    assert copy.get("x-mirrored") == "1"
    assert copy.get("x-request-id") == original.get("x-request-id")
    trace, span = original.get("traceparent").split("-")[1:3]
    assert copy.get("traceparent").split("-")[1] == trace
    assert copy.get("traceparent").split("-")[2] != span
    mirror.answer(500, b"broken")
    server.answer(200, b"fine")
    answer = client.answer()
    assert (answer.status, answer.body, answer.get("proxy-status")) == (200, b"fine", None)
    assert stage.stats().mirrors == {"5xx": 1}
    assert stage.stats().attempts == {("shop", "2xx"): 1}
    assert stage.stats().answers == {(200, ""): 1}


def test_credentials_stay_behind_unless_asked_for(make_stage):
    secrets = ("Authorization: Bearer t", "Cookie: a=b", "Accept: x/y")
    stage = make_stage(TEXT)
    client = stage.ask(request("GET /a HTTP/1.1", *secrets))
    server, mirror = both(stage)
    assert server.request().get("cookie") == "a=b"
    copy = mirror.request()
    assert (copy.get("authorization"), copy.get("cookie")) == (None, None)
    assert copy.get("accept") == "x/y"
    mirror.answer()
    server.answer()
    client.answer()
    stage = make_stage(TEXT.replace("max_in_flight: 2", "credentials: true"))
    client = stage.ask(request("GET /a HTTP/1.1", *secrets))
    server, mirror = both(stage)
    copy = mirror.request()
    assert (copy.get("authorization"), copy.get("cookie")) == ("Bearer t", "a=b")
    mirror.answer()
    server.answer()
    client.answer()


def test_no_copy_has_anything_of_another_request(stage):
    """What a mirror remembers of a head is the part that has no values of one request."""
    client = None
    for turn, own in enumerate(
        [
            ("X-Request-Id: a1", "Accept: x/y", "Authorization: Bearer t1"),
            ("X-Request-Id: a2", "Accept: x/y", "Authorization: Bearer t2"),
            ("X-Request-Id: a3", "Accept: x/y"),
            ("X-Request-Id: a4", "Accept: x/y"),
            ("X-Request-Id: a5", "X-Mirrored: yes", "Accept: x/z", "Cookie: a=5"),
            ("X-Request-Id: a6", "Accept: x/y", "If-None-Match: 6"),
            ("X-Request-Id: a7", "Accept: x/y", "If-None-Match: 7"),
        ],
        1,
    ):
        asked = request(f"GET /{turn} HTTP/1.1", *own)
        client = client or stage.client()
        client.send(asked)
        if turn == 1:
            server, mirror = both(stage)
        original, copy = server.request(), mirror.request()
        assert (copy.line, copy.get("x-request-id")) == (original.line, f"a{turn}")
        for name in ("accept", "if-none-match"):
            assert copy.get(name) == original.get(name), (turn, name)
        assert (copy.get("authorization"), copy.get("cookie")) == (None, None)
        assert copy.get("x-mirrored") == "1"
        mirror.answer()
        server.answer()
        client.answer()


def test_credentials_that_differ_in_every_request_stay_behind_too(stage):
    client = stage.client()
    for turn in range(30):
        client.send(request("GET / HTTP/1.1", f"Authorization: Bearer {turn}", f"X-Turn: {turn}"))
        if not turn:
            server, mirror = both(stage)
        original, copy = server.request(), mirror.request()
        assert original.get("authorization") == f"Bearer {turn}"
        assert (copy.get("authorization"), copy.get("x-turn")) == (None, str(turn))
        assert copy.get("x-mirrored") == "1"
        mirror.answer()
        server.answer()
        client.answer()


def test_share(make_stage):
    stage = make_stage(TEXT.replace("max_in_flight: 2", "share: 50%"))
    for chance, copies in ((0.5, 0), (0.49, 1)):
        stage.chance = chance
        client = stage.ask(request())
        if copies:
            server, mirror = both(stage)
            mirror.answer()
        else:
            server = stage.accept()
            assert not stage.connects
        server.answer(200, b"", "Connection: close")
        client.answer()
    assert stage.stats().mirrors == {"2xx": 1}


def test_it_leaves_once_when_an_attempt_has_its_connection(stage):
    client = stage.ask(request())
    stage.refuse()
    assert not stage.connects, "not yet"
    stage.pass_time(0.2)
    server, mirror = both(stage)
    server.answer(503)
    mirror.answer()
    stage.pass_time(0.3)
    assert not stage.connects, "the retry is not copied, and it uses its connection again"
    server.answer()
    assert client.answer().status == 200
    assert stage.stats().mirrors == {"2xx": 1}


def test_its_own_failures_are_only_counted(stage):
    client = stage.ask(request())
    server = stage.accept()
    stage.refuse()
    assert stage.stats().mirrors == {"failed": 1}
    server.answer()
    assert client.answer().status == 200
    client = stage.ask(request())
    mirror = stage.accept()
    mirror.close()
    server.answer()
    assert client.answer().status == 200
    assert stage.stats().mirrors == {"failed": 2}
    assert not stage.connects, "a copy is never retried"
    assert stage.snapshot().failures == 0


def test_a_silent_mirror_is_given_up_after_an_attempts_time(stage):
    client = stage.ask(request())
    server, mirror = both(stage)
    server.answer()
    assert client.answer().status == 200
    stage.pass_time(1.9)
    assert not mirror.closed
    stage.pass_time(0.2)
    assert mirror.closed
    assert stage.stats().mirrors == {"failed": 1}


def test_an_answer_without_end_is_left(stage):
    client = stage.ask(request())
    server, mirror = both(stage)
    server.answer()
    client.answer()
    mirror.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(12):
        mirror.send(b"5\r\nhello\r\n")
        stage.pass_time(0.2)
    assert mirror.closed
    assert stage.stats().mirrors == {"2xx": 1}


def test_an_answer_that_breaks_off_is_left(stage):
    client = stage.ask(request())
    server, mirror = both(stage)
    mirror.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
    mirror.reset()
    assert stage.stats().mirrors == {"2xx": 1}
    server.answer()
    assert client.answer().status == 200


def test_an_answer_before_the_bodys_end_does_not_stop_the_body(stage):
    client = stage.ask(request("POST /x HTTP/1.1", "Content-Length: 9", body=b"abc"))
    server, mirror = both(stage)
    mirror.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na")
    mirror.received()
    mirror.stop_reading()
    client.send(b"def")
    mirror.read_on()
    client.send(b"ghi")
    assert mirror.received() == b"defghi"
    mirror.send(b"b")
    assert not mirror.closed
    assert stage.stats().mirrors == {"2xx": 1}
    server.answer()
    assert client.answer().status == 200


@pytest.mark.interpreted
@pytest.mark.parametrize(
    ("where", "name", "result"),
    [(mirroring, "_copied", {}), (mirroring.Mirror, "_take_answer", {"2xx": 1})],
)
def test_a_bug_in_a_mirror_costs_no_request(stage, monkeypatch, caplog, where, name, result):
    def broken(*_arguments):
        raise RuntimeError("a bug")

    monkeypatch.setattr(where, name, broken)
    client = stage.ask(request())
    server = stage.accept()
    if result:
        mirror = stage.accept()
        mirror.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        assert mirror.closed
    assert not stage.connects
    server.answer()
    assert client.answer().status == 200
    assert stage.stats().mirrors == result
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [RuntimeError]


def test_its_places(stage):
    clients = [stage.ask(request()) for _ in range(3)]
    servers = [stage.accept() for _ in range(stage.connects)]
    kinds = [server.endpoint.ip for server in servers]
    assert sorted(kinds) == ["10.0.0.1"] * 3
    mirrors = [stage.accept() for _ in range(stage.connects)]
    assert [one.endpoint.ip for one in mirrors] == ["10.0.0.2"] * 2
    assert stage.stats().mirrors == {"full": 1}
    for server in servers:
        server.answer()
    assert [client.answer().status for client in clients] == [200] * 3
    assert [one.mirrored for one in stage.records] == ["copy", "copy", ""]
    for mirror in mirrors:
        mirror.answer()
    clients[0].send(request())
    servers[-1].answer()  # the connection that was used last is used again
    clients[0].answer()
    mirrors[-1].answer()
    assert stage.stats().mirrors == {"full": 1, "2xx": 3}


def test_a_body_streams_to_both(stage):
    client = stage.ask(request("POST /x HTTP/1.1", "Content-Length: 9", body=b"abc"))
    server, mirror = both(stage)
    client.send(b"def")
    server.received(), mirror.received()
    client.send(b"ghi")
    assert (server.received(), mirror.received()) == (b"ghi", b"ghi")
    server.answer()
    mirror.answer()
    assert client.answer().status == 200


def test_a_mirror_that_connects_late_gets_the_whole_body(stage):
    client = stage.ask(request("POST /x HTTP/1.1", "Transfer-Encoding: chunked"))
    server = stage.accept()
    client.send(b"3\r\nabc\r\n")
    client.send(b"3\r\ndef\r\n0\r\nX-Sum: 1\r\n\r\n")
    server.answer()
    assert client.answer().status == 200
    mirror = stage.accept()
    assert mirror.request().body.endswith(b"\r\n0\r\nX-Sum: 1\r\n\r\n")
    mirror.answer()
    assert stage.stats().mirrors == {"2xx": 1}


def test_a_slow_mirror_is_dropped_and_the_body_is_not_held_back(stage):
    size = 3 * BEHIND
    client = stage.ask(request("POST /x HTTP/1.1", f"Content-Length: {size}"))
    server, mirror = both(stage)
    mirror.stop_reading()
    sent = 0
    while sent < size:
        client.send(16384 * b"x")
        sent += 16384
        assert client.transport.reading
    assert mirror.closed
    assert stage.stats().mirrors == {"slow": 1}
    server.answer()
    assert client.answer().status == 200


def test_a_mirror_that_was_slow_for_a_while_is_kept(stage):
    size = 3 * BEHIND
    client = stage.ask(request("POST /x HTTP/1.1", f"Content-Length: {size}"))
    server, mirror = both(stage)
    mirror.stop_reading()
    client.send(16384 * b"x")
    mirror.read_on()
    for _ in range(size // 16384 - 1):
        client.send(16384 * b"x")
    assert not mirror.closed
    mirror.answer()
    server.answer()
    assert client.answer().status == 200
    assert stage.stats().mirrors == {"2xx": 1}


def test_trailers_that_came_with_the_head_are_copied(stage):
    head = request("POST /x HTTP/1.1", "Transfer-Encoding: chunked")
    client = stage.ask(head + b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n")
    server, mirror = both(stage)
    for one in (server, mirror):
        assert one.request().body.endswith(b"\r\n0\r\nX-Sum: 1\r\n\r\n")
        one.answer()
    assert client.answer().status == 200


def test_a_mirror_without_a_connection_keeps_a_bounded_part(stage):
    client = stage.ask(request("POST /x HTTP/1.1", f"Content-Length: {3 * BEHIND}"))
    server = stage.accept()
    for _ in range(3 * BEHIND // 16384):
        client.send(16384 * b"x")
    assert stage.stats().mirrors == {"slow": 1}
    server.answer()
    assert client.answer().status == 200


def test_a_body_that_breaks_off_ends_the_copy(stage):
    client = stage.ask(request("POST /x HTTP/1.1", "Content-Length: 9", body=b"abc"))
    _, mirror = both(stage)
    client.reset()
    assert mirror.closed
    assert stage.stats().mirrors == {"cut": 1}


def test_a_client_that_leaves_after_its_body_changes_nothing(stage):
    client = stage.ask(request("POST /x HTTP/1.1", body=b"abc"))
    _, mirror = both(stage)
    client.reset()
    assert not mirror.closed
    mirror.answer()
    assert stage.stats().mirrors == {"2xx": 1}


def test_a_refusal_and_a_tunnel_have_no_copy(stage):
    upgrade = ("Connection: Upgrade", "Upgrade: websocket")
    client = stage.ask(request("GET /x HTTP/1.1", *upgrade))
    server = stage.accept()
    assert not stage.connects
    server.answer(400)
    client.answer()
    client = stage.ask(b"CONNECT 10.0.0.9:443 HTTP/1.1\r\nHost: 10.0.0.9:443\r\n\r\n")
    stage.accept()
    assert not stage.connects
    client.reset()
    assert stage.stats().mirrors == {}


def test_a_fallback_is_not_copied(make_stage):
    stage = make_stage(
        TEXT.replace("name: shop,", "name: shop, fallback: {when: [503], upstream: copy},")
        .replace("mirror: {upstream: copy", "mirror: {upstream: copy, share: 100%")
        .replace("retry: {", "retry: {attempts: 1, ")
    )
    client = stage.ask(request())
    server, mirror = both(stage)
    mirror.answer(200, b"copy")
    server.answer(503)
    mirror.answer(200, b"spare")
    assert client.answer().body == b"spare"
    assert stage.stats().mirrors == {"2xx": 1}


@pytest.mark.interpreted
def test_a_grpc_stream(stage):
    caller = Caller(stage, "grpc-timeout: 5S", body=b"one", ended=False)
    (call,) = accept(stage)
    (copy,) = accept(stage)
    assert copy.fields["content-type"] == "application/grpc"
    assert copy.fields["x-mirrored"] == "1"
    assert "grpc-timeout" in copy.fields
    call.answer(("content-type", "application/grpc"), data=b"m")
    copy.answer(("content-type", "application/grpc"), data=b"m")
    stage.pass_time(3)
    caller.send(b"two")
    assert (call.data, copy.data) == (b"onetwo", b"onetwo")
    copy.send(100 * b"x")
    caller.end_sending()
    assert copy.ended
    call.end_with(0)
    assert caller.code == 0
    copy.end_with(13)
    assert copy.released == "whole"
    assert stage.stats().mirrors == {"2xx": 1}


def test_over_http2(make_stage):
    stage = make_stage(TEXT.replace('2:80"]}', '2:80"], protocol: http2}'))
    client = stage.ask(request("POST /x HTTP/1.1", body=b"abc"))
    server = stage.accept()
    mirror = stage.accept_http2()
    mirror.listen()
    (stream,) = mirror.requests
    assert stream.get("x-mirrored") == "1"
    assert stream.body == b"abc"
    server.answer()
    assert client.answer().status == 200
    mirror.answer(204)
    assert stage.stats().mirrors == {"2xx": 1}


def test_inbound(make_stage):
    stage = make_stage(TEXT.replace("name: shop,", "name: shop, listener: inbound,"))
    client = stage.ask(request(), listener=Listener.INBOUND)
    server, mirror = both(stage)
    assert mirror.request().get("x-forwarded-for") == server.request().get("x-forwarded-for")
    server.answer()
    mirror.answer()
    assert client.answer().status == 200


def test_a_reload_keeps_the_places(stage):
    for _ in range(2):
        stage.ask(request())
    while stage.connects:
        stage.accept()
    stage.reload(TEXT.replace("attempt: 2s", "attempt: 3s"))
    stage.ask(request())
    stage.accept()
    assert stage.stats().mirrors == {"full": 1}
    stage.pass_time(11)


def test_under_the_bypass_there_are_none(stage):
    assert standing_aside(stage.config).routes[0].mirror is None


def test_check_and_explain_say_so():
    loaded = load_text(TEXT, "f.yaml", {})
    assert "-> shop (http://10.0.0.1:80), mirrors 100% to copy" in summary(loaded)
    told = explain(loaded, Listener.OUTBOUND, describe_request("GET", "http://a/x", []))
    assert "mirrors 100% to copy, up to 2 at once" in told.text()
    twice = load_text(TEXT.replace("mirror: {upstream: copy", "mirror: {upstream: shop"), "f", {})
    assert any("it gets each of them twice" in str(one) for one in twice.warnings)


def copied(stage, *parts):
    """One request and its copy, both answered; what the copy's server got."""
    client = stage.ask(request(*parts))
    server, mirror = (stage.accept() if stage.connects else None for _ in range(2))
    reached = [one for one in stage.servers if not one.closed]
    server = server or next(one for one in reached if one.endpoint.ip == "10.0.0.1")
    mirror = mirror or next(one for one in reached if one.endpoint.ip == "10.0.0.2")
    got = mirror.request()
    mirror.answer()
    server.answer()
    assert client.answer().status == 200
    return got


def test_equal_requests_one_after_another_are_copied_each_with_its_ids(stage):
    first, second = (copied(stage, "GET /a HTTP/1.1", "Cookie: a=b") for _ in range(2))
    assert first.line == second.line
    assert (second.get("x-mirrored"), second.get("cookie")) == ("1", None)
    assert first.get("x-request-id") != second.get("x-request-id")
    other = copied(stage, "GET /b HTTP/1.1", "X-A: 1")
    assert (other.line, other.get("x-a")) == ("GET /b HTTP/1.1", "1")
    assert stage.stats().mirrors == {"2xx": 3}


def test_a_copy_after_another_has_all_its_time(stage):
    """Their streams are the same object: the first one's alarm does not ring for the second."""
    copied(stage, "GET /a HTTP/1.1")
    stage.pass_time(1.5)
    client = stage.ask(request("GET /a HTTP/1.1"))
    for server in stage.servers:
        if server.endpoint.ip == "10.0.0.1":
            server.request()
            server.answer()
    assert client.answer().status == 200
    stage.pass_time(1.9)
    assert stage.stats().mirrors == {"2xx": 1}, "it is still waited for"
    stage.pass_time(0.2)
    assert stage.stats().mirrors == {"2xx": 1, "failed": 1}


def test_a_status_beyond_599_counts_as_5xx(stage):
    client = stage.ask(request("GET /a HTTP/1.1"))
    server, mirror = both(stage)
    mirror.answer(799)
    server.answer()
    assert client.answer().status == 200
    assert stage.stats().mirrors == {"5xx": 1}
