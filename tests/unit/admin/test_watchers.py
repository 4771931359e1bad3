"""Who watches: one sampler for all, none for nobody, no frame waits for a slow one."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from unit.waiting import eventually

from proxy.admin.watchers import BACKLOG, TooMany, Watchers

INTERVAL = 0.01


def frame(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {data}\n\n".encode()


class Source:
    """Counts what it is asked for; `size` is that of a frame's data."""

    def __init__(self, size: int = 1) -> None:
        self.size = size
        self.made = 0
        self.fails = False
        self.may_open, self.may_go_on = asyncio.Event(), asyncio.Event()
        self.may_open.set()
        self.may_go_on.set()

    async def opening(self) -> bytes:
        await self.may_open.wait()
        return frame("opening", "{}")

    async def make(self) -> bytes:
        self.made += 1
        await self.may_go_on.wait()
        if self.fails:
            raise RuntimeError("a bug")
        return frame("tick", f'"{self.made}{"x" * self.size}"')


class Place:
    def __init__(self, source: Source, limit: int = 3) -> None:
        self.source = source
        self.watchers = Watchers(source.opening, source.make, interval=INTERVAL, limit=limit)
        self.port = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self.watchers.serve(request)
        except TooMany:
            return web.Response(status=503)

    async def watch(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A watcher, its response's head read."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**20)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        return reader, writer

    async def until_alone(self) -> None:
        await eventually(lambda: len(self.watchers) == 0)


@asynccontextmanager
async def place(source: Source, limit: int = 3) -> AsyncIterator[Place]:
    made = Place(source, limit)
    app = web.Application()
    app.router.add_get("/", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.port = runner.addresses[0][1]
    try:
        yield made
    finally:
        made.watchers.close()
        await runner.cleanup()


async def until(reader: asyncio.StreamReader, word: bytes) -> None:
    async with asyncio.timeout(3):
        while word not in await reader.readline():
            pass


async def test_a_watcher_gets_the_opening_then_what_is_new() -> None:
    async with place(Source()) as here:
        reader, writer = await here.watch()
        await until(reader, b"event: opening")
        await until(reader, b"event: tick")
        writer.close()


async def test_all_share_what_is_made_once() -> None:
    source = Source()
    async with place(source) as here:
        readers = [await here.watch() for _ in range(3)]
        before = source.made
        for reader, _ in readers:
            await until(reader, f'data: "{before + 3}'.encode())
        assert source.made <= before + 6  # and not three times as many
        for _, writer in readers:
            writer.close()


async def test_nothing_is_made_for_nobody() -> None:
    source = Source()
    async with place(source) as here:
        await asyncio.sleep(5 * INTERVAL)
        assert source.made == 0
        for _ in range(2):
            reader, writer = await here.watch()
            await until(reader, b"event: tick")
            writer.close()
            await here.until_alone()
            made = source.made
            await asyncio.sleep(5 * INTERVAL)
            assert source.made == made


async def test_there_may_be_so_many_and_no_more() -> None:
    async with place(Source(), limit=2) as here:
        kept = [await here.watch() for _ in range(2)]
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b" 503 " in await reader.read()
        writer.close()
        for _, other in kept:
            other.close()
        await here.until_alone()
        reader, writer = await here.watch()
        await until(reader, b"event: tick")
        writer.close()


async def test_a_slow_one_is_cut_off_and_the_others_notice_nothing() -> None:
    source = Source(size=200_000)
    async with place(source) as here:
        _, slow = await here.watch()  # and never reads
        reader, writer = await here.watch()
        while len(here.watchers) == 2:
            await until(reader, b"event: tick")
        await until(reader, b"event: tick")
        slow.close()
        writer.close()


async def test_the_end_ends_the_streams() -> None:
    async with place(Source()) as here:
        reader, writer = await here.watch()
        here.watchers.close()
        async with asyncio.timeout(3):
            rest = await reader.readuntil(b"\r\n0\r\n\r\n")  # whole, not broken off
        assert b"event: opening" in rest
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b" 503 " in await reader.read()
        writer.close()


async def test_a_bug_costs_a_frame_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    source = Source()
    async with place(source) as here:
        reader, writer = await here.watch()
        source.fails = True
        with caplog.at_level(logging.ERROR):
            await eventually(lambda: caplog.records)
        source.fails = False
        await until(reader, b"event: tick")
        writer.close()


async def test_a_frame_that_takes_long_is_not_made_twice_at_once() -> None:
    source = Source()
    async with place(source) as here:
        reader, writer = await here.watch()
        source.may_go_on.clear()
        await eventually(lambda: source.made)
        made = source.made
        await asyncio.sleep(5 * INTERVAL)
        assert source.made == made
        source.may_go_on.set()
        await until(reader, f'data: "{made}'.encode())
        writer.close()


async def test_an_opening_that_takes_long_loses_no_frame_and_no_watcher() -> None:
    source = Source()
    source.may_open.clear()
    async with place(source) as here:
        reader, writer = await here.watch()
        await eventually(lambda: source.made > 2 * BACKLOG)
        source.may_open.set()
        await until(reader, b"event: opening")
        await until(reader, b'data: "1x')
        writer.close()
