"""Connections come no faster than they are paid for, and none is lost."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from unit.waiting import eventually

from proxy.admin.door import Door
from proxy.admin.pace import Pace
from proxy.wire.listening import listening_sockets


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Place:
    def __init__(self, door: Door, clock: Clock, come: list[asyncio.Transport]) -> None:
        self.door, self.clock, self.come = door, clock, come
        self.opened: list[socket.socket] = []

    def connect(self, number: int) -> None:
        for _ in range(number):
            self.opened.append(socket.create_connection(self.door.address))


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    clock = Clock()
    come: list[asyncio.Transport] = []

    class Came(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            come.append(transport)

    (listening,) = await listening_sockets("127.0.0.1", 0, 100)
    made = Place(Door(listening, Came, Pace(0.1, clock, burst=0.002)), clock, come)
    yield made
    made.door.close()
    for transport in come:
        transport.abort()
    for one in made.opened:
        one.close()
    await asyncio.sleep(0)


async def test_those_that_come_too_fast_wait_in_the_queue(place: Place) -> None:
    place.connect(10)
    await eventually(lambda: len(place.come) == 4)
    await asyncio.sleep(0.05)
    assert len(place.come) == 4, "each costs half a millisecond of the two that were saved"
    place.clock.now += 0.1
    await eventually(lambda: len(place.come) > 4)
    for _ in range(10):
        place.clock.now += 0.1
        await asyncio.sleep(0.01)
    await eventually(lambda: len(place.come) == 10)


async def test_after_the_close_nobody_comes(place: Place) -> None:
    address = place.door.address
    place.door.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
