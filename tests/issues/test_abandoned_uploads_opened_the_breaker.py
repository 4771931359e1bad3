"""25 clients stalled in the middle of their uploads; the service gave up, and the breaker opened.

The service closed because its client owed a body: that says nothing about the service.
"""

import socket
import threading
import time
from collections.abc import Callable

import pytest
from integration.raw_client import Response
from integration.running_proxy import RunningProxy
from integration.settings import breaker
from issues.bed import RawUpstream, Serve, read_head

UPLOADS = 25
HALF = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n" + b"x" * 50


def _gives_up(connection: socket.socket) -> None:
    """Answers a GET; of an upload it takes what comes, and closes when no more does."""
    while not read_head(connection).startswith(b"POST"):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    connection.settimeout(0.2)
    try:
        while connection.recv(1024):
            pass
    except TimeoutError:
        return


@pytest.mark.parametrize("listener", ["outbound", "inbound"])
def test_an_upstream_that_closes_on_a_body_still_owed(
    reload_proxy: Callable[..., RunningProxy],
    start_raw: Callable[[Serve], RawUpstream],
    listener: str,
) -> None:
    url = start_raw(_gives_up).url
    keys = {"circuit_breaker": breaker(calls=3)}
    proxy = reload_proxy(
        {
            "upstreams": {"app": {"endpoints": [url]}},
            "routes": [{"name": "a", "listener": listener, "upstream": "app", **keys}],
        }
    )
    answers: list[Response] = []

    def upload() -> None:
        with proxy.client(listener) as client:
            client.send(HALF)
            answers.append(client.read_response("POST"))

    uploads = [threading.Thread(target=upload) for _ in range(UPLOADS)]
    for one in uploads:
        one.start()
    for one in uploads:
        one.join(10)
    assert len(answers) == UPLOADS
    assert {one.status for one in answers} <= {408, 502}
    state = proxy.breaker("a")
    assert (state["state"], state["calls"]) == ("closed", 0)
    assert proxy.call("GET", "/a", listener=listener).status == 200


def test_an_upstream_that_closes_on_a_whole_request_has_failed(
    reload_proxy: Callable[..., RunningProxy], start_raw: Callable[[Serve], RawUpstream]
) -> None:
    """The other side of it: with the body in hand, the end of the connection is the upstream's."""
    url = start_raw(_gives_up).url
    proxy = reload_proxy(
        {
            "upstreams": {"app": {"endpoints": [url]}},
            "routes": [{"name": "a", "upstream": "app", "circuit_breaker": breaker(calls=3)}],
        }
    )
    with proxy.client() as client:
        client.send(HALF)
        time.sleep(0.05)
        client.send(b"x" * 50)
        answer = client.read_response("POST")
    assert (answer.status, answer.why) == (502, "upstream-reset")
    assert proxy.breaker("a")["failures"] == 1
