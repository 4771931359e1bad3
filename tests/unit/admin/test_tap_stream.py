"""GET /events?requests=1, over an admin server whose data plane stands still."""

import asyncio
import json

from unit.admin.asking import serving
from unit.telemetry.fakes import FakeExchange
from unit.waiting import eventually

from proxy.admin.watchers import MAX_WATCHERS


class Client:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def event(self):
        """Name and document of the next event; comments are passed over."""
        async with asyncio.timeout(5):
            while True:
                text = (await self.reader.readuntil(b"\n\n")).decode()
                fields = dict(
                    line.split(": ", 1) for line in text.splitlines() if line[:1] in ("e", "d")
                )
                if "event" in fields:
                    return fields["event"], json.loads(fields["data"])

    async def leave(self):
        self.writer.close()
        await self.writer.wait_closed()


async def watch(admin, query="requests=1"):
    reader, writer = await asyncio.open_connection("127.0.0.1", admin.port, limit=2**20)
    writer.write(f"GET /events?{query} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"text/event-stream" in head
    return Client(reader, writer)


async def test_what_settles_is_told_to_those_that_want_it():
    async with serving() as admin:
        everything = await watch(admin)
        failed = await watch(admin, "requests=1&status=5xx")
        await eventually(lambda: len(admin.tap) == 2)
        admin.tap.record(FakeExchange(path="/good"))
        admin.tap.record(FakeExchange(path="/bad", status=503, reason="circuit-open"))
        name, told = await everything.event()
        assert (name, told["path"]) == ("request", "/good")
        assert (await everything.event())[1]["reason"] == "circuit-open"
        assert (await failed.event())[1]["path"] == "/bad"
        await everything.leave()
        await failed.leave()
        await eventually(lambda: len(admin.tap) == 0)


async def test_how_many_were_lost():
    async with serving() as admin:
        client = await watch(admin)
        await eventually(lambda: len(admin.tap) == 1)
        for _ in range(400):
            admin.tap.record(FakeExchange(path="/" + "x" * 1000))
        while (event := await client.event())[0] == "request":
            pass
        assert event == ("lost", {"lines": admin.tap.dropped})
        await client.leave()


async def test_a_wrong_filter_is_refused():
    async with serving() as admin:
        answer = await admin.ask("GET", "/events?requests=1&status=oops")
        assert answer.status == 400
        assert "'oops' is not a status" in answer.json["detail"]


async def test_only_so_many_may_watch():
    async with serving() as admin:
        clients = [await watch(admin) for _ in range(MAX_WATCHERS)]
        assert (await admin.ask("GET", "/events?requests=1")).status == 503
        for client in clients:
            await client.leave()


async def test_the_servers_end_is_the_streams():
    async with serving() as admin:
        client = await watch(admin)
        await eventually(lambda: len(admin.tap) == 1)
    async with asyncio.timeout(5):
        while await client.reader.read(65536):
            pass
    assert len(admin.tap) == 0
    await client.leave()
