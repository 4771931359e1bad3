"""A service between both listeners: its calls inherit, with the real command and real sockets."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from chaos.upstream import ChaosUpstream
from integration.raw_client import RawClient
from integration.running_proxy import RunningProxy, eventually
from integration.settings import route

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Service(ThreadingHTTPServer):
    """Calls the outbound listener at `port` once for each request, and passes the trace on."""

    port = 0
    chaos = ""


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        with RawClient(self.server.port) as client:
            answer = client.request(
                "GET",
                "/stock/7",
                {"traceparent": self.headers["traceparent"]},
                chaos=self.server.chaos,
            )
        self.send_response(answer.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing on standard error."""


@pytest.fixture
def service() -> Iterator[Service]:
    server = Service(("127.0.0.1", 0), _Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_both_sides_of_a_service_are_one_story(
    start_proxy: Callable[..., RunningProxy], shared_chaos: ChaosUpstream, service: Service
) -> None:
    proxy = start_proxy(
        {
            "upstreams": {
                "stock": {"endpoints": [shared_chaos.url]},
                "app": {"endpoints": [f"http://127.0.0.1:{service.server_port}"]},
            },
            "routes": [route("stock", "stock")],
            "access_log": {"requests": "all"},
        }
    )
    service.port, service.chaos = proxy.outbound, "503|503|503"
    headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-00", "X-Request-Timeout-Ms": "8000"}
    repeat = {**headers, "X-Retry-Attempt": "1"}
    answer = proxy.call("GET", "/in", repeat, listener="inbound", request_id="in-1")
    assert answer.status == 503
    assert proxy.metric("proxy_retries_refused_total", route="stock", why="nested") == 1
    eventually(lambda: len(proxy.log_lines()) >= 2)
    (call,) = [line for line in proxy.log_lines() if line.get("listener") == "outbound"]
    assert (call["inherited_from"], call["retry_refused"]) == ("in-1", "nested")
    assert len(call["attempts"]) == 1

    service.chaos = "hang"
    short = {**headers, "X-Request-Timeout-Ms": "300"}
    answer = proxy.call("GET", "/in", short, listener="inbound", request_id="in-2")
    assert answer.status == 504
    eventually(lambda: proxy.state("/recent?inherited_from=in-2")["recent"])
    (call,) = proxy.state("/recent?inherited_from=in-2")["recent"]
    assert call["reason"] == "request-timeout"
    assert "timeouts.inherit" in call["detail"]

    admin = f"http://127.0.0.1:{proxy.admin}"
    for asked in ("in-1", call["request_id"]):
        done = subprocess.run(
            [sys.executable, "-m", "proxy", "explain", "--request-id", asked, "--admin", admin],
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("at the inbound listener") == 1
        assert done.stdout.count("at the outbound listener") == 1
        assert "made for the inbound request in-" in done.stdout
