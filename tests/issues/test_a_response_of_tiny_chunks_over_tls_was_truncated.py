"""A whole response of many tiny chunks from a TLS upstream that then closed ended as truncated.

TLS reports the end of the connection although reading is paused. What had arrived comes first.
"""

import socket
from collections.abc import Callable
from pathlib import Path

from integration.pki import Pki
from integration.running_proxy import RunningProxy
from issues.bed import RawUpstream, Serve

CHUNKS = 20_000
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    + b"1\r\na\r\n" * CHUNKS
    + b"0\r\n\r\n"
)


def test_it_arrives_whole(
    tmp_path: Path,
    start_proxy: Callable[..., RunningProxy],
    start_raw: Callable[[Serve], RawUpstream],
) -> None:
    pki = Pki(tmp_path)
    context = pki.server("127.0.0.1")

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            assert tls.recv(64 * 1024).endswith(b"\r\n\r\n")
            tls.sendall(RESPONSE)
            tls.unwrap()

    url = start_raw(serve).url.replace("http:", "https:")
    proxy = start_proxy(
        {
            "upstreams": {"app": {"endpoints": [url], "tls": {"ca": pki.ca}}},
            "routes": [{"name": "a", "upstream": "app"}],
        }
    )
    with proxy.client() as client:
        answer = client.request("GET", "/")
    assert (answer.status, answer.body) == (200, b"a" * CHUNKS)
