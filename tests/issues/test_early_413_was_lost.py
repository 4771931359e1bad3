"""An upload that was too large was answered 413 by the service; the client got 502.

The service answered before the body's end and closed with bytes unread, so its kernel sent a reset
right behind the answer. The answer had arrived: it goes to the client, whatever the next write
says.
"""

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from integration.pki import Pki
from integration.raw_client import RawClient
from integration.running_proxy import RunningProxy
from issues.bed import RawUpstream, Serve, read_head, standing_still

BODY = 8 * 1024 * 1024
HEAD = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % BODY
REFUSAL = b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 9\r\n\r\ntoo large"
AT_ONCE = 6


def _settings(upstream: RawUpstream, ca: str = "") -> dict[str, object]:
    endpoint: dict[str, object] = {"endpoints": [upstream.url]}
    if ca:
        endpoint = {"endpoints": [f"https://127.0.0.1:{upstream.port}"], "tls": {"ca": ca}}
    return {
        "upstreams": {"app": endpoint},
        "routes": [{"name": "a", "upstream": "app"}],
    }


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_it_reaches_the_client_although_the_process_stood_still(
    tmp_path: Path,
    reload_proxy: Callable[..., RunningProxy],
    start_raw: Callable[[Serve], RawUpstream],
    secure: bool,
) -> None:
    """Client bytes, the answer and the reset all lie in the sockets when the process goes on."""
    pki = Pki(tmp_path) if secure else None
    heads, refuse = threading.Semaphore(0), threading.Event()

    def serve(connection: socket.socket) -> None:
        if pki is None:
            read_head(connection)
        else:
            connection = pki.server().wrap_socket(connection, server_side=True)
            assert b"\r\n\r\n" in connection.recv(4096)
        heads.release()
        assert refuse.wait(10)
        connection.sendall(REFUSAL)
        connection.close()

    upstream = start_raw(serve)
    proxy = reload_proxy(_settings(upstream, pki.ca if pki else ""))
    clients = [proxy.client() for _ in range(AT_ONCE)]
    for client in clients:
        client.send(HEAD + b"x" * 10_000)
    for _ in clients:
        assert heads.acquire(timeout=10)
    time.sleep(0.05)  # let the bytes behind the heads lie unread in the upstream's sockets
    with standing_still(proxy):
        for client in clients:
            client.send_some(b"x" * 1_000_000, timeout=0.02)
        refuse.set()
        time.sleep(0.2)  # answers and resets arrive; nobody tells when they have
    answers = [client.read_response("POST") for client in clients]
    assert [(one.status, one.body) for one in answers] == [(413, b"too large")] * AT_ONCE
    for client in clients:
        client.close()


def test_it_reaches_a_client_that_uploads_as_fast_as_it_can(
    reload_proxy: Callable[..., RunningProxy], start_raw: Callable[[Serve], RawUpstream]
) -> None:
    """Bodies are written while the answer comes; not one of the answers may be lost to that."""

    def serve(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(REFUSAL)
        connection.shutdown(socket.SHUT_WR)
        time.sleep(0.05)  # the answer arrives before the reset that closing sends

    proxy = reload_proxy(_settings(start_raw(serve)))
    for _ in range(8):
        with proxy.client() as client:
            assert _upload(client) == 413


def _upload(client: RawClient) -> int:
    """The status, however much of the body was taken."""

    def send() -> None:
        try:
            client.send(HEAD + b"x" * BODY)
        except OSError:
            return  # answered and closed before all of it was taken

    sending = threading.Thread(target=send)
    sending.start()
    try:
        return client.read_response("POST").status
    finally:
        client.close()
        sending.join(10)
