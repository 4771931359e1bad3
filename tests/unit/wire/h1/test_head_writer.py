"""Heads as HTTP/1.1 writes them."""

import httptools
import pytest

from proxy.http.h1.request import RequestParser
from proxy.http.h1.response import ResponseParser
from proxy.http.making import make_response
from proxy.http.message import FieldName, make_field
from proxy.wire.h1.head_writer import HEAD_ENDS, add_own, last_chunk, request_front, response_front


def request(line, *fields):
    raw = "\r\n".join([line, *fields, "", ""]).encode("latin-1")
    return RequestParser((), max_url=1000, max_fields=20).parse(raw)


def response(line, *fields):
    return ResponseParser().parse("\r\n".join([line, *fields, "", ""]).encode("latin-1"))


def test_a_request():
    head = request("POST /x?q HTTP/1.1", "host: A", "X-B:1", "Content-Length: 3", "x-c: 2")
    assert request_front(head) == (
        b"POST /x?q HTTP/1.1\r\nHost: A\r\nX-B: 1\r\nx-c: 2\r\nContent-Length: 3"
    )


def test_a_front_is_made_once():
    head = request("GET /x HTTP/1.1", "Host: a", "X-B: 1")
    assert request_front(head) is request_front(head)


@pytest.mark.parametrize(
    ("line", "first"),
    [
        ("GET /x? HTTP/1.1", b"GET /x? HTTP/1.1"),
        ("GET http://a/x HTTP/1.1", b"GET /x HTTP/1.1"),
        ("GET /x HTTP/1.0", b"GET /x HTTP/1.1"),
        ("OPTIONS * HTTP/1.1", b"OPTIONS * HTTP/1.1"),
        ("LIST /x HTTP/1.1", b"LIST /x HTTP/1.1"),
    ],
)
def test_request_lines(line, first):
    assert request_front(request(line, "Host: a")).split(b"\r\n")[:2] == [first, b"Host: a"]


@pytest.mark.parametrize(
    ("fields", "last"),
    [
        (["Transfer-Encoding: chunked"], b"Transfer-Encoding: chunked"),
        (["Content-Length: 0"], b"Content-Length: 0"),
        (["TE: gzip, trailers"], b"TE: trailers\r\nConnection: TE"),
        (["TE: gzip"], b"Host: a"),
        (["Connection: upgrade", "Upgrade: x"], b"Connection: Upgrade\r\nUpgrade: x"),
        (
            ["TE: trailers", "Connection: upgrade", "Upgrade: x"],
            b"TE: trailers\r\nConnection: TE, Upgrade\r\nUpgrade: x",
        ),
        (["Connection: upgrade", "Upgrade: h2c"], b"Host: a"),
    ],
)
def test_what_frames_a_request_and_is_for_one_hop(fields, last):
    front = request_front(request("POST / HTTP/1.1", "Host: a", *fields))
    assert front == b"POST / HTTP/1.1\r\nHost: a" + (b"\r\n" + last if last != b"Host: a" else b"")


def test_another_path_host_and_fields():
    head = request("GET /x?q HTTP/1.1", "Host: a", "X-B: 1", "X-C: 2")
    changed = head.changed(path="/y", host_text="b", fields=[make_field(b"N", b"1")])
    assert request_front(changed) == b"GET /y?q HTTP/1.1\r\nHost: b\r\nN: 1"
    assert request_front(head) == b"GET /x?q HTTP/1.1\r\nHost: a\r\nX-B: 1\r\nX-C: 2"


def test_a_response():
    head = response("HTTP/1.0 200 Fine", "A: 1", "Connection: x", "X: 1", "Content-Length: 03")
    assert response_front(head) == b"HTTP/1.1 200 Fine\r\nA: 1\r\nContent-Length: 3"
    changed = head.changed([make_field(b"B", b"2")])
    assert response_front(changed) == b"HTTP/1.1 200 Fine\r\nB: 2\r\nContent-Length: 3"


@pytest.mark.parametrize("line", ["HTTP/1.1 204 No Content", "HTTP/1.1 103 Hints"])
def test_responses_that_have_no_length(line):
    assert b"Content-Length" not in response_front(response(line, "Content-Length: 3"))


def test_upgrade_required_says_to_what():
    fields = ("Connection: Upgrade, x-gone", "Upgrade: websocket", "X-Gone: 1")
    front = response_front(response("HTTP/1.1 426 Upgrade Required", *fields))
    assert front.endswith(b"Required\r\nConnection: Upgrade\r\nUpgrade: websocket")
    assert response_front(response("HTTP/1.1 400 Bad", *fields)) == b"HTTP/1.1 400 Bad"


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (200, b"HTTP/1.1 200 OK"),
        (503, b"HTTP/1.1 503 Service Unavailable"),
        (508, b"HTTP/1.1 508 Loop Detected"),
        (299, b"HTTP/1.1 299 "),
        (599, b"HTTP/1.1 599 "),
    ],
)
def test_status_lines_of_the_proxys_own(status, line):
    assert response_front(make_response(status, [], None)) == line


@pytest.mark.parametrize("status", [200, 299, 400, 499, 503, 599])
def test_they_are_read_by_llhttp(status):
    class Seen:
        complete = False

        def on_message_complete(self):
            self.complete = True

    seen = Seen()
    parser = httptools.HttpResponseParser(seen)
    parts = [response_front(make_response(status, [make_field(b"X", b"y")], 2))]
    add_own(parts, [(FieldName(b"Y"), b"z")])
    parser.feed_data(b"".join(parts) + HEAD_ENDS + b"{}")
    assert parser.get_status_code() == status
    assert seen.complete


def test_own_fields():
    parts = []
    add_own(parts, [(FieldName(b"Via"), b"1.1 a"), (FieldName(b"x-b"), b"")])
    assert b"".join(parts) == b"\r\nVia: 1.1 a\r\nx-b: "


def test_the_last_chunk():
    assert last_chunk([]) == b"0\r\n\r\n"
    assert last_chunk([(b"A", b"1"), (b"b", b"")]) == b"0\r\nA: 1\r\nb: \r\n\r\n"
