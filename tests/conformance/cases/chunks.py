"""Chunked bodies of requests (RFC 9112 section 7.1). Each row is a body."""

from conformance.rows import BAD, Row

SAME = b""
END = b"0\r\n\r\n"

BODIES: list[tuple[str, bytes, bytes | str]] = [
    # what passes: sizes in lower case without zeros, no extensions
    ("no data", END, SAME),
    ("one chunk", b"5\r\nhello\r\n" + END, SAME),
    ("two chunks", b"5\r\nhello\r\n6\r\n world\r\n" + END, SAME),
    ("a size in capitals", b"A\r\nhelloworld\r\n" + END, b"a\r\nhelloworld\r\n" + END),
    ("zeros before a size", b"0005\r\nhello\r\n" + END, b"5\r\nhello\r\n" + END),
    ("zeros for the last size", b"5\r\nhello\r\n0000\r\n\r\n", b"5\r\nhello\r\n" + END),
    ("data that looks like chunks", b"9\r\n0\r\n\r\nGET \r\n" + END, SAME),
    ("data of line ends", b"4\r\n\r\n\r\n\r\n" + END, SAME),
    # extensions stay behind
    ("an extension", b"5;a\r\nhello\r\n" + END, b"5\r\nhello\r\n" + END),
    ("an extension with a value", b"5;a=b\r\nhello\r\n" + END, b"5\r\nhello\r\n" + END),
    ("a quoted value", b'5;a="b;\\"c"\r\nhello\r\n' + END, b"5\r\nhello\r\n" + END),
    ("two extensions", b"5;a;b=c\r\nhello\r\n" + END, b"5\r\nhello\r\n" + END),
    ("an extension of the last chunk", b"0;a=b\r\n\r\n", END),
    ("an extension without a name", b"5;\r\nhello\r\n" + END, BAD),
    ("an extension without a value", b"5;a=\r\nhello\r\n" + END, BAD),
    ("a space before an extension", b"5 ;a\r\nhello\r\n" + END, BAD),
    ("a space in an extension", b"5; a\r\nhello\r\n" + END, BAD),
    ("an open quote", b'5;a="b\r\nhello\r\n' + END, BAD),
    ("a line feed in quotes", b'5;a="\n"\r\nhello\r\n' + END, BAD),
    ("a bare CR in an extension", b"5;a\rb\r\nhello\r\n" + END, BAD),
    ("a NUL in an extension", b"5;a\0\r\nhello\r\n" + END, BAD),
    ("an extension without end", b"5;" + b"a" * 300 + b"\r\nhello\r\n" + END, BAD),
    # sizes that are none
    ("an empty size", b"\r\nhello\r\n" + END, BAD),
    ("a plus sign", b"+5\r\nhello\r\n" + END, BAD),
    ("a minus sign", b"-5\r\nhello\r\n" + END, BAD),
    ("a prefix", b"0x5\r\nhello\r\n" + END, BAD),
    ("an underscore", b"0_5\r\nhello\r\n" + END, BAD),
    ("a space before a size", b" 5\r\nhello\r\n" + END, BAD),
    ("a space behind a size", b"5 \r\nhello\r\n" + END, BAD),
    ("a tab behind a size", b"5\t\r\nhello\r\n" + END, BAD),
    ("a letter too far", b"g\r\nhello\r\n" + END, BAD),
    ("a fraction", b"5.0\r\nhello\r\n" + END, BAD),
    ("a comma", b"5,5\r\nhello\r\n" + END, BAD),
    ("a NUL", b"5\0\r\nhello\r\n" + END, BAD),
    ("a high bit", b"\xb5\r\nhello\r\n" + END, BAD),
    ("2 to the power of 64 and 5", b"10000000000000005\r\nhello\r\n" + END, BAD),
    ("2 to the power of 63", b"8000000000000000\r\n", BAD),
    ("sixteen digits of f", b"ffffffffffffffff\r\n", BAD),
    ("very many zeros", b"0" * 300 + b"5\r\nhello\r\n" + END, BAD),
    # line ends
    ("a bare LF behind a size", b"5\nhello\r\n" + END, BAD),
    ("a bare CR behind a size", b"5\rhello\r\n" + END, BAD),
    ("two CRs behind a size", b"5\r\r\nhello\r\n" + END, BAD),
    ("a bare LF behind the data", b"5\r\nhello\n" + END, BAD),
    ("a bare CR behind the data", b"5\r\nhello\r" + END, BAD),
    ("nothing behind the data", b"5\r\nhello" + END, BAD),
    ("more data than the size says", b"5\r\nhello!\r\n" + END, BAD),
    ("less data than the size says", b"6\r\nhello\r\n" + END, BAD),
    ("a bare LF at the end", b"0\r\n\n", BAD),
    ("a bare LF behind the last size", b"0\n\r\n", BAD),
    # trailers
    ("a trailer", b"0\r\nX-Sum: 1\r\n\r\n", SAME),
    ("two trailers", b"0\r\nX-Sum: 1\r\nx-b: 2\r\n\r\n", SAME),
    ("an empty trailer", b"0\r\nX-Sum:\r\n\r\n", b"0\r\nX-Sum: \r\n\r\n"),
    ("white space round a trailer", b"0\r\nX-Sum: \t1 \r\n\r\n", b"0\r\nX-Sum: 1\r\n\r\n"),
    ("obs-text in a trailer", b"0\r\nX-Sum: \xe9\r\n\r\n", SAME),
    ("Via as a trailer", b"0\r\nVia: x\r\nX-Sum: 1\r\n\r\n", b"0\r\nX-Sum: 1\r\n\r\n"),
    ("Authorization as a trailer", b"0\r\nAuthorization: x\r\n\r\n", END),
    ("X-Forwarded-For as a trailer", b"0\r\nX-Forwarded-For: x\r\n\r\n", END),
    ("Cookie as a trailer", b"0\r\ncookie: x\r\n\r\n", END),
    ("Connection as a trailer", b"0\r\nConnection: close\r\n\r\n", END),
    ("Content-Length as a trailer", b"0\r\nContent-Length: 5\r\n\r\n", BAD),
    ("Transfer-Encoding as a trailer", b"0\r\ntransfer-encoding: chunked\r\n\r\n", BAD),
    ("Host as a trailer", b"0\r\nHost: evil.test\r\n\r\n", BAD),
    ("a trailer without a colon", b"0\r\nX-Sum\r\n\r\n", BAD),
    ("a trailer without a name", b"0\r\n: 1\r\n\r\n", BAD),
    ("a space before its colon", b"0\r\nX-Sum : 1\r\n\r\n", BAD),
    ("a folded trailer", b"0\r\nX-Sum: 1\r\n 2\r\n\r\n", BAD),
    ("a bare LF behind a trailer", b"0\r\nX-Sum: 1\nX-B: 2\r\n\r\n", BAD),
    ("a bare CR in a trailer", b"0\r\nX-Sum: 1\r2\r\n\r\n", BAD),
    ("a NUL in a trailer", b"0\r\nX-Sum: \0\r\n\r\n", BAD),
    ("trailers beyond bounds", b"0\r\n" + b"X-Sum: 1\r\n" * 1800, BAD),
    ("a trailer without end", b"0\r\nX-Sum: " + b"1" * 17_000, BAD),
]


def _rows() -> list[Row]:
    head = b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    return [
        Row(
            name,
            head + body,
            becomes if isinstance(becomes, str) else head + (becomes or body),
        )
        for name, body, becomes in BODIES
    ]


ROWS = _rows()
