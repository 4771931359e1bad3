"""Header fields (RFC 9110 section 5, RFC 9112 section 5). Each row is a GET's fields.

`SAME`: the fields go upstream as they came, in their order and spelling.
"""

from conformance.rows import BAD, Row

SAME = b"\0"

FIELDS: list[tuple[str, bytes, bytes | str]] = [
    # what passes
    ("an ordinary one", b"X-A: b\r\n", SAME),
    ("no space behind the colon", b"X-A:b\r\n", b"X-A: b\r\n"),
    ("white space before the value", b"X-A: \t  b\r\n", b"X-A: b\r\n"),
    ("white space in the value", b"X-A: b \t c\r\n", SAME),
    ("white space behind a value", b"X-A: b \t\r\n", b"X-A: b\r\n"),
    ("an empty value", b"X-A:\r\n", b"X-A: \r\n"),
    ("a value of white space", b"X-A: \t \r\n", b"X-A: \r\n"),
    ("odd spelling of a name", b"x-a: 1\r\nX-B: 2\r\nX-c-D: 3\r\n", SAME),
    ("repeated fields keep their order", b"X-A: 2\r\nX-B: 1\r\nX-A: 1\r\nx-a: 2\r\n", SAME),
    ("every character of a token", b"!#$%&'*+-.^_`|~09azAZ: 1\r\n", SAME),
    ("obs-text in a value", b"X-A: caf\xe9 \xff\x80\r\n", SAME),
    ("UTF-8 in a value", b"X-A: \xe2\x82\xac\r\n", SAME),
    ("colons in a value", b"X-A: b: c:d\r\n", SAME),
    ("quotes and backslashes", b'X-A: "b\\"c\r\n', SAME),
    ("two Set-Cookie", b"Set-Cookie: a=b\r\nSet-Cookie: c=d\r\n", SAME),
    ("a field named like a method", b"GET: /y HTTP/1.1\r\n", SAME),
    ("a value like a request", b"X-A: GET /y HTTP/1.1\r\n", SAME),
    ("an underscore in a name", b"X_A: 1\r\n", SAME),
    ("Authorization", b"Authorization: Basic YTpi\r\n", SAME),
    ("the same Content-Type twice", b"Content-Type: a/b\r\nContent-Type: a/b\r\n", SAME),
    ("a traceparent that is none of ours", b"traceparent: x\r\n", SAME),
    # white space and line ends where none may be
    ("a space before the colon", b"X-A : b\r\n", BAD),
    ("a tab before the colon", b"X-A\t: b\r\n", BAD),
    ("a space before the first name", b" X-A: b\r\n", BAD),
    ("a tab before the first name", b"\tX-A: b\r\n", BAD),
    ("a space in a name", b"X A: b\r\n", BAD),
    ("obs-fold with a space", b"X-A: b\r\n c\r\n", BAD),
    ("obs-fold with a tab", b"X-A: b\r\n\tc\r\n", BAD),
    ("obs-fold of an empty value", b"X-A:\r\n b\r\n", BAD),
    ("obs-fold that looks like a field", b"X-A: b\r\n Content-Length: 5\r\n", BAD),
    ("a line of white space", b"X-A: b\r\n \r\nX-B: c\r\n", BAD),
    ("a bare LF behind a field", b"X-A: b\nX-B: c\r\n", BAD),
    ("a bare LF before a field", b"\nX-A: b\r\n", BAD),
    ("a bare LF for the empty line", b"X-A: b\r\n\nX-B: c\r\n", BAD),
    ("a bare CR in a value", b"X-A: b\rc\r\n", BAD),
    ("a bare CR behind a field", b"X-A: b\rX-B: c\r\n", BAD),
    ("a bare CR before a value", b"X-A:\rb\r\n", BAD),
    ("two CRs before the LF", b"X-A: b\r\r\n", BAD),
    ("a bare CR in a name", b"X\r-A: b\r\n", BAD),
    # control characters
    ("NUL in a value", b"X-A: b\0c\r\n", BAD),
    ("NUL at a value's beginning", b"X-A: \0\r\n", BAD),
    ("NUL in a name", b"X\0A: b\r\n", BAD),
    ("BEL in a value", b"X-A: \x07\r\n", BAD),
    ("a vertical tab in a value", b"X-A: b\x0bc\r\n", BAD),
    ("a form feed in a value", b"X-A: b\x0cc\r\n", BAD),
    ("ESC in a value", b"X-A: \x1b[31m\r\n", BAD),
    ("DEL in a value", b"X-A: b\x7f\r\n", BAD),
    ("DEL in a name", b"X\x7fA: b\r\n", BAD),
    # names that are none
    ("an empty name", b": b\r\n", BAD),
    ("no colon", b"X-A\r\n", BAD),
    ("no colon, with a value", b"X-A b\r\n", BAD),
    ("obs-text in a name", b"X\xe9: b\r\n", BAD),
    ("a high bit before a name", b"\x95X-A: b\r\n", BAD),
    ("a delimiter in a name", b"X(A): b\r\n", BAD),
    ("a quoted name", b'"X-A": b\r\n', BAD),
    ("a slash in a name", b"X/A: b\r\n", BAD),
    ("an at sign in a name", b"X@A: b\r\n", BAD),
    ("brackets in a name", b"X[A]: b\r\n", BAD),
    ("HTTP/2's pseudo field", b":authority: b\r\n", BAD),
    ("a byte order mark", b"\xef\xbb\xbfX-A: b\r\n", BAD),
    # what could be read in two ways
    ("Content_Length", b"Content_Length: 5\r\n", BAD),
    ("Transfer_Encoding", b"Transfer_Encoding: chunked\r\n", BAD),
    ("two kinds of Content-Type", b"Content-Type: a/b\r\nContent-Type: c/d\r\n", BAD),
]

