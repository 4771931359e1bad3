"""`limits` (url_bytes 200, header_bytes 1 KiB, headers 16, body_bytes 1 KiB): at, above, below."""

from conformance.rows import Row

URL, HEAD, FIELDS, BODY = 200, 1024, 16, 1024
TOO_LONG, TOO_LARGE, TOO_MUCH = "414 url-too-long", "431 headers-too-large", "413 body-too-large"


def url(size: int) -> bytes:
    return b"GET /" + b"x" * (size - 1) + b" HTTP/1.1\r\nHost: a\r\n\r\n"


def head(size: int) -> bytes:
    before = b"GET /x HTTP/1.1\r\nHost: a\r\nX-A: "
    return before + b"b" * (size - len(before) - 4) + b"\r\n\r\n"


def fields(count: int) -> bytes:
    more = b"".join(b"x%d: 1\r\n" % number for number in range(count - 1))
    return b"GET /x HTTP/1.1\r\nHost: a\r\n" + more + b"\r\n"


def body(size: int) -> bytes:
    return b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + b"b" * size


def chunks(*sizes: int) -> bytes:
    start = b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = [b"%x\r\n%b\r\n" % (size, b"b" * size) for size in sizes]
    return start + b"".join(pieces) + b"0\r\n\r\n"


def same(name: str, sent: bytes) -> Row:
    return Row(name, sent, sent)


ROWS = [
    same("a URL below", url(URL - 1)),
    same("a URL at the limit", url(URL)),
    Row("a URL above", url(URL + 1), TOO_LONG),
    Row("a URL far above", url(5000), TOO_LONG),
    Row("a query above", b"GET /?" + b"x" * URL + b" HTTP/1.1\r\nHost: a\r\n\r\n", TOO_LONG),
    Row("a URL without end", b"GET /" + b"x" * 5000, TOO_LONG),
    Row(
        "a CONNECT above", b"CONNECT " + b"x" * URL + b":443 HTTP/1.1\r\nHost: a\r\n\r\n", TOO_LONG
    ),
    Row("a method without end", b"G" * 5000, TOO_LONG),
    same("a head below", head(HEAD - 1)),
    same("a head at the limit", head(HEAD)),
    Row("a head above", head(HEAD + 1), TOO_LARGE),
    Row("a head far above", head(70_000), TOO_LARGE),
    Row("a value without end", head(5000)[:-4], TOO_LARGE),
    Row("a name without end", b"GET /x HTTP/1.1\r\nHost: a\r\n" + b"x" * 5000, TOO_LARGE),
    Row("fields without end", b"GET /x HTTP/1.1\r\n" + b"Host: a\r\n" * 500, TOO_LARGE),
    same("fields below", fields(FIELDS - 1)),
    same("fields at the limit", fields(FIELDS)),
    Row("fields above", fields(FIELDS + 1), TOO_LARGE),
    Row("very many small fields", fields(130), TOO_LARGE),
    same("a body below", body(BODY - 1)),
    same("a body at the limit", body(BODY)),
    Row("a body above", body(BODY + 1), TOO_MUCH),
    Row("a body said to be above", body(BODY)[:-BODY].replace(b"1024", b"1025"), TOO_MUCH),
    Row("a length far above", body(0).replace(b"h: 0", b"h: 99999999999999999"), TOO_MUCH),
    same("chunks at the limit", chunks(BODY - 24, 24)),
    Row("chunks above", chunks(BODY - 24, 25), TOO_MUCH),
    Row("one chunk above", chunks(BODY + 1), TOO_MUCH),
    same("a chunk for each byte", chunks(*[1] * 100)),
]
