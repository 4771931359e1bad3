"""Where a response's body ends, to whom, and what is behind it (RFC 9112 sections 6 and 9)."""

from conformance.rows import LOST, MALFORMED, Answer, Cut

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"
GET_1_0 = b"GET /x HTTP/1.0\r\nHost: a\r\n\r\n"
KEPT_1_0 = b"GET /x HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"
HEAD = b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab"
EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

LAST = b"HTTP/1.1 200 OK\r\n%bConnection: close\r\n\r\n"
"""What the last response of a connection says."""


def framed(fields: bytes, body: bytes = b"hello") -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n\r\n" + body


def bad(name: str, fields: bytes) -> Answer:
    return Answer(name, framed(fields), MALFORMED, reused=False)


def cut(name: str, head: bytes, body: bytes, came: bytes, ends: bool = False) -> Answer:
    """A body that breaks off: what the client gets of it, and its connection closed."""
    return Answer(name, head + body, Cut(head + came), ends=ends, reused=False)


NOTHING = framed(b"Content-Length: 0", b"")

LENGTHS = [
    Answer("a length", LENGTH + b"hello", LENGTH + b"hello"),
    Answer("leading zeros", framed(b"Content-Length: 005"), LENGTH + b"hello"),
    Answer("a length of nothing", NOTHING, NOTHING),
    Answer("Connection names the length",
           framed(b"Connection: content-length\r\nContent-Length: 5"), LENGTH + b"hello"),
    bad("Connection names one of both",
        b"Connection: content-length\r\nContent-Length: 5\r\nTransfer-Encoding: chunked"),
    bad("length and coding", b"Content-Length: 5\r\nTransfer-Encoding: chunked"),
    bad("coding and length", b"Transfer-Encoding: chunked\r\nContent-Length: 5"),
    bad("two lengths that differ", b"Content-Length: 5\r\nContent-Length: 6"),
    bad("the same length twice", b"Content-Length: 5\r\nContent-Length: 5"),
    bad("a list of lengths", b"Content-Length: 5, 5"),
    bad("a plus sign", b"Content-Length: +5"),
    bad("a minus sign", b"Content-Length: -5"),
    bad("hexadecimal", b"Content-Length: 0x5"),
    bad("an empty length", b"Content-Length:"),
    bad("a word", b"Content-Length: five"),
    bad("2 to the power of 64", b"Content-Length: 18446744073709551616"),
    bad("a space before the colon", b"Content-Length : 5"),
]  # fmt: skip