HOSTS: list[tuple[str, bytes, bytes | str]] = [
    # Host fields, and the Host that goes upstream
    ("a name", b"Host: a.test\r\n", SAME),
    ("a name and a port", b"Host: a.test:8080\r\n", SAME),
    ("a name in capitals", b"Host: A.TEST\r\n", SAME),
    ("an odd spelling of Host", b"hOsT: a\r\n", b"Host: a\r\n"),
    ("white space round a host", b"Host:\t a \t\r\n", b"Host: a\r\n"),
    ("an IPv4 address", b"Host: 10.0.0.1:80\r\n", SAME),
    ("an IPv6 address", b"Host: [fe80::1]:80\r\n", SAME),
    ("an empty port", b"Host: a:\r\n", SAME),
    ("an empty Host", b"Host:\r\n", b"Host: \r\n"),
    ("an underscore", b"Host: my_service\r\n", SAME),
    ("no Host", b"", BAD),
    ("two Hosts", b"Host: a\r\nHost: b\r\n", BAD),
    ("the same Host twice", b"Host: a\r\nHost: a\r\n", BAD),
    ("two Hosts, one of them empty", b"Host: a\r\nHost:\r\n", BAD),
    ("two Hosts, spelled differently", b"Host: a\r\nhost: a\r\n", BAD),
    ("two Hosts with others between", b"Host: a\r\nX: y\r\nHost: a\r\n", BAD),
    ("a list of hosts", b"Host: a, b\r\n", BAD),
    ("a list without a space", b"Host: a,b\r\n", BAD),
    ("a space in a host", b"Host: a b\r\n", BAD),
    ("user information", b"Host: u@a\r\n", BAD),
    ("user and password", b"Host: u:p@a\r\n", BAD),
    ("a path", b"Host: a/b\r\n", BAD),
    ("a query", b"Host: a?b\r\n", BAD),
    ("a fragment", b"Host: a#b\r\n", BAD),
    ("a backslash", b"Host: a\\b\r\n", BAD),
    ("a URL", b"Host: http://a\r\n", BAD),
    ("an escape", b"Host: a%00\r\n", BAD),
    ("an equals sign", b"Host: 0.0.0.0=5000\r\n", BAD),
    ("quotes", b'Host: "a"\r\n', BAD),
    ("a NUL", b"Host: a\0\r\n", BAD),
    ("obs-text", b"Host: \xe9\r\n", BAD),
    ("a port of letters", b"Host: a:b\r\n", BAD),
    ("a signed port", b"Host: a:-1\r\n", BAD),
    ("port 0", b"Host: a:0\r\n", BAD),
    ("a port above all", b"Host: a:65536\r\n", BAD),
    ("two ports", b"Host: a:1:2\r\n", BAD),
    ("a port alone", b"Host: :80\r\n", BAD),
    ("an address without its bracket", b"Host: [::1\r\n", BAD),
    ("a name in brackets", b"Host: [a.test]\r\n", BAD),
    ("something behind the bracket", b"Host: [::1]a\r\n", BAD),
    ("a zone", b"Host: [fe80::1%25eth0]\r\n", BAD),
    ("Host that is folded", b"Host:\r\n a\r\n", BAD),
    ("a space before Host's colon", b"Host : a\r\n", BAD),
]


def _rows() -> list[Row]:
    line, host = b"GET /x HTTP/1.1\r\n", b"Host: a\r\n"
    rows = []
    for table, before in ((FIELDS, line + host), (HOSTS, line)):
        for name, fields, becomes in table:
            goes_on = fields if becomes == SAME else becomes
            if isinstance(goes_on, bytes):
                goes_on = before + goes_on + b"\r\n"
            rows.append(Row(name, before + fields + b"\r\n", goes_on))
    first = b"X-A: b\r\nHost: a\r\nX-B: c\r\n"
    moved = b"Host: a\r\nX-A: b\r\nX-B: c\r\n"
    rows.append(Row("Host goes on as the first", line + first + b"\r\n", line + moved + b"\r\n"))
    return rows


ROWS = _rows()
