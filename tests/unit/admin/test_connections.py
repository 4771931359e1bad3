"""Few connections, none silent for long, each reading its answers."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from functools import partial

import pytest
from aiohttp import web
from unit.waiting import eventually

from proxy.admin import connections as module
from proxy.admin.connections import Connection, Connections

BIG = b"x" * 8 * 2**20
ASK = b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Server:
    """Answers at once, or after `release`; `/big` with more than sockets hold."""

    def __init__(self) -> None:
        self.connections = Connections(limit=4, head=0.3, stalled=0.3)
        self.release = asyncio.Event()
        self.waiting = 0
        self.cancelled = 0
        self.port = 0
        self.opened: list[socket.socket] = []

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, Connection)
        connection.request_began()
        try:
            if request.path == "/wait":
                self.waiting += 1
                await self.release.wait()
            return web.Response(body=BIG if request.path == "/big" else b"ok")
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            connection.request_ended()

    def connect(self, says: bytes = b"") -> socket.socket:
        one = socket.create_connection(("127.0.0.1", self.port))
        one.setblocking(False)
        one.send(says)
        self.opened.append(one)
        return one


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    monkeypatch.setattr(module, "_LOOK", 0.01)
    made = Server()
    runner = web.ServerRunner(
        web.Server(made.handle, handler_cancellation=True), handle_signals=False
    )
    await runner.setup()
    assert runner.server is not None
    loop = asyncio.get_running_loop()
    protocol = partial(Connection, made.connections, runner.server, loop=loop, access_log=None)
    listener = await loop.create_server(protocol, "127.0.0.1", 0)
    made.port = listener.sockets[0].getsockname()[1]
    yield made
    listener.close()
    for one in made.opened:
        one.close()
    await runner.cleanup()


def stands(one: socket.socket) -> bool:
    """Whether the other side has not closed it; what came is read away."""
    try:
        while True:
            if not one.recv(2**16):
                return False
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False


async def answered(one: socket.socket) -> bytes:
    async with asyncio.timeout(2):
        return await asyncio.get_running_loop().sock_recv(one, 2**16)


async def test_the_next_displaces_the_one_silent_longest(server: Server) -> None:
    server.connections._head = 100
    opened = []
    for number in range(5):
        opened.append(server.connect())
        await eventually(lambda n=number: len(server.connections) == min(n + 1, 4))
    await eventually(lambda: not stands(opened[0]))
    assert [stands(one) for one in opened] == [False, True, True, True, True]
    opened[1].send(ASK % b"/")
    assert b" 200 " in await answered(opened[1])
    server.connect()
    await eventually(lambda: not stands(opened[2]))
    assert stands(opened[1])


async def test_who_waits_for_an_answer_is_displaced_last(server: Server) -> None:
    asking = server.connect(ASK % b"/wait")
    await eventually(lambda: server.waiting == 1)
    for _ in range(8):
        server.connect()
        await asyncio.sleep(0.005)
    assert stands(asking)
    server.release.set()
    assert b" 200 " in await answered(asking)


async def test_of_many_that_wait_the_earliest_goes_and_its_handler_ends(server: Server) -> None:
    opened = []
    for number in range(5):
        opened.append(server.connect(ASK % b"/wait"))
        await eventually(lambda n=number: server.waiting == n + 1)
    await eventually(lambda: server.cancelled == 1)
    assert [stands(one) for one in opened] == [False, True, True, True, True]


@pytest.mark.parametrize("says", [b"", b"GET / HTTP/1.1\r\nHo"])
async def test_a_first_head_has_its_time(server: Server, says: bytes) -> None:
    one = server.connect(says)
    await eventually(lambda: not stands(one))


async def test_a_later_head_has_it_from_its_first_byte(server: Server) -> None:
    one = server.connect(ASK % b"/")
    assert b" 200 " in await answered(one)
    await asyncio.sleep(0.5)
    assert stands(one)
    one.send(b"GET / HT")
    await eventually(lambda: not stands(one))


async def test_a_body_that_does_not_come_has_it_too(server: Server) -> None:
    one = server.connect(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nx")
    assert b" 200 " in await answered(one)
    one.send(b"y")
    await eventually(lambda: not stands(one))


async def test_a_wait_is_no_silence(server: Server) -> None:
    one = server.connect(ASK % b"/wait")
    await asyncio.sleep(0.5)
    server.release.set()
    assert b" 200 " in await answered(one)


async def test_a_client_that_sends_requests_without_end_is_ended(server: Server) -> None:
    one = server.connect(ASK % b"/wait")
    await eventually(lambda: server.waiting == 1)
    one.send(ASK % b"/" * 10)
    await asyncio.sleep(0.02)
    assert stands(one)
    one.send(ASK % b"/" * 100)
    await eventually(lambda: not stands(one))
    assert server.cancelled == 1


async def test_a_client_that_takes_nothing_is_ended(server: Server) -> None:
    server.connect(ASK % b"/big")
    await eventually(lambda: len(server.connections) == 1)
    await eventually(lambda: len(server.connections) == 0)


async def test_a_client_that_takes_little_at_a_time_is_not(server: Server) -> None:
    server.connections._stalled = 0.6
    one = server.connect(ASK % b"/big")
    taken = 0
    for _ in range(80):
        await asyncio.sleep(0.01)
        with contextlib.suppress(BlockingIOError):
            taken += len(one.recv(2**17))
    assert len(server.connections) == 1
    assert taken > 2**17
