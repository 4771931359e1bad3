"""Upstreams that speak HTTP/2, over real sockets: Node, nghttp2 and hypercorn."""

import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from integration.conftest import LoadProxy
from integration.http2_upstream import NodeServer
from integration.pki import Pki
from integration.ports import free_port
from integration.raw_client import Response, request_bytes
from integration.running_proxy import RunningProxy, accepts, eventually
from integration.settings import ONCE, Settings
from integration.tools import curl, program


def settings_for(url: str, **upstream: object) -> Settings:
    shop = {"endpoints": [url], "protocol": "http2", **upstream}
    return {"upstreams": {"shop": shop}, "routes": [{"name": "shop", "upstream": "shop"}]}


@pytest.fixture(scope="module")
def node() -> Iterator[NodeServer]:
    with NodeServer(enableConnectProtocol=True) as server:
        yield server


@pytest.fixture(scope="module")
def proxy(module_proxy: Callable[[Settings], RunningProxy], node: NodeServer) -> RunningProxy:
    return module_proxy(settings_for(node.url))


def at_once(proxy: RunningProxy, path: str, count: int) -> list[Response]:
    """So many requests at the same time, each on a connection of its own."""
    answers: list[Response] = []

    def ask() -> None:
        answers.append(proxy.call("GET", path))

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_bodies_both_ways(proxy: RunningProxy) -> None:
    body = bytes(range(256)) * 8000
    answer = proxy.call("POST", "/echo", body=body)
    assert (answer.status, answer.body, answer.trailers) == (200, body, [("x-size", "2048000")])
    assert proxy.call("GET", "/size/1000000").body == b"x" * 1_000_000
    assert proxy.call("HEAD", "/size/1000").header("content-length") == "1000"


def test_many_clients_share_one_connection(proxy: RunningProxy, node: NodeServer) -> None:
    before = node.stats(proxy)["sessions"]
    assert [one.body for one in at_once(proxy, "/size/5", 50)] == [b"xxxxx"] * 50
    assert node.stats(proxy)["sessions"] - before <= 1
    assert proxy.metric("proxy_upstream_connections", upstream="shop") <= 1


def test_http2_on_both_sides(proxy: RunningProxy) -> None:
    url = f"http://127.0.0.1:{proxy.outbound}"
    words = [curl(), "-s", "--http2-prior-knowledge", "-w", "%{http_version}", f"{url}/header/via"]
    via = subprocess.run(words, capture_output=True, check=True, timeout=10).stdout
    assert re.fullmatch(rb"2(\.0)? orders2", via), via
    load = [program("h2load"), "-n", "2000", "-c", "4", "-m", "16", f"{url}/size/100"]
    told = subprocess.run(load, capture_output=True, check=True, timeout=30).stdout
    assert b"2000 succeeded, 0 failed" in told, told


def test_a_refused_stream_is_repeated_for_a_post(proxy: RunningProxy) -> None:
    answer = proxy.call("POST", "/refuse", body=b"order")
    assert (answer.status, answer.body) == (200, b"ok")
    attempts = proxy.logged(answer.id)["attempts"]
    assert [one.get("failure", one.get("status")) for one in attempts] == ["upstream-reset", 200]
    assert attempts[1]["wait_ms"] == 0


def test_goaway_loses_nothing(proxy: RunningProxy) -> None:
    assert [one.body for one in at_once(proxy, "/goaway", 20)] == [b"ok"] * 20


def test_a_client_that_does_not_read_holds_up_nobody(proxy: RunningProxy) -> None:
    before = proxy.memory
    with proxy.client(receive_buffer=4096) as slow:
        slow.send(request_bytes("GET", "/size/100000000"))
        assert slow.read_head().status == 200
        for _ in range(20):
            assert proxy.call("GET", "/size/100000").body == b"x" * 100_000
        assert proxy.memory - before < 8 * 1024 * 1024


