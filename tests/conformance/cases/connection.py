"""What is for one connection alone (RFC 9110 section 7.6, RFC 9112 section 9), and pipelining."""

from conformance.rows import BAD, DENIED, Row

SAME = b"\0"
NONE = b""
TE = b"TE: trailers\r\nConnection: TE\r\n"

HOP_BY_HOP: list[tuple[str, bytes, bytes | str]] = [
    # a GET's fields, and those that go upstream
    ("Connection: keep-alive", b"Connection: keep-alive\r\n", NONE),
    ("Connection names a field", b"X-A: 1\r\nConnection: x-a\r\nX-B: 2\r\n", b"X-B: 2\r\n"),
    ("two Connections", b"X-A: 1\r\nX-B: 2\r\nConnection: X-A\r\nConnection: x-b\r\n", NONE),
    ("a list with empty members", b"X-A: 1\r\nConnection: , ,x-a,,\r\n", NONE),
    ("a named field that comes twice", b"X-A: 1\r\nConnection: x-a\r\nx-a: 2\r\n", NONE),
    ("a named field that is not there", b"X-B: 2\r\nConnection: x-a\r\n", b"X-B: 2\r\n"),
    ("a name by its beginning alone", b"X-AB: 1\r\nConnection: X-A\r\n", b"X-AB: 1\r\n"),
    ("Connection names Host", b"Connection: host\r\n", NONE),
    ("Connection names itself", b"Connection: Connection\r\n", NONE),
    ("Connection names Cookie", b"Cookie: a=b\r\nConnection: cookie\r\n", NONE),
    ("Connection with quotes", b'X-A: 1\r\nConnection: "x-a"\r\n', b"X-A: 1\r\n"),
    ("Keep-Alive", b"Keep-Alive: timeout=5\r\n", NONE),
    ("Proxy-Connection", b"Proxy-Connection: keep-alive\r\n", NONE),
    ("Proxy-Authorization", b"Proxy-Authorization: Basic YTpi\r\n", NONE),
    ("TE: trailers", b"TE: trailers\r\n", TE),
    ("TE with more than that", b"TE: trailers, deflate;q=0.5\r\n", TE),
    ("TE without it", b"TE: gzip\r\n", NONE),
    ("TE that Connection names", b"TE: trailers\r\nConnection: TE\r\n", TE),
    ("Trailer", b"Trailer: X-Sum\r\n", SAME),
    ("Upgrade unnamed", b"Upgrade: websocket\r\n", NONE),
    ("Upgrade", b"Upgrade: websocket\r\nConnection: Upgrade\r\n",
     b"Connection: Upgrade\r\nUpgrade: websocket\r\n"),
    ("Upgrade in other words", b"upgrade: a/1, b\r\nConnection: keep-alive, upgrade\r\n",
     b"Connection: Upgrade\r\nUpgrade: a/1, b\r\n"),
    ("Upgrade to HTTP/2", b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n"
     b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n", NONE),
    ("Upgrade to HTTP/2 among others", b"Upgrade: websocket, H2C\r\nConnection: Upgrade\r\n", NONE),
    ("Via is continued", b"Via: 1.0 other\r\n", b""),
    ("X-Forwarded-For is the caller's", b"X-Forwarded-For: 1.2.3.4\r\n", SAME),
    ("Expect without a body", b"Expect: 100-continue\r\n", NONE),
    ("an expectation nobody knows", b"Expect: 200-maybe\r\n", NONE),
]  # fmt: skip

A, B = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
CHUNKED = b"PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"

OTHERS = [
    # one behind the other
    Row("two requests", A + B, A + B),
    Row("three with bodies", POST + CHUNKED + A, POST + CHUNKED + A),
    Row("empty lines first", b"\r\n\r\n" + A, A),
    Row("empty lines between", A + b"\r\n" + B, A + B),
    Row("a line feed first", b"\n" + A, BAD),
    Row("a space first", b" " + A, BAD),
    Row("a line feed behind empty lines", b"\r\n\r\n\n" + A, BAD),
    Row("a CR first", b"\r" + A, BAD),
    Row("two CRs first", b"\r\r\n" + A, BAD),
    Row("a NUL first", b"\0" + A, BAD),
    Row("a byte order mark first", b"\xef\xbb\xbf" + A, BAD),
    # the last of a connection
    Row(
        "Connection: close",
        b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        A,
        closes=True,
    ),
    Row(
        "close among others",
        b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Close\r\n\r\n",
        A,
        closes=True,
    ),
    Row("behind a close", A[:-2] + b"Connection: close\r\n\r\n" + B, A, closes=True),
    Row("HTTP/1.0", b"GET /a HTTP/1.0\r\nHost: a\r\n\r\n", A, closes=True),
    Row("behind HTTP/1.0", b"GET /a HTTP/1.0\r\nHost: a\r\n\r\n" + B, A, closes=True),
    Row(
        "HTTP/1.0 without Host",
        b"GET /a HTTP/1.0\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n",
        closes=True,
    ),
    Row(
        "HTTP/1.0 with keep-alive",
        b"GET /a HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n" + B,
        A + B,
    ),
    Row(
        "HTTP/1.0 with Upgrade",
        b"GET /a HTTP/1.0\r\nHost: a\r\nConnection: upgrade, keep-alive\r\nUpgrade: x\r\n\r\n",
        A,
    ),
    Row(
        "Upgrade with a body", POST[:-7] + b"\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nabc", POST
    ),
    # a tunnel
    Row("CONNECT where it may not go", b"CONNECT b:25 HTTP/1.1\r\nHost: b\r\n\r\n", DENIED),
]

GARBAGE: list[tuple[str, bytes]] = [
    # behind a good request: that is answered, then this with a 400, and nothing of it goes on
    ("a word", b"garbage\r\n\r\n"),
    ("a response", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("HTTP/2's preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("NULs", b"\0\0\0\0"),
    ("a TLS greeting", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    ("a body nobody announced", b"a=b&c=d\r\n\r\n"),
    ("a chunk", b"5\r\nhello\r\n0\r\n\r\n"),
    ("a request that is smuggled", b"GET /b HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx"),
    ("a request with two Hosts", b"GET /b HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
]


def _rows() -> list[Row]:
    start = b"GET /x HTTP/1.1\r\nHost: a\r\n"
    rows = []
    for name, fields, becomes in HOP_BY_HOP:
        goes_on = fields if becomes == SAME else becomes
        assert isinstance(goes_on, bytes)
        rows.append(Row(name, start + fields + b"\r\n", start + goes_on + b"\r\n"))
    return rows + OTHERS


ROWS = _rows()
