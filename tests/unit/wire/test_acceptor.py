"""An acceptor pauses while descriptors are short, loses nobody, and goes on."""

import asyncio
import logging
import os
import resource
import socket
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest
from unit.waiting import eventually

import proxy.wire.acceptor
from proxy.wire.acceptor import Acceptor, files_kept_free, files_short, open_files


class Door:
    """An acceptor whose descriptors are short when the test says so."""

    def __init__(self) -> None:
        self.short = False
        self.connections = 0
        self.acceptor = Acceptor(
            "listeners.test",
            self._connected,
            kept_free=lambda: 0,  # so that it looks at every connection
            short=lambda _: self.short,
            look_again=0.01,
        )

    def _connected(self) -> asyncio.Protocol:
        self.connections += 1
        return asyncio.Protocol()

    async def until(self, connections: int) -> None:
        await eventually(lambda: self.connections >= connections)

    async def until_it_pauses(self) -> None:
        await eventually(lambda: not self.acceptor.accepting)


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    one = Door()
    await one.acceptor.open("127.0.0.1", 0)
    yield one
    one.acceptor.close()


async def test_accepts(door: Door) -> None:
    with socket.create_connection(door.acceptor.address):
        await door.until(1)
    assert door.acceptor.accepting


async def test_who_comes_while_it_pauses_is_accepted_later(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    door.short = True
    with socket.create_connection(door.acceptor.address):
        await door.until(1)
        await door.until_it_pauses()
        with socket.create_connection(door.acceptor.address) as waiting:
            await asyncio.sleep(0.05)
            assert door.connections == 1
            door.short = False
            await door.until(2)
            assert door.acceptor.accepting
            waiting.setblocking(False)
            with pytest.raises(BlockingIOError):
                waiting.recv(1)
    assert [one.levelno for one in caplog.records] == [logging.WARNING]
    assert "listeners.test: file descriptors are short" in caplog.text


async def test_one_warning_for_many_pauses(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(1, 4):
        door.short = True
        with socket.create_connection(door.acceptor.address):
            await door.until(number)
            await door.until_it_pauses()
            door.short = False
            await eventually(lambda: door.acceptor.accepting)
    assert len(caplog.records) == 1


async def test_closing_while_it_pauses(door: Door) -> None:
    address = door.acceptor.address
    door.short = True
    with socket.create_connection(address):
        await door.until_it_pauses()
    door.acceptor.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    door.short = False
    await asyncio.sleep(0.03)
    assert not door.acceptor.accepting


@pytest.mark.parametrize("counted", [True, False])
def test_short_is_when_too_few_are_free(counted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system counts open files; an older one does not, and free ones are found by trying."""
    if not counted:
        monkeypatch.setattr(proxy.wire.acceptor, "open_files", lambda: None)
    elif open_files() is None:
        pytest.skip("this kernel does not count open files")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = os.open("/dev/null", os.O_RDONLY)
    held = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(256, opened + 64), before[1]))
        assert files_kept_free() >= 32
        assert not files_short(opened)
        while not files_short(opened):
            held.append(os.dup(opened))
        held += [os.dup(opened) for _ in range(files_kept_free() - 1)]
        with pytest.raises(OSError, match="Too many open files"):
            os.dup(opened)
    finally:
        for one in (*held, opened):
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert not files_short(0)


def test_open_files_are_counted() -> None:
    before = open_files()
    if before is None:
        pytest.skip("this kernel does not count open files")
    with open("/dev/null"), open("/dev/null"):
        assert open_files() == before + 2
    assert open_files() == before


@pytest.mark.parametrize("said", [OSError("no /proc"), 0])
def test_a_system_that_does_not_count_says_nothing(
    said: OSError | int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stat(path: str) -> SimpleNamespace:
        if isinstance(said, OSError):
            raise said
        return SimpleNamespace(st_size=said)

    monkeypatch.setattr(proxy.wire.acceptor.os, "stat", stat)
    assert open_files() is None
