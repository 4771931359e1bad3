"""Clients that people use, unchanged: aiohttp, requests, curl, the standard library."""

import asyncio
import json
import subprocess
import urllib.request
from collections.abc import Callable

import aiohttp
import pytest
import requests
from chaos.script import pattern
from chaos.upstream import ChaosUpstream
from integration.running_proxy import RunningProxy
from integration.settings import Settings, route
from integration.tools import curl


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy], shared_chaos: ChaosUpstream
) -> RunningProxy:
    chaos = {"endpoints": [shared_chaos.url]}
    return module_proxy(
        {
            "upstreams": {"chaos": chaos, "app": chaos},
            "routes": [route("c")],
            "egress": {"connect_ports": [shared_chaos.port]},
        }
    )


@pytest.fixture(scope="module")
def base(proxy: RunningProxy) -> str:
    return f"http://127.0.0.1:{proxy.outbound}"


def test_requests_keeps_its_connection(base: str) -> None:
    with requests.Session() as session:
        for size in (0, 10, 200_000):
            script = {"X-Chaos": f"503 | size={size} chunked"}
            response = session.get(f"{base}/c", headers=script, timeout=5)
            assert (response.status_code, response.content) == (200, pattern(size))


def test_requests_through_the_proxy_setting(base: str, shared_chaos: ChaosUpstream) -> None:
    with requests.Session() as session:
        session.trust_env = False
        session.proxies = {"http": base}
        response = session.post(f"{shared_chaos.url}/x", data=b"body", timeout=5)
    assert response.status_code == 200
    assert response.headers["X-Request-Id"]


def test_requests_uploads_from_a_generator(base: str, shared_chaos: ChaosUpstream) -> None:
    response = requests.put(
        f"{base}/c",
        data=(b"part%d;" % number for number in range(50)),
        timeout=5,
        headers={"X-Chaos": "echo chunked"},
    )
    assert response.content == b"".join(b"part%d;" % number for number in range(50))


async def test_aiohttp_many_at_once(base: str) -> None:
    async def one(session: aiohttp.ClientSession, number: int) -> int:
        script = {"X-Chaos": f"503 | size={number * 100} delay=0.01"}
        async with session.get(f"{base}/c", headers=script) as response:
            assert response.status == 200
            return len(await response.read())

    async with aiohttp.ClientSession() as session:
        sizes = await asyncio.gather(*(one(session, number) for number in range(100)))
    assert sizes == [number * 100 for number in range(100)]


async def test_aiohttp_through_the_proxy_setting(base: str, shared_chaos: ChaosUpstream) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{shared_chaos.url}/x", proxy=base, data=b"z" * 100_000) as response,
    ):
        assert (response.status, await response.read()) == (200, b"ok")


async def test_a_websocket_client(base: str, proxy: RunningProxy) -> None:
    """aiohttp at both ends, frames and all, through the proxy."""
    from aiohttp import web

    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data[::-1])
        return socket

    application = web.Application()
    application.router.add_get("/ws", echo)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"http://127.0.0.1:{port}/ws", proxy=base) as socket,
        ):
            for text in ("abc", "x" * 100_000):
                await socket.send_str(text)
                assert (await socket.receive(5)).data == text[::-1]
    finally:
        await runner.cleanup()


def _curl(*arguments: str) -> str:
    done = subprocess.run(
        [curl(), "--silent", "--show-error", "--max-time", "10", *arguments],
        capture_output=True,
        check=True,
        text=True,
    )
    return done.stdout


def test_curl_with_x(base: str, shared_chaos: ChaosUpstream) -> None:
    out = _curl("-x", base, "-w", "%{http_code}", f"{shared_chaos.url}/curl")
    assert out == "ok200"


def test_curl_through_a_tunnel(base: str, shared_chaos: ChaosUpstream) -> None:
    out = _curl("--proxytunnel", "-x", base, "-w", " %{http_connect}", f"{shared_chaos.url}/curl")
    assert out == "ok 200"


def test_curl_expects_a_100_before_a_large_upload(base: str) -> None:
    data = "x" * 2_000_000
    done = subprocess.run(
        [curl(), "-sS", "--max-time", "10", "-H", "X-Chaos: continue", "-H", "Expect: 100-continue",
         "--data-binary", "@-", "-w", "%{http_code}", f"{base}/c"],
        input=data, capture_output=True, check=True, text=True,
    )  # fmt: skip
    assert done.stdout == "ok200"


def test_curl_http_10(base: str) -> None:
    script = "X-Chaos: size=1000 chunked"
    assert len(_curl("--http1.0", "-H", script, f"{base}/c")) == 1000


def test_curl_head(base: str) -> None:
    assert "Content-Length: 1234" in _curl("--head", "-H", "X-Chaos: size=1234", f"{base}/c")


def test_curl_notices_a_truncated_download(base: str) -> None:
    for framing in ("", " chunked"):
        done = subprocess.run(
            [curl(), "-sS", "-H", f"X-Chaos: size=9000 truncate=4000{framing}", f"{base}/c"],
            capture_output=True,
            check=False,
        )
        assert done.returncode in (18, 56), "partial file, or failure in receiving"


def test_urllib(base: str, proxy: RunningProxy) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{proxy.inbound}/x", timeout=5) as response:
        assert response.read() == b"ok"


def test_a_problem_is_json_for_everyone(base: str) -> None:
    out = _curl("-X", "POST", "-H", "X-Chaos: reset-before-head", f"{base}/c")
    assert json.loads(out)["reason"] == "upstream-reset"
