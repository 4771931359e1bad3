"""Four slow uploads were cut by `max_duration`, and the breaker opened for everybody.

The clients were slow, not the upstream: they are told 408, and the breaker hears nothing.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

from chaos.upstream import ChaosUpstream
from integration.raw_client import RawClient, Response
from integration.running_proxy import RunningProxy
from integration.settings import breaker, route

START = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"


def _trickle(client: RawClient) -> Response:
    """A byte every 50 ms until an answer comes."""
    over = threading.Event()

    def send() -> None:
        while not over.wait(0.05):
            try:
                client.send(b"x")
            except OSError:
                return

    client.send(START)
    sending = threading.Thread(target=send)
    sending.start()
    try:
        return client.read_response("POST")
    finally:
        over.set()
        sending.join(5)


def test_uploads_cut_by_max_duration_are_their_clients_fault(
    reload_proxy: Callable[..., RunningProxy], shared_chaos: ChaosUpstream
) -> None:
    proxy = reload_proxy(
        {
            "upstreams": {"chaos": {"endpoints": [shared_chaos.url]}},
            "routes": [
                route("a", timeouts={"max_duration": "400ms"}, circuit_breaker=breaker(calls=3))
            ],
        }
    )
    answers: list[Response] = []

    def upload() -> None:
        with proxy.client() as client:
            answers.append(_trickle(client))

    uploads = [threading.Thread(target=upload) for _ in range(4)]
    for one in uploads:
        one.start()
    for one in uploads:
        one.join(10)
    assert [(one.status, one.why) for one in answers] == [(408, "body-timeout")] * 4
    state = proxy.breaker("a")
    assert (state["state"], state["calls"]) == ("closed", 0)
    assert proxy.call("GET", "/a").status == 200


def test_they_are_not_asked_for_again(
    reload_proxy: Callable[..., RunningProxy], shared_chaos: ChaosUpstream
) -> None:
    """Not even where every method may be repeated: its client owes the body as before."""
    retry: dict[str, Any] = {"methods": "any", "on": ["reset", "timeout", "5xx"]}
    proxy = reload_proxy(
        {
            "upstreams": {"chaos": {"endpoints": [shared_chaos.url]}},
            "routes": [route("once", timeouts={"max_duration": "300ms"}, retry=retry)],
        }
    )
    request_id = f"slow-upload-{time.monotonic_ns()}"
    head = START.replace(b"/a", b"/once").replace(b"Host:", b"X-Request-Id: %s\r\nHost:")
    with proxy.client() as client:
        client.send(head % request_id.encode() + b"half")
        assert client.read_response("POST").status == 408
    assert len(shared_chaos.seen(request_id)) == 1
