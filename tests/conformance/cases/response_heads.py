"""Status lines and header fields of responses (RFC 9112 sections 4 and 5)."""

from conformance.rows import MALFORMED, Answer

SAME = b"\0"

LINES: list[tuple[str, bytes, bytes | str]] = [
    # the line, and the line that goes to the client
    ("a plain one", b"HTTP/1.1 200 OK", SAME),
    ("a long reason", b"HTTP/1.1 200 All is well, thank you", SAME),
    ("an empty reason", b"HTTP/1.1 200 ", SAME),
    ("no space for a reason", b"HTTP/1.1 200", b"HTTP/1.1 200 "),
    ("obs-text in the reason", b"HTTP/1.1 200 D\xe9j\xe0 vu", SAME),
    ("a tab in the reason", b"HTTP/1.1 200 a\tb", SAME),
    ("HTTP/1.0", b"HTTP/1.0 200 OK", b"HTTP/1.1 200 OK"),
    ("a status nobody knows", b"HTTP/1.1 299 Odd", SAME),
    ("the last status", b"HTTP/1.1 599 End", SAME),
    ("a NUL in the reason", b"HTTP/1.1 200 O\0K", MALFORMED),
    ("a control character in the reason", b"HTTP/1.1 200 O\x1b[31mK", MALFORMED),
    ("DEL in the reason", b"HTTP/1.1 200 O\x7fK", MALFORMED),
    ("a bare CR in the reason", b"HTTP/1.1 200 O\rK", MALFORMED),
    ("a bare LF in the reason", b"HTTP/1.1 200 OK\nX-A: b", MALFORMED),
    ("two CRs", b"HTTP/1.1 200 OK\r", MALFORMED),
    ("two spaces before the status", b"HTTP/1.1  200 OK", MALFORMED),
    ("a tab before the status", b"HTTP/1.1\t200 OK", MALFORMED),
    ("a tab behind the status", b"HTTP/1.1 200\tOK", MALFORMED),
    ("no space behind the status", b"HTTP/1.1 200OK", MALFORMED),
    ("two digits", b"HTTP/1.1 20 OK", MALFORMED),
    ("four digits", b"HTTP/1.1 2000 OK", MALFORMED),
    ("letters", b"HTTP/1.1 2OO OK", MALFORMED),
    ("a signed status", b"HTTP/1.1 +20 OK", MALFORMED),
    ("a negative status", b"HTTP/1.1 -200 OK", MALFORMED),
    ("no status", b"HTTP/1.1 OK", MALFORMED),
    ("the version alone", b"HTTP/1.1", MALFORMED),
    ("status 0", b"HTTP/1.1 000 OK", MALFORMED),
    ("status 99", b"HTTP/1.1 099 OK", MALFORMED),
    ("status 600", b"HTTP/1.1 600 OK", SAME),
    ("status 999", b"HTTP/1.1 999 OK", SAME),
    ("HTTP/0.9", b"<html>hello</html>", MALFORMED),
    ("HTTP/1.2", b"HTTP/1.2 200 OK", b"HTTP/1.1 200 OK"),
    ("HTTP/2.0", b"HTTP/2.0 200 OK", MALFORMED),
    ("HTTP/2", b"HTTP/2 200 OK", MALFORMED),
    ("HTTP/1.10", b"HTTP/1.10 200 OK", MALFORMED),
    ("lower case", b"http/1.1 200 OK", MALFORMED),
    ("ICY", b"ICY 200 OK", MALFORMED),
    ("a space first", b" HTTP/1.1 200 OK", MALFORMED),
    ("a line feed first", b"\nHTTP/1.1 200 OK", MALFORMED),
    ("an empty line first", b"\r\nHTTP/1.1 200 OK", MALFORMED),
    ("a NUL first", b"\0HTTP/1.1 200 OK", MALFORMED),
    ("a byte order mark first", b"\xef\xbb\xbfHTTP/1.1 200 OK", MALFORMED),
    ("a request", b"GET / HTTP/1.1", MALFORMED),
    ("a TLS alert", b"\x15\x03\x01\x00\x02\x02\x16", MALFORMED),
]