def test_an_upgrade_over_http2(proxy: RunningProxy) -> None:
    with proxy.client() as client:
        fields = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "eA=="}
        answer = client.request("GET", "/chat", fields)
        assert (answer.status, answer.header("upgrade")) == (101, "websocket")
        client.send(b"hello")
        assert client.read_some(5) == b"hello"
        client.half_close()
        assert client.read_rest() == b""
    eventually(lambda: proxy.in_flight() == 0)


def test_streams_that_never_end_do_not_block_others(reload_proxy: LoadProxy) -> None:
    with NodeServer(maxConcurrentStreams=2) as node:
        proxy = reload_proxy(settings_for(node.url))
        clients = [proxy.client() for _ in range(4)]
        for client in clients:
            client.send(request_bytes("GET", "/open"))
            assert client.read_head().status == 200
        assert proxy.call("GET", "/").body == b"ok"
        assert node.stats(proxy)["open"] == 3
        (shop,) = [one for one in proxy.state("/upstreams")["upstreams"] if one["name"] == "shop"]
        assert shop["connections"]["streams"] == 4
        for client in clients:
            client.close()
        eventually(lambda: proxy.in_flight() == 0)


def test_tls_agrees_on_http2_and_resumes(tmp_path: Path, reload_proxy: LoadProxy) -> None:
    pki = Pki(tmp_path)
    cert, key = pki.files("127.0.0.1")
    with NodeServer(cert=cert, key=key) as node:
        tls = {"ca": pki.ca}
        proxy = reload_proxy(settings_for(node.url, protocol="auto", tls=tls))
        assert [one.body for one in at_once(proxy, "/size/5", 20)] == [b"xxxxx"] * 20
        assert node.stats(proxy)["sessions"] == 1


def test_an_http1_upstream_is_named_within_connect(reload_proxy: LoadProxy) -> None:
    port = free_port()
    words = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            eventually(lambda: accepts(port), 10)
            settings = settings_for(f"http://127.0.0.1:{port}")
            proxy = reload_proxy(settings | {"policies": {"default": {"retry": ONCE}}})
            answer = proxy.call("POST", "/", body=b"order")
            assert (answer.status, answer.why) == (502, "connect-failed")
            assert "does not speak HTTP/2 on this port" in answer.problem["detail"]
        finally:
            server.kill()


HYPERCORN = """
import asyncio, sys
from hypercorn.asyncio import serve
from hypercorn.config import Config
async def app(scope, receive, send):
    body = b""
    while True:
        event = await receive()
        body += event.get("body", b"")
        if not event.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["http_version"].encode() + body})
config = Config()
config.bind = [f"127.0.0.1:{sys.argv[1]}"]
config.certfile, config.keyfile = sys.argv[2:]
asyncio.run(serve(app, config))
"""


def test_hypercorn_and_nghttpd(tmp_path: Path, reload_proxy: LoadProxy) -> None:
    pki = Pki(tmp_path)
    cert, key = pki.files("127.0.0.1")
    (tmp_path / "page").write_bytes(b"from nghttpd")
    first, second = free_port(), free_port()
    nghttpd = [program("nghttpd"), "-d", str(tmp_path), str(second), key, cert]
    with (
        subprocess.Popen([sys.executable, "-c", HYPERCORN, str(first), cert, key]) as one,
        subprocess.Popen(nghttpd, stdout=subprocess.DEVNULL) as two,
    ):
        try:
            eventually(lambda: accepts(first) and accepts(second), 15)
            tls = {"ca": pki.ca}
            settings = settings_for(f"https://127.0.0.1:{first}", protocol="auto", tls=tls)
            page = {"endpoints": [f"https://127.0.0.1:{second}"], "tls": tls}
            settings["upstreams"]["page"] = page
            settings["routes"].insert(
                0, {"name": "page", "match": {"path": "/page"}, "upstream": "page"}
            )
            proxy = reload_proxy(settings)
            answer = proxy.call("POST", "/", body=b"order" * 1000)
            assert answer.body == b"2" + b"order" * 1000
            assert [one.body for one in at_once(proxy, "/page", 10)] == [b"from nghttpd"] * 10
        finally:
            one.kill()
            two.kill()
