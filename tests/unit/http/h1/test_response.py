"""Response heads: what is taken, what the upstream is called malformed for."""

import pytest
from unit.http.h1.lines import lines

from proxy.errors import UpstreamMalformed
from proxy.http.h1.chunked import ChunkedDecoder
from proxy.http.h1.framing import CloseDecoder, LengthDecoder
from proxy.http.h1.response import MAX_FIELDS, ResponseParser, body_decoder

PARSER = ResponseParser()


def raw(line, *fields):
    return "\r\n".join([line, *fields, "", ""]).encode("latin-1")


def parse(line, *fields):
    return PARSER.parse(raw(line, *fields))


def test_an_ordinary_head():
    head = parse(
        "HTTP/1.1 200 All right",
        "Server: x",
        "content-length: 5",
        "Set-Cookie: a=1",
        "X-Request-Id: theirs",
        "set-cookie: b=2",
    )
    assert (head.status, head.status_line) == (200, b"HTTP/1.1 200 All right")
    assert lines(head) == [b"Server: x\r\n", b"Set-Cookie: a=1\r\n", b"set-cookie: b=2\r\n"]
    assert (head.length, head.chunked, head.keep_alive) == (5, False, True)
    assert head.values(b"set-cookie") == [b"a=1", b"b=2"]


@pytest.mark.parametrize(
    ("line", "status", "again"),
    [
        ("HTTP/1.1 404 Not Found", 404, b"HTTP/1.1 404 Not Found"),
        ("HTTP/1.0 200 OK", 200, b"HTTP/1.1 200 OK"),
        ("HTTP/1.1 599 ", 599, b"HTTP/1.1 599 "),
        ("HTTP/1.1 204", 204, b"HTTP/1.1 204 "),
        ("HTTP/1.1 100 Continue", 100, b"HTTP/1.1 100 Continue"),
        ("HTTP/1.1 200 \xe4", 200, b"HTTP/1.1 200 \xe4"),
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
    assert lines(head) == [b"Trailer: X-Sum\r\n", b"X-Kept: 1\r\n"]


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
    made = body_decoder(parse(line, *fields), method)
    assert type(made) is (type(None) if decoder is None else decoder)


@pytest.mark.parametrize(
    "head",
    [
        b"garbage\r\n\r\n",
        raw("HTTP/1.1 099 Low"),
        raw("HTTP/1.1 99 Low"),
        raw("HTTP/1.1 2000 Long"),
        raw("HTTP/1.1  200 OK"),
        raw("HTTP/1.1 abc OK"),
        raw("HTTP/2.0 200 OK"),
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
        PARSER.parse(head)
    # The parser is shared: what was refused is in no other response.
    after = parse("HTTP/1.1 200 OK", "A: b")
    assert (lines(after), after.held) == ([b"A: b\r\n"], {})


@pytest.mark.parametrize(
    ("line", "fields", "why"),
    [
        ("HTTP/1.0 200 OK", ["Transfer-Encoding: chunked"], "An HTTP/1.0 response cannot have"),
        ("HTTP/1.1 200 OK", ["Transfer-Encoding: gzip, chunked"], "is not 'chunked'"),
        ("HTTP/1.1 200 OK", ["Content-Length: 5", "Content-Length: 6"], "Content-Length"),
    ],
)
def test_the_detail_names_what_is_wrong_with_its_framing(line, fields, why):
    with pytest.raises(UpstreamMalformed) as caught:
        PARSER.parse(raw(line, *fields))
    assert why in caught.value.detail


@pytest.mark.parametrize("status", [600, 999])
def test_statuses_that_have_no_class_pass(status):
    assert parse(f"HTTP/1.1 {status} Request denied").status == status


def test_a_later_minor_version_is_read_as_1_1():
    assert parse("HTTP/1.2 200 OK").status_line == b"HTTP/1.1 200 OK"


def test_lengths_and_ids_differ_in_each_head():
    for number in range(100):
        head = parse(
            "HTTP/1.1 200 OK",
            f"ETag: {number}",
            "Server: x",
            f"Content-Length: {number}",
            f"Date:   {number // 50}",
        )
        assert (head.length, head.values(b"etag")) == (number, [b"%d" % number])
        assert lines(head) == [
            b"ETag: %d\r\n" % number, b"Server: x\r\n", b"Date: %d\r\n" % (number // 50),
        ]  # fmt: skip


def test_connection_cannot_take_the_framing_away():
    head = parse("HTTP/1.1 200 OK", "Connection: Content-Length, X", "Content-Length: 5", "X: y")
    assert (head.length, lines(head)) == (5, [])
    head = parse("HTTP/1.1 200 OK", "Connection: transfer-encoding", "Transfer-Encoding: chunked")
    assert head.chunked


def test_so_many_fields_and_no_more():
    fields = ["A: b"] * MAX_FIELDS
    assert len(lines(parse("HTTP/1.1 200 OK", *fields))) == MAX_FIELDS
    with pytest.raises(UpstreamMalformed, match="more than 1000 fields"):
        parse("HTTP/1.1 200 OK", *fields, "A: b")


def test_the_last_head_of_a_new_parser_is_a_head():
    """Bytes are compared with it before they are parsed: those of an HTTP/2 server began with the
    zero that stood for none.
    """
    new = ResponseParser()
    assert not bytes.fromhex("000000040000000000").startswith(new.last_raw)
    parsed = PARSER.parse(new.last_raw)
    assert (new.last.status, new.last.version) == (parsed.status, parsed.version)
    assert (new.last.status_line, new.last.length) == (parsed.status_line, parsed.length)
