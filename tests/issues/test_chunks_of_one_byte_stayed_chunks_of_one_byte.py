"""500,000 chunks of one byte stopped the process for seconds, each written on by itself.

Chunks that arrive together go on as one: a body of tiny chunks costs what its bytes cost.
"""

import re
import socket
from collections.abc import Callable

from integration.running_proxy import RunningProxy
from issues.bed import RawUpstream, Serve, read_head

CHUNKS = 30_000
TINY = b"1\r\na\r\n" * CHUNKS + b"0\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def _settings(url: str) -> dict[str, object]:
    return {
        "upstreams": {"app": {"endpoints": [url]}},
        "routes": [{"name": "a", "upstream": "app"}],
    }


def _dechunked(data: bytes) -> tuple[bytes, int]:
    """The body, and the number of its chunks."""
    body, at, number = bytearray(), 0, 0
    while size := re.compile(rb"([0-9a-fA-F]+)\r\n").match(data, at):
        length = int(size[1], 16)
        if not length:
            break
        body += data[size.end() : size.end() + length]
        at, number = size.end() + length + 2, number + 1
    return bytes(body), number


def test_an_upload(
    reload_proxy: Callable[..., RunningProxy], start_raw: Callable[[Serve], RawUpstream]
) -> None:
    received = bytearray()

    def serve(connection: socket.socket) -> None:
        read_head(connection)
        while not received.endswith(b"0\r\n\r\n"):
            received.extend(connection.recv(256 * 1024))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    proxy = reload_proxy(_settings(start_raw(serve).url))
    with proxy.client() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + TINY)
        assert client.read_response("POST").status == 200
    body, chunks = _dechunked(bytes(received))
    assert body == b"a" * CHUNKS
    assert chunks < CHUNKS / 20


def test_a_response(
    reload_proxy: Callable[..., RunningProxy], start_raw: Callable[[Serve], RawUpstream]
) -> None:
    def serve(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(HEAD + TINY)
        read_head(connection)

    proxy = reload_proxy(_settings(start_raw(serve).url))
    with proxy.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        client.read_head()
        body, chunks = _dechunked(client.read_rest())
    assert body == b"a" * CHUNKS
    assert chunks < CHUNKS / 20
