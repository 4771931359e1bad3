"""TLS handshakes are counted, displaced and timed; a socket is all that a silent one costs."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
import uvloop
from integration.pki import Pki
from unit.waiting import eventually

from proxy.wire.acceptor import Acceptor
from proxy.wire.handshakes import SPARE, Handshakes


class Connection(asyncio.Protocol):
    def __init__(self, gate: "Gate") -> None:
        self.gate = gate

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert transport.get_extra_info("ssl_object") is not None
        self.gate.made.append(cast(asyncio.Transport, transport))

    def data_received(self, data: bytes) -> None:
        self.gate.made[-1].write(data.upper())


class Gate:
    """A TLS listener with so many places, and the connections that came through."""

    def __init__(self, pki: Pki, context: ssl.SSLContext) -> None:
        self.pki = pki
        self.limit, self.seconds = 20, 10.0
        self.short = False
        self.made: list[asyncio.Transport] = []
        self.handshakes = Handshakes(
            cast(Any, lambda: Connection(self)),
            context,
            room=lambda: self.limit - len(self.made),
            timeout=lambda: self.seconds,
            close_timeout=0.1,
        )
        self.acceptor = Acceptor(
            "listeners.test",
            cast(Any, None),
            kept_free=lambda: 0,  # so that it looks at every connection
            short=lambda _: self.short,
            look_again=0.01,
            handshakes=self.handshakes,
            backlog=100,
        )
        self.opened: list[socket.socket] = []

    def silent(self, number: int) -> list[socket.socket]:
        new = [socket.create_connection(self.acceptor.address) for _ in range(number)]
        for one in new:
            one.setblocking(False)
        self.opened += new
        return new

    async def client(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = self.acceptor.address
        return await asyncio.open_connection(host, port, ssl=self.pki.client())


@contextlib.asynccontextmanager
async def serving(directory: Path) -> AsyncIterator[Gate]:
    pki = Pki(directory)
    one = Gate(pki, pki.server())
    await one.acceptor.open("127.0.0.1", 0)
    yield one
    one.acceptor.close()
    one.acceptor.end_handshakes()
    for transport in one.made:
        transport.abort()
    for sock in one.opened:
        sock.close()
    await asyncio.sleep(0)


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Gate]:
    async with serving(tmp_path) as one:
        yield one


def standing(sockets: list[socket.socket]) -> int:
    """Those that the other side has not closed."""
    found = 0
    for one in sockets:
        with contextlib.suppress(ConnectionResetError):
            try:
                found += one.recv(1) != b""
            except BlockingIOError:
                found += 1
    return found


async def test_bytes_go_both_ways(gate: Gate) -> None:
    reader, writer = await gate.client()
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"HELLO"
    assert gate.acceptor.handshakes == 0
    writer.close()


def test_the_loop_that_the_proxy_runs_on_has_a_layer_of_its_own(tmp_path: Path) -> None:
    async def shake() -> None:
        async with serving(tmp_path) as gate:
            await test_bytes_go_both_ways(gate)
            assert type(gate.made[0]).__module__ == "uvloop.loop"

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(shake())


async def test_no_more_stand_than_the_listener_may_have(gate: Gate) -> None:
    silent = gate.silent(60)
    await eventually(lambda: standing(silent) == gate.limit)
    assert gate.acceptor.handshakes == gate.limit
    assert standing(silent[-gate.limit :]) == gate.limit, "the longest silent ones go first"


async def test_an_ordinary_client_gets_in_beside_silent_ones(gate: Gate) -> None:
    gate.silent(60)
    reader, writer = await gate.client()
    writer.write(b"x")
    assert await reader.readexactly(1) == b"X"
    writer.close()


async def test_a_full_listener_still_shakes_a_few_hands_to_say_so(gate: Gate) -> None:
    gate.limit = 0
    silent = gate.silent(30)
    await eventually(lambda: standing(silent) == SPARE)
    reader, writer = await gate.client()
    writer.write(b"x")
    assert await reader.readexactly(1) == b"X"
    writer.close()


async def test_each_has_its_time(gate: Gate) -> None:
    gate.seconds = 0.1
    silent = gate.silent(2)
    begun = gate.silent(1)
    begun[0].send(b"\x16\x03\x01\x02\x00")  # a record that never comes whole
    await eventually(lambda: gate.acceptor.handshakes == 3)
    await eventually(lambda: standing(silent + begun) == 0)
    assert gate.acceptor.handshakes == 0


async def test_a_shorter_time_holds_for_the_next_one(gate: Gate) -> None:
    (gone,) = gate.silent(1)
    await eventually(lambda: gate.acceptor.handshakes == 1)
    gone.close()
    await eventually(lambda: gate.acceptor.handshakes == 0)
    gate.seconds = 0.1
    silent = gate.silent(2)
    await eventually(lambda: gate.acceptor.handshakes == 2)
    await eventually(lambda: standing(silent) == 0)


async def test_a_longer_time_holds_for_the_next_one(gate: Gate) -> None:
    gate.seconds = 0.05
    (gone,) = gate.silent(1)
    await eventually(lambda: gate.acceptor.handshakes == 1)
    gone.close()
    await eventually(lambda: gate.acceptor.handshakes == 0)
    gate.seconds = 0.2
    began = asyncio.get_running_loop().time()
    silent = gate.silent(1)
    await eventually(lambda: standing(silent) == 0)
    # The timer of the first one has rung in the meantime.
    assert asyncio.get_running_loop().time() - began >= 0.2


async def test_openssl_is_asked_when_the_first_bytes_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = []
    wrap = ssl.SSLContext.wrap_bio

    def wrap_bio(self: ssl.SSLContext, incoming: ssl.MemoryBIO, *rest: Any, **named: Any) -> Any:
        if named.get("server_side"):
            there.append(incoming.pending)
        return wrap(self, incoming, *rest, **named)

    monkeypatch.setattr(ssl.SSLContext, "wrap_bio", wrap_bio)
    async with serving(tmp_path) as gate:
        await test_bytes_go_both_ways(gate)
    assert len(there) == 1
    assert there[0] > 100, "a whole ClientHello"


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\n\r\n"])
async def test_one_that_goes_or_speaks_no_tls_is_closed(gate: Gate, said: bytes) -> None:
    (one,) = gate.silent(1)
    await eventually(lambda: gate.acceptor.handshakes == 1)
    if said:
        one.send(said)
    else:
        one.shutdown(socket.SHUT_WR)
    await eventually(lambda: gate.acceptor.handshakes == 0)
    assert gate.made == []


async def test_one_that_is_displaced_in_the_middle_of_its_handshake(gate: Gate) -> None:
    gate.limit = SPARE
    (first,) = gate.silent(1)
    first.send(b"\x16\x03\x01\x02\x00")
    await asyncio.sleep(0.02)
    others = gate.silent(SPARE)
    await eventually(lambda: standing([first]) == 0)
    assert standing(others) == SPARE


async def test_while_descriptors_are_short_clients_wait(gate: Gate) -> None:
    gate.short = True
    gate.silent(1)
    await eventually(lambda: not gate.acceptor.accepting)
    waiting = asyncio.create_task(gate.client())
    await asyncio.sleep(0.02)
    assert gate.acceptor.handshakes == 1
    gate.short = False
    reader, writer = await waiting
    writer.write(b"x")
    assert await reader.readexactly(1) == b"X"
    writer.close()


async def test_a_hello_in_small_pieces_is_one_hello(gate: Gate) -> None:
    """Whatever the first bytes are, TLS gets them."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = gate.pki.client().wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    (sock,) = gate.silent(1)
    for piece in (hello[:1], hello[1:5], hello[5:]):
        sock.send(piece)
        await asyncio.sleep(0.01)
    loop = asyncio.get_running_loop()
    incoming.write(await loop.sock_recv(sock, 64 * 1024))
    client.do_handshake()
    client.write(b"soon")
    await loop.sock_sendall(sock, outgoing.read())
    await eventually(lambda: len(gate.made) == 1)
    assert gate.acceptor.handshakes == 0


async def test_a_port_that_is_taken_is_told(gate: Gate) -> None:
    other = Acceptor("x", cast(Any, None), handshakes=gate.handshakes, backlog=100)
    with pytest.raises(OSError, match="in use"):
        await other.open("127.0.0.1", gate.acceptor.address[1])
    assert not other.accepting
