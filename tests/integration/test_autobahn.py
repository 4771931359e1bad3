"""Autobahn's WebSocket clients and servers: what passes directly passes through the proxy."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from integration.ports import free_port
from integration.running_proxy import RunningProxy
from integration.settings import Settings
from integration.websocket_bed import Way, settings_for

websocket = pytest.importorskip(
    "autobahn.asyncio.websocket",
    reason="autobahn is not installed: pip install '.[test-websocket]'",
)
compress = pytest.importorskip("autobahn.websocket.compress")

MIB = 1024 * 1024
WAYS = [Way.INBOUND, Way.ROUTE, Way.AUTHORITY, Way.CONNECT]


class EchoServer(websocket.WebSocketServerProtocol):
    """Echoes; a text `close N` is answered with that close code. Remembers how each one ended."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if payload.startswith(b"close "):
            self.sendClose(int(payload[6:]), "as asked")
        else:
            self.sendMessage(payload, isBinary)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.factory.closings.put_nowait((wasClean, code, reason))


class Client(websocket.WebSocketClientProtocol):
    """Puts all that it hears into its factory's queue."""

    def onConnect(self, response: Any) -> None:
        self.factory.heard.put_nowait(("connected", str(response.extensions), response.protocol))

    def onOpen(self) -> None:
        self.factory.opened.set_result(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.factory.heard.put_nowait((isBinary, payload))

    def onPong(self, payload: bytes) -> None:
        self.factory.heard.put_nowait(("pong", payload))

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.factory.heard.put_nowait((wasClean, code, reason))


class Bed:
    """An echo server on `port`, and a proxy that knows the ways to it."""

    def __init__(self, port: int, proxy: RunningProxy) -> None:
        self.port = port
        self.proxy = proxy
        self.factory = websocket.WebSocketServerFactory(protocols=["chat"])
        self.factory.protocol = EchoServer
        self.factory.closings = asyncio.Queue()
        self.factory.setProtocolOptions(
            perMessageCompressionAccept=lambda offers: (
                compress.PerMessageDeflateOfferAccept(offers[0]) if offers else None
            ),
            autoFragmentSize=60_000,
            openHandshakeTimeout=0,
            closeHandshakeTimeout=0,
        )

    async def client(self, way: Way, **options: Any) -> Any:
        host, port, path = "127.0.0.1", self.port, "/"
        settings: dict[str, Any] = {}
        if way is Way.INBOUND:
            port = self.proxy.inbound
        elif way is Way.ROUTE:
            port, path = self.proxy.outbound, "/routed"
        elif way is Way.AUTHORITY:
            port = self.proxy.outbound
        elif way is Way.CONNECT:
            port = self.proxy.outbound
            settings["proxy"] = {"host": host, "port": port}
        named = self.port if way in (Way.AUTHORITY, Way.CONNECT) else port
        factory = websocket.WebSocketClientFactory(
            f"ws://{host}:{named}{path}", protocols=["chat"], **settings
        )
        factory.protocol = Client
        factory.heard = asyncio.Queue()
        factory.opened = asyncio.get_running_loop().create_future()
        factory.setProtocolOptions(openHandshakeTimeout=0, closeHandshakeTimeout=0, **options)
        await asyncio.get_running_loop().create_connection(factory, host, port)
        return await asyncio.wait_for(factory.opened, 5)


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def proxy(module_proxy: Callable[[Settings], RunningProxy], port: int) -> RunningProxy:
    return module_proxy(settings_for(port))


@pytest.fixture
async def bed(proxy: RunningProxy, port: int) -> AsyncIterator[Bed]:
    one = Bed(port, proxy)
    server = await asyncio.get_running_loop().create_server(one.factory, "127.0.0.1", port)
    yield one
    server.close()


async def _heard(client: Any) -> Any:
    return await asyncio.wait_for(client.factory.heard.get(), 10)


async def _closing(bed: Bed) -> Any:
    return await asyncio.wait_for(bed.factory.closings.get(), 5)


async def fragments_and_compression(bed: Bed, way: Way) -> Any:
    options = {
        "autoFragmentSize": 1000,
        "perMessageCompressionOffers": [compress.PerMessageDeflateOffer()],
        "perMessageCompressionAccept": lambda answer: compress.PerMessageDeflateResponseAccept(
            answer
        ),
    }
    client = await bed.client(way, **options)
    heard = [await _heard(client)]
    assert "PerMessageDeflate" in heard[0][1]
    for payload, binary in (("ä" * 40_000).encode(), False), (bytes(range(256)) * 2000, True):
        client.sendMessage(payload, binary)
        assert await _heard(client) == (binary, payload)
    client.sendPing(b"payload")
    heard.append(await _heard(client))
    client.sendClose(3456, "bye")
    return heard, await _heard(client), await _closing(bed)


async def sixteen_mebibytes(bed: Bed, way: Way) -> Any:
    client = await bed.client(way)
    await _heard(client)
    payload = bytes(16 * MIB)
    client.sendMessage(payload, True)
    assert await _heard(client) == (True, payload)
    client.sendClose(1000)
    return await _heard(client), await _closing(bed)


async def closed_by_the_server(bed: Bed, way: Way) -> Any:
    seen = []
    for code in (1000, 3000, 4999):
        client = await bed.client(way)
        await _heard(client)
        client.sendMessage(b"close %d" % code)
        seen.append((await _heard(client), await _closing(bed)))
    return seen


async def torn_off(bed: Bed, way: Way) -> Any:
    client = await bed.client(way)
    await _heard(client)
    client.transport.abort()
    clean, code, _ = await _closing(bed)
    return clean, code


@pytest.mark.parametrize(
    "scenario",
    [fragments_and_compression, sixteen_mebibytes, closed_by_the_server, torn_off],
    ids=lambda scenario: scenario.__name__,
)
async def test_as_if_nothing_stood_between(bed: Bed, scenario: Any) -> None:
    direct = await scenario(bed, Way.DIRECT)
    for way in WAYS:
        assert await scenario(bed, way) == direct, way