FIELDS: list[tuple[str, bytes, bytes | str]] = [
    # fields, and those that go to the client
    ("ordinary ones", b"X-A: b\r\nDate: today\r\nServer: x/1\r\n", SAME),
    ("repeated fields", b"Set-Cookie: b\r\nSet-Cookie: a\r\nset-cookie: c\r\n", SAME),
    ("white space before a value", b"X-A: \t b\r\n", b"X-A: b\r\n"),
    ("white space behind a value", b"X-A: b \t\r\n", b"X-A: b\r\n"),
    ("an empty value", b"X-A:\r\n", b"X-A: \r\n"),
    ("obs-text", b"X-A: \xe9\xff\r\n", SAME),
    ("Location with escapes", b"Location: /a%0d%0aX-B:%20c\r\n", SAME),
    ("Via of another", b"Via: 1.0 other\r\n", SAME),
    ("Alt-Svc", b'Alt-Svc: h2=":443"\r\n', SAME),
    # for this connection alone
    ("Keep-Alive", b"Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n", b""),
    ("Proxy-Connection", b"Proxy-Connection: keep-alive\r\n", b""),
    ("Connection names a field", b"X-A: b\r\nConnection: x-a\r\nX-B: c\r\n", b"X-B: c\r\n"),
    ("Upgrade unasked", b"Upgrade: h2c\r\nConnection: Upgrade\r\n", b""),
    ("TE", b"TE: trailers\r\n", b""),
    ("Proxy-Authenticate", b"Proxy-Authenticate: Basic\r\n", b""),
    ("X-Request-Id is the proxy's", b"X-Request-Id: other\r\n", b""),
    # splitting, and what is no field
    ("a bare CR in a value", b"X-A: b\rX-B: c\r\n", MALFORMED),
    ("a bare LF in a value", b"X-A: b\nX-B: c\r\n", MALFORMED),
    ("an LF and a response", b"X-A: b\n\nHTTP/1.1 200 OK\r\n", MALFORMED),
    ("NUL in a value", b"X-A: b\0c\r\n", MALFORMED),
    ("a control character in a value", b"X-A: \x08\r\n", MALFORMED),
    ("DEL in a value", b"X-A: \x7f\r\n", MALFORMED),
    ("obs-fold", b"X-A: b\r\n c\r\n", MALFORMED),
    ("obs-fold with a tab", b"X-A: b\r\n\tc\r\n", MALFORMED),
    ("a space before the colon", b"X-A : b\r\n", MALFORMED),
    ("a space before the name", b" X-A: b\r\n", MALFORMED),
    ("a space in a name", b"X A: b\r\n", MALFORMED),
    ("no colon", b"X-A\r\n", MALFORMED),
    ("an empty name", b": b\r\n", MALFORMED),
    ("obs-text in a name", b"X\xe9: b\r\n", MALFORMED),
    ("a NUL in a name", b"X\0A: b\r\n", MALFORMED),
    ("a field beyond bounds", b"X-A: " + b"b" * 70_000 + b"\r\n", MALFORMED),
    ("fields beyond bounds", b"X-A: b\r\n" * 9_000, MALFORMED),
]


def _rows() -> list[Answer]:
    rows = []
    end = b"\r\nContent-Length: 2\r\n\r\nhi"
    for name, line, becomes in LINES:
        goes_on = line if becomes == SAME else becomes
        if isinstance(goes_on, bytes):
            goes_on += end
        reused = isinstance(goes_on, bytes) and not line.startswith(b"HTTP/1.0")
        rows.append(Answer(name, line + end, goes_on, reused=reused))
    line, end = b"HTTP/1.1 200 OK\r\n", b"Content-Length: 2\r\n\r\nhi"
    for name, fields, becomes in FIELDS:
        goes_on = fields if becomes == SAME else becomes
        if isinstance(goes_on, bytes):
            goes_on = line + goes_on + end
        rows.append(Answer(name, line + fields + end, goes_on, reused=becomes != MALFORMED))
    return rows


ROWS = _rows()
