"""Where a request's body ends (RFC 9112 section 6). Each row is a POST's fields and body."""

from conformance.rows import BAD, Row

SAME = b"\0"
LAST = b"0\r\n\r\n"

FRAMED: list[tuple[str, bytes, bytes, bytes | str]] = [
    # lengths
    ("a length", b"Content-Length: 5", b"hello", SAME),
    ("a length of nothing", b"Content-Length: 0", b"", SAME),
    ("no length and no body", b"X-A: b", b"", SAME),
    ("leading zeros", b"Content-Length: 0005", b"hello", b"Content-Length: 5"),
    ("white space round a length", b"Content-Length: \t5 \t", b"hello", b"Content-Length: 5"),
    ("an odd spelling", b"cOnTeNt-LeNgTh: 5", b"hello", b"Content-Length: 5"),
    ("a plus sign", b"Content-Length: +5", b"hello", BAD),
    ("a minus sign", b"Content-Length: -5", b"hello", BAD),
    ("minus nothing", b"Content-Length: -0", b"", BAD),
    ("hexadecimal", b"Content-Length: 0x5", b"hello", BAD),
    ("hexadecimal without a prefix", b"Content-Length: a", b"helloworld", BAD),
    ("a fraction", b"Content-Length: 5.0", b"hello", BAD),
    ("an exponent", b"Content-Length: 5e0", b"hello", BAD),
    ("an underscore in a number", b"Content-Length: 1_0", b"helloworld", BAD),
    ("a space in a number", b"Content-Length: 1 0", b"helloworld", BAD),
    ("a list of two", b"Content-Length: 5, 5", b"hello", BAD),
    ("a list of two that differ", b"Content-Length: 5,6", b"hello", BAD),
    ("a list with an empty member", b"Content-Length: 5,", b"hello", BAD),
    ("a quoted number", b'Content-Length: "5"', b"hello", BAD),
    ("an empty length", b"Content-Length:", b"hello", BAD),
    ("a word", b"Content-Length: five", b"hello", BAD),
    ("digits that are not ASCII", "Content-Length: ５".encode(), b"hello", BAD),
    ("superscript", b"Content-Length: \xb2", b"he", BAD),
    ("a NUL behind it", b"Content-Length: 5\0", b"hello", BAD),
    ("a semicolon", b"Content-Length: 5;a=b", b"hello", BAD),
    ("two lengths that differ", b"Content-Length: 5\r\nContent-Length: 6", b"hello", BAD),
    ("the same length twice", b"Content-Length: 5\r\nContent-Length: 5", b"hello", BAD),
    ("two, spelled differently", b"Content-Length: 5\r\ncontent-length: 5", b"hello", BAD),
    ("2 to the power of 64", b"Content-Length: 18446744073709551616", b"hello", BAD),
    ("far beyond that", b"Content-Length: " + b"9" * 300, b"hello", BAD),
    ("very many zeros", b"Content-Length: " + b"0" * 300 + b"5", b"hello", BAD),
    ("a folded length", b"Content-Length:\r\n 5", b"hello", BAD),
    ("a space before its colon", b"Content-Length : 5", b"hello", BAD),
    ("a space for its hyphen", b"Content Length: 5", b"hello", BAD),
    # codings
    ("chunked", b"Transfer-Encoding: chunked", LAST, SAME),
    ("Chunked", b"Transfer-Encoding: ChunKed", LAST, b"Transfer-Encoding: chunked"),
    ("a tab before chunked", b"Transfer-Encoding:\tchunked", LAST, b"Transfer-Encoding: chunked"),
    ("a space behind it", b"Transfer-Encoding: chunked ", LAST, b"Transfer-Encoding: chunked"),
    ("a tab behind it", b"Transfer-Encoding: chunked\t", LAST, BAD),
    ("an odd spelling of it", b"tRANSFER-eNCODING: chunked", LAST, b"Transfer-Encoding: chunked"),
    ("xchunked", b"Transfer-Encoding: xchunked", LAST, BAD),
    ("chunkedx", b"Transfer-Encoding: chunkedx", LAST, BAD),
    ("chunk", b"Transfer-Encoding: chunk", LAST, BAD),
    ("an empty coding", b"Transfer-Encoding:", LAST, BAD),
    ("identity", b"Transfer-Encoding: identity", LAST, BAD),
    ("gzip", b"Transfer-Encoding: gzip", LAST, BAD),
    ("gzip, chunked", b"Transfer-Encoding: gzip, chunked", LAST, BAD),
    ("chunked, gzip", b"Transfer-Encoding: chunked, gzip", LAST, BAD),
    ("chunked, identity", b"Transfer-Encoding: chunked, identity", LAST, BAD),
    ("identity, chunked", b"Transfer-Encoding: identity, chunked", LAST, BAD),
    ("chunked, chunked", b"Transfer-Encoding: chunked, chunked", LAST, BAD),
    ("a comma behind it", b"Transfer-Encoding: chunked,", LAST, BAD),
    ("a comma before it", b"Transfer-Encoding: ,chunked", LAST, BAD),
    ("a parameter", b"Transfer-Encoding: chunked;a=b", LAST, BAD),
    ("a quoted coding", b'Transfer-Encoding: "chunked"', LAST, BAD),
    ("quotes in single", b"Transfer-Encoding: 'chunked'", LAST, BAD),
    ("a vertical tab before it", b"Transfer-Encoding: \x0bchunked", LAST, BAD),
    ("a form feed behind it", b"Transfer-Encoding: chunked\x0c", LAST, BAD),
    ("a high bit before it", b"Transfer-Encoding: \xffchunked", LAST, BAD),
    ("a NUL behind chunked", b"Transfer-Encoding: chunked\0", LAST, BAD),
    ("a folded coding", b"Transfer-Encoding:\r\n chunked", LAST, BAD),
    ("a bare LF behind the colon", b"Transfer-Encoding:\nchunked", LAST, BAD),
    ("a space before the colon", b"Transfer-Encoding : chunked", LAST, BAD),
    ("a tab before the colon", b"Transfer-Encoding\t: chunked", LAST, BAD),
    ("a space before the name", b" Transfer-Encoding: chunked", LAST, BAD),
    ("a NUL before the colon", b"Transfer-Encoding\0: chunked", LAST, BAD),
    ("chunked twice", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", LAST, BAD),
    ("two codings", b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", LAST, BAD),
    ("two, the last no coding", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x", LAST, BAD),
    # both
    ("length and coding", b"Content-Length: 5\r\nTransfer-Encoding: chunked", LAST, BAD),
    ("coding and length", b"Transfer-Encoding: chunked\r\nContent-Length: 5", LAST, BAD),
    ("no bytes and a coding", b"Content-Length: 0\r\nTransfer-Encoding: chunked", LAST, BAD),
    ("length and identity", b"Content-Length: 5\r\nTransfer-Encoding: identity", b"hello", BAD),
    ("length and no coding", b"Content-Length: 5\r\nTransfer-Encoding:", b"hello", BAD),
    # Connection cannot take away what frames the body
    ("Connection names the length", b"Connection: Content-Length\r\nContent-Length: 5", b"hello",
     b"Content-Length: 5"),
    ("Connection names the coding", b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked",
     LAST, b"Transfer-Encoding: chunked"),
]  # fmt: skip

REQUEST = b"GET /y HTTP/1.1\r\nHost: b\r\n\r\n"
OTHERS = [
    Row(
        "a GET with a body",
        b"GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
        b"GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
    ),
    Row(
        "a body that looks like a request",
        b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 28\r\n\r\n" + REQUEST,
        b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 28\r\n\r\n" + REQUEST,
    ),
    Row(
        "a body in chunks from HTTP/1.0",
        b"POST /x HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        BAD,
    ),
    Row("HTTP/1.0 with no length", b"POST /x HTTP/1.0\r\nHost: a\r\n\r\nhello", BAD),
    Row(
        "HTTP/1.0 with a length",
        b"POST /x HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        closes=True,
    ),
    Row(
        "CONNECT with a length",
        b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nContent-Length: 5\r\n\r\nhello",
        BAD,
    ),
    Row(
        "CONNECT in chunks",
        b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        BAD,
    ),
]


def _rows() -> list[Row]:
    start = b"POST /x HTTP/1.1\r\nHost: a\r\n"
    rows = []
    for name, fields, body, becomes in FRAMED:
        goes_on = fields if becomes == SAME else becomes
        if isinstance(goes_on, bytes):
            goes_on = start + goes_on + b"\r\n\r\n" + body
        rows.append(Row(name, start + fields + b"\r\n\r\n" + body, goes_on))
    return rows + OTHERS


ROWS = _rows()
