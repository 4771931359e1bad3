"""Response heads: what is taken, what the upstream is called malformed for."""

import pytest

from proxy.errors import UpstreamMalformed
from proxy.http.framing import ChunkedDecoder, CloseDecoder, LengthDecoder
from proxy.http.response import parse_response_head, pass_over_body


def raw(line, *fields):
    return "\r\n".join([line, *fields, "", ""]).encode("latin-1")


def parse(line, *fields):
    return parse_response_head(raw(line, *fields))


def test_an_ordinary_head():
    head = parse(
        "HTTP/1.1 200 All right",
        "Server: x",
        "content-length: 5",
        "Set-Cookie: a=1",
        "X-Request-Id: theirs",
        "set-cookie: b=2",
    )
    assert (head.status, head.status_line) == (200, b"HTTP/1.1 200 All right\r\n")
    assert head.lines == [b"Server: x\r\n", b"Set-Cookie: a=1\r\n", b"set-cookie: b=2\r\n"]
    assert (head.length, head.chunked, head.keep_alive) == (5, False, True)
    assert head.values(b"set-cookie") == [b"a=1", b"b=2"]


@pytest.mark.parametrize(
    ("line", "status", "again"),
    [
        ("HTTP/1.1 404 Not Found", 404, b"HTTP/1.1 404 Not Found\r\n"),
        ("HTTP/1.0 200 OK", 200, b"HTTP/1.1 200 OK\r\n"),
        ("HTTP/1.1 599 ", 599, b"HTTP/1.1 599 \r\n"),
        ("HTTP/1.1 204", 204, b"HTTP/1.1 204 \r\n"),
        ("HTTP/1.1 100 Continue", 100, b"HTTP/1.1 100 Continue\r\n"),
        ("HTTP/1.1 200 \xe4", 200, b"HTTP/1.1 200 \xe4\r\n"),
    ],
)
def test_status_lines(line, status, again):
    for _ in range(2):  # the second time from memory
        head = parse(line)
        assert (head.status, head.status_line) == (status, again)


@pytest.mark.parametrize(
    ("line", "fields", "kept"),
    [
        ("HTTP/1.1 200 OK", [], True),
        ("HTTP/1.1 200 OK", ["Connection: close"], False),
        ("HTTP/1.1 200 OK", ["Connection: x, Close"], False),
        ("HTTP/1.0 200 OK", [], False),
        ("HTTP/1.0 200 OK", ["Connection: keep-alive"], True),
    ],
)
def test_persistence(line, fields, kept):
    assert parse(line, *fields).keep_alive is kept


def test_hop_by_hop_fields_stay_behind():
    head = parse(
        "HTTP/1.1 200 OK",
        "Connection: X-Gone",
        "x-gone: 1",
        "Keep-Alive: timeout=5",
        "Proxy-Authenticate: Basic",
        "Proxy-Connection: keep-alive",
        "Upgrade: h2c",
        "Trailer: X-Sum",
        "X-Kept: 1",
    )
    assert head.lines == [b"Trailer: X-Sum\r\n", b"X-Kept: 1\r\n"]


def test_upgrade_required_says_to_what():
    fields = ("Connection: Upgrade, x-gone", "Upgrade: websocket", "X-Gone: 1")
    head = parse("HTTP/1.1 426 Upgrade Required", *fields)
    assert head.lines == [b"Connection: Upgrade\r\n", b"Upgrade: websocket\r\n"]
    assert parse("HTTP/1.1 400 Bad Request", *fields).lines == []


@pytest.mark.parametrize(
    ("line", "fields", "method", "decoder"),
    [
        ("HTTP/1.1 200 OK", ["Content-Length: 5"], "GET", LengthDecoder),
        ("HTTP/1.1 200 OK", ["Content-Length: 5 "], "GET", LengthDecoder),
        ("HTTP/1.1 200 OK", ["Content-Length: 0"], "GET", None),
        ("HTTP/1.1 200 OK", ["Content-Length: 5"], "HEAD", None),
        ("HTTP/1.1 200 OK", ["Transfer-Encoding: Chunked"], "GET", ChunkedDecoder),
        ("HTTP/1.1 200 OK", ["Transfer-Encoding: chunked"], "HEAD", None),
        ("HTTP/1.1 200 OK", [], "GET", CloseDecoder),
        ("HTTP/1.0 200 OK", [], "POST", CloseDecoder),
        ("HTTP/1.1 204 No Content", [], "GET", None),
        ("HTTP/1.1 304 Not Modified", ["Content-Length: 5"], "GET", None),
        ("HTTP/1.1 103 Early Hints", [], "GET", None),
    ],
)
def test_bodies(line, fields, method, decoder):
    made = parse(line, *fields).body_decoder(method)
    assert type(made) is (type(None) if decoder is None else decoder)


