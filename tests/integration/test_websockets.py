"""WebSockets pass as if nothing stood between: the same scenario direct and by every way."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from integration.ports import free_port
from integration.raw_client import request_bytes
from integration.running_proxy import RunningProxy, eventually
from integration.settings import Settings
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
from websockets.exceptions import InvalidStatus
from websockets.extensions.permessage_deflate import PerMessageDeflate

StartProxy = Callable[..., RunningProxy]
Scenario = Callable[[Bed, Way], Awaitable[Any]]

SIZES = (0, 1, 125, 126, 65_535, 65_536, 1_000_000)


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def proxy(module_proxy: Callable[[Settings], RunningProxy], port: int) -> RunningProxy:
    return module_proxy(settings_for(port))


@pytest.fixture
async def bed(proxy: RunningProxy, port: int) -> AsyncIterator[Bed]:
    async with Server(port).running() as server:
        yield Bed(server, proxy)


async def messages(bed: Bed, way: Way) -> Any:
    came = []
    async with bed.connect(way, "/echo") as client:
        for size in SIZES:
            for message in ("ä" * (size // 2), bytes(range(256)) * (size // 256 + 1)):
                await client.send(message)
                came.append(await client.recv() == message)
    assert all(came), came
    return came, await bed.server.closing()


async def largest(bed: Bed, way: Way) -> Any:
    text, binary = "t" * LARGEST, bytes(LARGEST)
    async with bed.connect(way, "/echo", compression=None) as client:
        await client.send(text)
        same = await client.recv() == text
        await client.send(binary)
        same = same and await client.recv() == binary
    assert same
    return same, await bed.server.closing()


async def fragments(bed: Bed, way: Way) -> Any:
    """Sent in pieces, and answered in pieces; an empty one and a ping in between."""
    async with bed.connect(way, "/fragments") as client:
        parts = ["ab" * 40_000, "", "c", "d" * 10]

        async def pieces() -> AsyncIterator[str]:
            for part in parts:
                await (await client.ping())
                yield part

        await client.send(pieces())
        got = [part async for part in client.recv_streaming()]
        assert "".join(got) == "".join(parts)
    return [len(part) for part in got]


async def compression(bed: Bed, way: Way) -> Any:
    async with bed.connect(way, "/echo", compression="deflate") as client:
        (extension,) = client.protocol.extensions
        assert isinstance(extension, PerMessageDeflate)
        for text in ("compressed " * 5_000, "again " * 7):
            await client.send(text)
            assert await client.recv() == text
        return repr(extension)


async def pings(bed: Bed, way: Way) -> Any:
    """Of both sides, with a payload each."""
    async with bed.connect(way, "/ping") as client:
        await asyncio.wait_for(await client.ping(b"from the client"), 5)
        await client.send("from the server")
        return await client.recv()


async def subprotocol(bed: Bed, way: Way) -> Any:
    options: dict[str, Any] = {
        "subprotocols": ["chat.v1", "chat.v2"],
        "additional_headers": {"X-Mine": "1"},
        "origin": "https://shop.test",
    }
    async with bed.connect(way, "/echo", **options) as client:
        assert client.response is not None
        fields = client.response.headers
        return client.subprotocol, fields["Upgrade"].lower(), fields["Connection"].lower()


async def pushed(bed: Bed, way: Way) -> Any:
    """The server's first messages come with its 101, and its close behind the last."""
    async with bed.connect(way, "/push") as client:
        numbers = [int(message.partition(" ")[0]) async for message in client]
        assert numbers == list(range(PUSHED))
        return await ending(client)


async def closed_by_the_client(bed: Bed, way: Way) -> Any:
    seen = []
    for code, reason in ((1000, ""), (1001, "bye"), (3000, "ä" * 60), (4999, "x")):
        async with bed.connect(way, "/echo") as client:
            await client.send("a")
            await client.close(code, reason)
        seen.append((await ending(client), await bed.server.closing()))
    return seen


async def closed_by_the_server(bed: Bed, way: Way) -> Any:
    seen = []
    for code in (1000, 1001, 1008, 1011, 3001, 4002):
        async with bed.connect(way, f"/close?{code}") as client:
            await client.send("go")
            seen.append((await ending(client), await bed.server.closing()))
    return seen


async def aborted_by_the_client(bed: Bed, way: Way) -> Any:
    async with bed.connect(way, "/echo") as client:
        await client.send("a")
        await client.recv()
        client.transport.abort()
        return await ending(client), await bed.server.closing()


async def aborted_by_the_server(bed: Bed, way: Way) -> Any:
    async with bed.connect(way, "/abort") as client:
        await client.send("go")
        return await ending(client)


async def too_large(bed: Bed, way: Way) -> Any:
    """The receiver gives up in the middle of it: 1009 on both sides."""
    async with bed.connect(way, "/echo", compression=None, max_size=100_000) as client:
        await client.send(bytes(5_000_000))
        return (await ending(client))[0], (await bed.server.closing())[0]


SCENARIOS: list[Scenario] = [
    messages,
    largest,
    fragments,
    compression,
    pings,
    subprotocol,
    pushed,
    closed_by_the_client,
    closed_by_the_server,
    aborted_by_the_client,
    aborted_by_the_server,
    too_large,
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_as_if_nothing_stood_between(bed: Bed, scenario: Scenario) -> None:
    direct = await scenario(bed, Way.DIRECT)
    for way in WAYS:
        assert await scenario(bed, way) == direct, way
    await asyncio.to_thread(eventually, lambda: bed.proxy.in_flight() == 0)
    bed.proxy.assert_sound()


@pytest.mark.parametrize("status", [401, 403, 404, 429])
async def test_a_server_that_refuses(bed: Bed, status: int) -> None:
    answers = []
    for way in Way:
        with pytest.raises(InvalidStatus) as refused:
            await bed.connect(way, f"/refuse?{status}")
        response = refused.value.response
        answers.append((response.status_code, response.body, response.headers["WWW-Authenticate"]))
    assert answers == [(status, b"none", 'Bearer realm="ws"')] * len(Way)


@pytest.mark.parametrize("listener", ["inbound", "outbound"])
async def test_a_version_that_the_server_does_not_speak(bed: Bed, listener: str) -> None:
    """426 has to say which protocol it wants (RFC 9110 section 15.5.22)."""
    headers = {"Host": f"127.0.0.1:{bed.server.port}"}
    response = await asyncio.to_thread(
        lambda: bed.proxy.call("GET", "/echo", headers, listener=listener)
    )
    assert response.status == 426
    assert (response.header("upgrade") or "").lower() == "websocket"
    assert (response.header("connection") or "").lower() == "upgrade"


async def test_absolute_form(bed: Bed) -> None:
    """What a client with HTTP_PROXY sends that makes no tunnel for ws:// ."""
    fields = {
        "Host": f"127.0.0.1:{bed.server.port}",
        "Connection": "keep-alive, Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
    }

    def talk() -> bytes:
        with bed.proxy.client() as client:
            url = f"http://127.0.0.1:{bed.server.port}/echo"
            client.send(request_bytes("GET", url, fields))
            assert client.read_head().status == 101
            client.send(b"\x81\x85\x00\x00\x00\x00hello")  # masked with zeros
            return client.read_some(7)

    assert await asyncio.to_thread(talk) == b"\x81\x05hello"