CODINGS = [
    Answer("chunked", CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"),
    Answer(
        "an odd spelling",
        framed(b"TRANSFER-ENCODING: Chunked", b"5\r\nhello\r\n0\r\n\r\n"),
        CHUNKED + b"5\r\nhello\r\n0\r\n\r\n",
    ),
    Answer(
        "Connection names the coding",
        framed(b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked", b"0\r\n\r\n"),
        CHUNKED + b"0\r\n\r\n",
    ),
    bad("xchunked", b"Transfer-Encoding: xchunked"),
    bad("identity", b"Transfer-Encoding: identity"),
    bad("gzip", b"Transfer-Encoding: gzip"),
    bad("gzip, chunked", b"Transfer-Encoding: gzip, chunked"),
    bad("chunked, gzip", b"Transfer-Encoding: chunked, gzip"),
    bad("chunked twice", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
    bad("an empty coding", b"Transfer-Encoding:"),
    bad("a vertical tab", b"Transfer-Encoding: \x0bchunked"),
    Answer(
        "chunked in HTTP/1.0",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        MALFORMED,
        reused=False,
    ),
]

CHUNKS = [
    # what a client gets is canonical, as upstream
    Answer("a trailer", CHUNKED + b"0\r\nX-Sum: 1\r\n\r\n", CHUNKED + b"0\r\nX-Sum: 1\r\n\r\n"),
    Answer("an extension", CHUNKED + b"1;a=b\r\na\r\n0\r\n\r\n", CHUNKED + b"1\r\na\r\n0\r\n\r\n"),
    Answer("zeros", CHUNKED + b"05\r\nhello\r\n00\r\n\r\n", CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"),
    Answer("Age as a trailer", CHUNKED + b"0\r\nAge: 1\r\n\r\n", CHUNKED + b"0\r\n\r\n"),
    Answer("a bad size at once", CHUNKED + b"x\r\nhello\r\n0\r\n\r\n", MALFORMED, reused=False),
    Answer("a size that is signed", CHUNKED + b"+5\r\nhello\r\n", MALFORMED, reused=False),
    Answer("a size without end", CHUNKED + b"0" * 300, MALFORMED, reused=False),
    Answer("an extension without end", CHUNKED + b"5;" + b"a" * 300, MALFORMED, reused=False),
    Answer("a size beyond all", CHUNKED + b"fffffffffffffffff\r\n", MALFORMED, reused=False),
    Answer("Content-Length as a trailer", CHUNKED + b"0\r\nContent-Length: 1\r\n\r\n", MALFORMED,
           reused=False),
]  # fmt: skip

TO_OTHERS = [
    Answer("up to the close", CLOSE + b"hello", CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", ends=True,
           reused=False),
    Answer("nothing up to the close", CLOSE, CHUNKED + b"0\r\n\r\n", ends=True, reused=False),
    Answer("up to the close, to HTTP/1.0", CLOSE + b"hello", LAST % b"" + b"hello", GET_1_0,
           ends=True, reused=False, closes=True),
    Answer("chunks to HTTP/1.0", CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
           LAST % b"" + b"hello", GET_1_0, closes=True),
    Answer("a length to HTTP/1.0", LENGTH + b"hello", LAST % b"Content-Length: 5\r\n" + b"hello",
           GET_1_0, closes=True),
    Answer("a length to HTTP/1.0, kept", LENGTH + b"hello",
           LENGTH[:-2] + b"Connection: keep-alive\r\n\r\nhello", KEPT_1_0),
    # no body, whatever the head says
    Answer("HEAD with a length", LENGTH, LENGTH, HEAD),
    Answer("HEAD with chunks announced", CHUNKED, CHUNKED, HEAD),
    Answer("HEAD with no word of a body", CLOSE, CLOSE, HEAD),
    Answer("HEAD with a body all the same", LENGTH + b"hello", LENGTH, HEAD, reused=False),
    Answer("204", b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"),
    Answer("204 with a length", b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
           b"HTTP/1.1 204 No Content\r\n\r\n"),
    Answer("204 with a body", b"HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\nhi",
           b"HTTP/1.1 204 No\r\n\r\n", reused=False),
    Answer("304", b"HTTP/1.1 304 Same\r\n\r\n", b"HTTP/1.1 304 Same\r\n\r\n"),
    Answer("304 with a length", b"HTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\n",
           b"HTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\n"),
    Answer("304 with a body", b"HTTP/1.1 304 Same\r\nContent-Length: 2\r\n\r\nhi",
           b"HTTP/1.1 304 Same\r\nContent-Length: 2\r\n\r\n", reused=False),
    # the upstream's connection
    Answer("Connection: close", framed(b"Connection: close\r\nContent-Length: 5"),
           LENGTH + b"hello", reused=False),
    Answer("HTTP/1.0", LENGTH.replace(b"1.1", b"1.0") + b"hello", LENGTH + b"hello", reused=False),
    Answer("bytes behind a body", LENGTH + b"hello!", LENGTH + b"hello", reused=False),
    Answer("a second answer", LENGTH + b"hello" + LENGTH + b"other", LENGTH + b"hello",
           reused=False),
    Answer("bytes behind the last chunk", CHUNKED + b"0\r\n\r\n0\r\n\r\n", CHUNKED + b"0\r\n\r\n",
           reused=False),
    Answer("an end behind a body", LENGTH + b"hello", LENGTH + b"hello", ends=True, reused=False),
]  # fmt: skip

INFORMATIONAL = [
    Answer("100 and 200", CONTINUE + LENGTH + b"hello", CONTINUE + LENGTH + b"hello"),
    Answer("103 and 200", EARLY + LENGTH + b"hello", EARLY + LENGTH + b"hello"),
    Answer("103 with a length", b"HTTP/1.1 103 E\r\nContent-Length: 5\r\n\r\n" + LENGTH + b"hello",
           b"HTTP/1.1 103 E\r\n\r\n" + LENGTH + b"hello"),
    Answer("103 with Connection",
           b"HTTP/1.1 103 E\r\nConnection: close\r\n\r\n" + LENGTH + b"hello",
           b"HTTP/1.1 103 E\r\n\r\n" + LENGTH + b"hello"),
    Answer("very many", EARLY * 300 + LENGTH + b"hello", EARLY * 300 + LENGTH + b"hello"),
    Answer("very many to HTTP/1.0", EARLY * 300 + LENGTH + b"hello",
           LAST % b"Content-Length: 5\r\n" + b"hello", GET_1_0, closes=True),
    Answer("101 unasked", b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", MALFORMED,
           reused=False),
]  # fmt: skip

NOT_WHOLE = [
    Answer("nothing", b"", LOST, ends=True, reused=False),
    Answer("half a status line", b"HTTP/1.1 2", LOST, ends=True, reused=False),
    Answer("half a head", b"HTTP/1.1 200 OK\r\nX-A: b\r\n", LOST, ends=True, reused=False),
    cut("a body too short", LENGTH, b"hel", b"hel", ends=True),
    cut("no body", LENGTH, b"", b"", ends=True),
    cut("chunks without the last", CHUNKED, b"5\r\nhello\r\n", b"5\r\nhello\r\n", ends=True),
    cut("half a chunk", CHUNKED, b"5\r\nhel", b"3\r\nhel\r\n", ends=True),
    cut("half a last chunk", CHUNKED, b"5\r\nhello\r\n0\r\n", b"5\r\nhello\r\n", ends=True),
    cut("half a trailer", CHUNKED, b"1\r\na\r\n0\r\nX-Sum: 1\r\n", b"1\r\na\r\n", ends=True),
    Answer("a reset for a head", b"HTTP/1.1 200 OK\r\n", LOST, resets=True, reused=False),
    Answer("a reset in a body", LENGTH + b"hel", Cut(LENGTH + b"hel"), resets=True, reused=False),
    Answer("a reset for the close", CLOSE + b"hello", Cut(CHUNKED + b"5\r\nhello\r\n"),
           resets=True, reused=False),
    Answer("a reset for the close, to HTTP/1.0", CLOSE + b"hello", Cut(LAST % b"" + b"hello"),
           GET_1_0, resets=True, reused=False),
    Answer("half a chunk to HTTP/1.0", CHUNKED + b"5\r\nhel", Cut(LAST % b"" + b"hel"), GET_1_0,
           ends=True, reused=False),
]  # fmt: skip

TOO_EARLY = [
    # the request's body is still on its way
    Answer("an early refusal", b"HTTP/1.1 413 Too Much\r\nContent-Length: 0\r\n\r\n",
           b"HTTP/1.1 413 Too Much\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", POST,
           reused=False, closes=True),
    Answer("an early end", b"", LOST, POST, ends=True, reused=False, closes=True),
    Answer("early garbage", b"garbage\r\n\r\n", MALFORMED, POST, reused=False, closes=True),
]  # fmt: skip

ROWS = [*LENGTHS, *CODINGS, *CHUNKS, *TO_OTHERS, *INFORMATIONAL, *NOT_WHOLE, *TOO_EARLY]
