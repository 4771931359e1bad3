"""What fuzzing starts from: every row of the conformance tables, and the words of HTTP."""

from conformance import test_requests, test_responses

from fuzz.controls import with_controls
from fuzz.upstream_side import SCENES

MAX_SEED_BYTES = 2000


def client_seeds() -> list[bytes]:
    rows = [row.sent for table in test_requests.TABLES.values() for row in table]
    return [with_controls(sent) for sent in rows if len(sent) <= MAX_SEED_BYTES]


def upstream_seeds() -> list[bytes]:
    seeds = []
    for table in test_responses.TABLES.values():
        for row in table:
            if len(row.sent) > MAX_SEED_BYTES:
                continue
            scene = SCENES.index(row.asked) if row.asked in SCENES else 0
            seeds.append(with_controls(row.sent, scene=scene, end=0 if row.ends else 2))
    upgraded = b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhello"
    return [*seeds, with_controls(upgraded, scene=6)]


WORDS = [
    b"\r\n", b"\r", b"\n", b"\r\n\r\n", b"\n\n", b"\r\n ", b"\0", b"\t", b" ", b"  ", b":", b": ",
    b",", b";", b"=", b'"', b"\x0b", b"\x7f", b"\x80", b"\xff",
    b"GET ", b"POST ", b"PUT ", b"HEAD ", b"OPTIONS * ", b"CONNECT a:443 ", b"CONNECT a:1 ",
    b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 204 No\r\n", b"HTTP/1.1 304 No\r\n", b"HTTP/1.1 101 S\r\n", b"HTTP/1.0 200 OK\r\n",
    b"/", b"http://a/", b"https://a:1/", b"?", b"#", b"%", b"..", b"//", b"@", b"[::1]",
    b"Host: a\r\n", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Content-Length: ",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: ", b"chunked", b"identity", b"gzip",
    b"Connection: close\r\n", b"Connection: keep-alive\r\n", b"Connection: upgrade\r\n",
    b"content-length", b"transfer-encoding",
    b"Upgrade: echo\r\n", b"Expect: 100-continue\r\n", b"TE: trailers\r\n", b"Trailer: X\r\n",
    b"Via: 1.1 stage\r\n", b"X-Request-Id: a\r\n", b"X-Request-Timeout-Ms: 1\r\n",
    b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n",
    b"grpc-timeout: 1m\r\n", b"X-Retry-Attempt: 1\r\n", b"X-Forwarded-For: a\r\n",
    b"0\r\n\r\n", b"5\r\nhello\r\n", b"0\r\nX: y\r\n\r\n", b"5;a=b\r\n", b"ffffffffffffffff",
    b"+5", b"-1", b"0x5", b"5 5", b"5,5", b"18446744073709551615",
]  # fmt: skip
"""Tokens to put in: the dictionary of the fuzzer."""


def dictionary() -> str:
    """In the format of libFuzzer's ``-dict``."""
    return "".join('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n' for word in WORDS)
