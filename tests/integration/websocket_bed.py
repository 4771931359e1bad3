"""A WebSocket server with a path for each habit, and the ways that lead to it.

What passes directly has to pass through the proxy with the same outcome: tests run a scenario by
`DIRECT` and by each of `WAYS`, and compare.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import Any

from integration.running_proxy import RunningProxy
from integration.settings import Settings, merged
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Request, Response, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed

MIB = 1024 * 1024
LARGEST = 16 * MIB
PARTS = 5
"""Fragments that the server cuts a message into on /fragments."""
PUSHED = 300


class Way(Enum):
    """How a client comes to the server."""

    DIRECT = "direct"
    INBOUND = "through the inbound listener"
    ROUTE = "to the outbound listener, which a route sends on"
    AUTHORITY = "to the outbound listener, with the server's name in Host"
    CONNECT = "with HTTP_PROXY: through a CONNECT tunnel"


WAYS = [way for way in Way if way is not Way.DIRECT]


def settings_for(port: int, **over: Any) -> Settings:
    """For a proxy that knows all ways to a server on `port`."""
    ours = {"endpoints": [f"http://127.0.0.1:{port}"]}
    base = {
        "upstreams": {"app": ours, "ws": ours},
        "routes": [{"name": "ws", "match": {"prefix": "/routed"}, "upstream": "ws"}],
        "egress": {"connect_ports": [port]},
    }
    return merged(base, over)


@dataclass
class Server:
    """Echoes, unless the last segment of the path says otherwise.

    `closings`: code and reason of each connection's end, as the server saw it.
    """

    port: int
    tls: ssl.SSLContext | None = None
    closings: asyncio.Queue[tuple[int | None, str | None]] = field(default_factory=asyncio.Queue)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Server"]:
        async with serve(
            self._serve,
            "127.0.0.1",
            self.port,
            ssl=self.tls,
            max_size=LARGEST,
            process_request=_refuse,
            select_subprotocol=lambda _, offered: max(offered, default=None),
            ping_interval=None,
        ):
            yield self

    async def closing(self) -> tuple[int | None, str | None]:
        return await asyncio.wait_for(self.closings.get(), 5)

    async def _serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        habit, _, argument = connection.request.path.rpartition("/")[2].partition("?")
        try:
            await _HABITS[habit](connection, argument)
        except ConnectionClosed:
            pass
        finally:
            await connection.wait_closed()
            self.closings.put_nowait((connection.close_code, connection.close_reason))


def _refuse(connection: ServerConnection, request: Request) -> Response | None:
    if "/refuse?" not in request.path:
        return None
    status = HTTPStatus(int(request.path.rpartition("?")[2]))
    headers = Headers({"WWW-Authenticate": 'Bearer realm="ws"', "Content-Length": "4"})
    return Response(status.value, status.phrase, headers, b"none")


async def _echo(connection: ServerConnection, argument: str) -> None:
    async for message in connection:
        await connection.send(message)


async def _fragments(connection: ServerConnection, argument: str) -> None:
    async for message in connection:
        size = -(-len(message) // PARTS)
        await connection.send(message[n * size : (n + 1) * size] for n in range(PARTS))


async def _push(connection: ServerConnection, argument: str) -> None:
    for number in range(PUSHED):
        await connection.send(f"{number} " + "x" * (number * 10))
    await connection.close()


async def _ping(connection: ServerConnection, argument: str) -> None:
    async for message in connection:
        await (await connection.ping(message))
        await connection.send("ponged")


async def _close(connection: ServerConnection, argument: str) -> None:
    await connection.recv()
    await connection.close(int(argument), "as asked")


async def _abort(connection: ServerConnection, argument: str) -> None:
    await connection.recv()
    connection.transport.abort()


_HABITS = {
    "echo": _echo,
    "fragments": _fragments,
    "push": _push,
    "ping": _ping,
    "close": _close,
    "abort": _abort,
}


@dataclass
class Bed:
    """`server` runs, and `proxy` knows the ways to it."""

    server: Server
    proxy: RunningProxy

    def connect(self, way: Way, path: str, **options: Any) -> connect:
        """A client by that way, as a context manager."""
        proxy, to = self.proxy, f"ws://127.0.0.1:{self.server.port}"
        options = {"proxy": None, "max_size": LARGEST, "ping_interval": None, **options}
        match way:
            case Way.INBOUND:
                to = f"ws://127.0.0.1:{proxy.inbound}"
            case Way.ROUTE:
                to = f"ws://127.0.0.1:{proxy.outbound}/routed"
            case Way.AUTHORITY:
                options |= {"host": "127.0.0.1", "port": proxy.outbound}
            case Way.CONNECT:
                options["proxy"] = f"http://127.0.0.1:{proxy.outbound}"
        return connect(to + path, **options)


async def ending(client: ClientConnection) -> tuple[int | None, str | None]:
    """How it ended for the client; waits for it."""
    await asyncio.wait_for(client.wait_closed(), 5)
    return client.close_code, client.close_reason
