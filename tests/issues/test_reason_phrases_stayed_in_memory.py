"""1,000 responses, each with another reason phrase of 60 kB, made the process 115 MiB larger.

What is remembered of heads is bounded in bytes, not only in number.
"""

import itertools
import socket
from collections.abc import Callable

from integration.running_proxy import RunningProxy
from issues.bed import MIB, RawUpstream, Serve, read_head

RESPONSES = 300


def _proxy(
    start_proxy: Callable[..., RunningProxy], start_raw: Callable[[Serve], RawUpstream], head: bytes
) -> RunningProxy:
    """`head` has a place for a number."""
    numbers = itertools.count()

    def serve(connection: socket.socket) -> None:
        while True:
            read_head(connection)
            connection.sendall(head % next(numbers))

    return start_proxy(
        {
            "access_log": {"requests": "none"},
            "upstreams": {"app": {"endpoints": [start_raw(serve).url]}},
            "routes": [{"name": "a", "upstream": "app"}],
        }
    )


def _grows_by(proxy: RunningProxy) -> int:
    with proxy.client() as client:
        for _ in range(10):
            assert client.request("GET", "/").status == 200
        before = proxy.memory
        for _ in range(RESPONSES):
            assert client.request("GET", "/").status == 200
    return proxy.memory - before


def test_long_reason_phrases(
    start_proxy: Callable[..., RunningProxy], start_raw: Callable[[Serve], RawUpstream]
) -> None:
    head = b"HTTP/1.1 200 R%d" + b"x" * 60_000 + b"\r\nContent-Length: 0\r\n\r\n"
    assert _grows_by(_proxy(start_proxy, start_raw, head)) < 6 * MIB


def test_long_fields(
    start_proxy: Callable[..., RunningProxy], start_raw: Callable[[Serve], RawUpstream]
) -> None:
    head = b"HTTP/1.1 200 OK\r\nX-N%d: " + b"x" * 60_000 + b"\r\nContent-Length: 0\r\n\r\n"
    assert _grows_by(_proxy(start_proxy, start_raw, head)) < 6 * MIB


def test_long_fields_of_requests(
    start_proxy: Callable[..., RunningProxy], start_raw: Callable[[Serve], RawUpstream]
) -> None:
    """The same from the other side: names, values and paths that never come again."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-N: %d\r\n\r\n"
    proxy = _proxy(start_proxy, start_raw, head)
    with proxy.client() as client:
        before = 0
        for number in range(RESPONSES + 10):
            if number == 10:
                before = proxy.memory
            long = f"{number}" + "x" * 12_000
            fields = {f"X-A{number}": long, "X-B": long, "User-Agent": long}
            assert client.request("GET", f"/{long}", fields).status == 200
    assert proxy.memory - before < 6 * MIB
