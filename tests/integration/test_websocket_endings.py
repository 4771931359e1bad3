"""How long a WebSocket lives: `timeouts.idle`, and the drain, which ends it last."""

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from integration.pki import Pki
from integration.ports import free_port
from integration.running_proxy import RunningProxy, eventually
from integration.settings import route
from integration.websocket_bed import (
    LARGEST,
    PUSHED,
    WAYS,
    Bed,
    Server,
    Way,
    ending,
    settings_for,
)
from websockets.asyncio.client import ClientConnection, connect

StartProxy = Callable[..., RunningProxy]
ABNORMAL = 1006
"""What either side reports where the connection ended without a close frame."""


async def test_idle_ends_it_and_pings_keep_it(start_proxy: StartProxy) -> None:
    port = free_port()
    short = {"timeouts": {"idle": "800ms"}}
    settings = settings_for(port, policies={"default": short, "inbound": short})
    proxy = await asyncio.to_thread(start_proxy, settings)
    async with Server(port).running() as server:
        bed = Bed(server, proxy)
        results = await asyncio.gather(*(_idle(bed, way) for way in WAYS))
    assert results == [None] * len(WAYS)


async def _idle(bed: Bed, way: Way) -> None:
    async with (
        bed.connect(way, "/echo", ping_interval=0.1) as pinging,
        bed.connect(way, "/echo") as silent,
    ):
        started = time.monotonic()
        await silent.send("a")
        await silent.recv()
        assert (await ending(silent))[0] == ABNORMAL, way
        assert 0.8 <= time.monotonic() - started < 5, way
        await pinging.send("still here")
        assert await pinging.recv() == "still here", way


async def _echoes(client: ClientConnection) -> None:
    await client.send("x")
    assert await asyncio.wait_for(client.recv(), 5) == "x"


async def test_a_drain_waits_for_them_and_what_else_goes_on(start_proxy: StartProxy) -> None:
    port = free_port()
    proxy = await asyncio.to_thread(start_proxy, settings_for(port, drain={"timeout": "20s"}))
    async with Server(port).running() as server:
        bed = Bed(server, proxy)
        async with (
            bed.connect(Way.INBOUND, "/echo") as inbound,
            bed.connect(Way.ROUTE, "/echo") as outbound,
            bed.connect(Way.CONNECT, "/echo") as tunnel,
        ):
            proxy.signal(signal.SIGTERM)
            await asyncio.sleep(1.5)  # idle connections are closed after a second
            for client in (inbound, outbound, tunnel):
                await _echoes(client)
            assert proxy.process.poll() is None
        assert await asyncio.to_thread(proxy.wait) == 0


async def test_at_the_drains_timeout_they_are_cut_and_counted(start_proxy: StartProxy) -> None:
    port = free_port()
    proxy = await asyncio.to_thread(start_proxy, settings_for(port, drain={"timeout": "700ms"}))
    async with Server(port).running() as server:
        bed = Bed(server, proxy)
        async with (
            bed.connect(Way.INBOUND, "/echo") as inbound,
            bed.connect(Way.CONNECT, "/echo") as tunnel,
        ):
            started = time.monotonic()
            status, _ = await asyncio.to_thread(proxy.ask, "POST", "/drain")
            assert status in (200, 202)
            assert (await ending(inbound))[0] == ABNORMAL
            assert time.monotonic() - started >= 0.6
            # The process lives on, and its outbound side with it, until the signal comes.
            await _echoes(tunnel)
            await asyncio.to_thread(eventually, lambda: proxy.metric("proxy_drain_cut_total") == 1)
            proxy.signal(signal.SIGTERM)
            assert (await ending(tunnel))[0] == ABNORMAL
    assert await asyncio.to_thread(proxy.wait) == 3
    assert proxy.errors.count("request cut at the end of the drain") == 2


@pytest.mark.parametrize("listener", ["inbound", "outbound"])
async def test_they_hold_their_places_in_the_bulkhead(
    start_proxy: StartProxy, listener: str
) -> None:
    port = free_port()
    one = {"bulkhead": {"max_concurrent": 1}}
    settings = settings_for(port, policies={"default": one, "inbound": one})
    settings["routes"].append(route("other", "ws"))
    proxy = await asyncio.to_thread(start_proxy, settings)
    way = Way.INBOUND if listener == "inbound" else Way.ROUTE
    path = "/" if listener == "inbound" else "/routed"
    async with Server(port).running() as server:
        async with Bed(server, proxy).connect(way, "/echo") as client:
            await _echoes(client)
            assert proxy.state("/in-flight")[listener] == 1
            refused = await asyncio.to_thread(lambda: proxy.call("GET", path, listener=listener))
            assert (refused.status, refused.why) == (503, "bulkhead-full")
        await asyncio.to_thread(eventually, lambda: proxy.in_flight() == 0)
        granted = await asyncio.to_thread(lambda: proxy.call("GET", path, listener=listener))
        assert granted.status == 426, "what it holds comes back when it closes"


async def test_through_tls_on_both_sides(start_proxy: StartProxy, tmp_path: Path) -> None:
    """There no side can end its half alone: what was sent before the end still arrives."""
    (tmp_path / "pki").mkdir()
    pki = Pki(tmp_path / "pki")
    cert, key = pki.files("127.0.0.1")
    port = free_port()
    secure = {
        "listeners": {"inbound": {"tls": {"cert": cert, "key": key}}},
        "upstreams": {"app": {"endpoints": [f"https://127.0.0.1:{port}"], "tls": {"ca": pki.ca}}},
    }
    proxy = await asyncio.to_thread(start_proxy, settings_for(port, **secure))
    url = f"wss://127.0.0.1:{proxy.inbound}"
    options = {"ssl": pki.client(), "proxy": None, "max_size": LARGEST}
    async with Server(port, tls=pki.server()).running() as server:
        async with connect(f"{url}/echo", **options) as client:
            for message in ("x", bytes(2_000_000)):
                await client.send(message)
                assert await client.recv() == message
            await client.close(4001, "enough")
        assert await server.closing() == (4001, "enough")
        async with connect(f"{url}/close?3002", **options) as client:
            await client.send("go")
            assert await ending(client) == (3002, "as asked")
        async with connect(f"{url}/push", **options) as client:
            assert len([message async for message in client]) == PUSHED
    await asyncio.to_thread(eventually, lambda: proxy.in_flight() == 0)