@pytest.mark.parametrize(
    "head",
    [
        b"garbage\r\n\r\n",
        raw("HTTP/1.1 99 Low"),
        raw("HTTP/1.1 600 High"),
        raw("HTTP/1.1 2000 Long"),
        raw("HTTP/1.1  200 OK"),
        raw("HTTP/1.1 abc OK"),
        raw("HTTP/2.0 200 OK"),
        raw("HTTP/1.2 200 OK"),
        raw("ICY 200 OK"),
        raw("HTTP/1.1 200 O\rK"),
        raw("HTTP/1.1 200 O\0K"),
        raw("HTTP/1.1 200 O\x1bK"),
        raw("HTTP/1.1 200 O\x7fK"),
        raw("HTTP/1.1 200 OK", "X : y"),
        raw("HTTP/1.1 200 OK", "X: y", " folded"),
        raw("HTTP/1.1 200 OK", "X: y\nZ: a"),
        raw("HTTP/1.1 200 OK", "X: y\rZ: a"),
        raw("HTTP/1.1 200 OK", "X: \0"),
        raw("HTTP/1.1 200 OK", "X"),
        raw("HTTP/1.1 200 OK", "Content-Length: 5", "Transfer-Encoding: chunked"),
        raw("HTTP/1.1 200 OK", "Content-Length: 5", "Content-Length: 6"),
        raw("HTTP/1.1 200 OK", "Content-Length: +5"),
        raw("HTTP/1.1 200 OK", "Content-Length: 5, 5"),
        raw("HTTP/1.1 200 OK", "Content-Length: " + "9" * 30),
        raw("HTTP/1.1 200 OK", "Content-Length: " + "0" * 5000),
        raw("HTTP/1.1 200 OK", "Transfer-Encoding: gzip"),
        raw("HTTP/1.1 200 OK", "Transfer-Encoding: gzip, chunked"),
        raw("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        raw("HTTP/1.0 200 OK", "Transfer-Encoding: chunked"),
    ],
    ids=lambda head: repr(head[:-4][:60]),
)
def test_malformed(head):
    with pytest.raises(UpstreamMalformed):
        parse_response_head(head)
    # The sink is shared: what was refused is in no other response.
    after = parse("HTTP/1.1 200 OK", "A: b")
    assert (after.lines, after.held) == ([b"A: b\r\n"], {})


@pytest.mark.parametrize(
    "fields",
    [
        ["Content-Length: 3"],
        ["Content-Length: 3", "Connection: keep-alive"],
        ["Content-Length: 3", "Connection: close"],
        ["Content-Length: 3", "Connection: upgrade", "Upgrade: x"],
    ],
)
def test_a_body_passed_over_leaves_nothing_to_the_next_head(fields):
    for number in range(3):
        head = parse("HTTP/1.1 200 OK", f"X-Number: {number}", *fields)
        pass_over_body(head, b"HTT")
        assert head.values(b"x-number") == [b"%d" % number]
    with pytest.raises(UpstreamMalformed):
        parse("HTTP/1.1 200 OK", "Content-Length: 3", "bad name: x")
    assert parse("HTTP/1.1 200 OK", "X-Number: 4").values(b"x-number") == [b"4"]


def test_a_body_that_was_not_passed_over_leaves_nothing_to_the_next_head():
    for number in range(3):
        head = parse("HTTP/1.1 200 OK", f"X-Number: {number}", "Content-Length: 3")
        assert head.values(b"x-number") == [b"%d" % number]
    pass_over_body(head, b"HTT")
    chunked = parse("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")
    assert chunked.chunked
    assert parse("HTTP/1.1 200 OK", "X-Number: 4").values(b"x-number") == [b"4"]


def test_connection_cannot_take_the_framing_away():
    head = parse("HTTP/1.1 200 OK", "Connection: Content-Length, X", "Content-Length: 5", "X: y")
    assert (head.length, head.lines) == (5, [])
    head = parse("HTTP/1.1 200 OK", "Connection: transfer-encoding", "Transfer-Encoding: chunked")
    assert head.chunked
