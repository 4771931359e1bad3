"""Listening: on a free port, on one that is taken, and no more after the stop."""

import asyncio
import contextlib

import pytest
from unit.admin.asking import Admin, serving

from proxy.config.server_model import Address


async def test_a_taken_port_is_the_callers_to_deal_with(admin: Admin) -> None:
    second = Admin()
    with pytest.raises(OSError, match="in use"):
        await second.server.start(Address("127.0.0.1", admin.port))
    await second.server.stop()


async def test_stop_closes_idle_connections_and_the_listener() -> None:
    async with serving() as admin:
        reader, writer = await asyncio.open_connection("127.0.0.1", admin.port)
        writer.write(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        await admin.server.stop()
        await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await asyncio.open_connection("127.0.0.1", admin.port)


async def test_an_answer_that_the_end_of_the_drain_brings_is_still_given() -> None:
    async with serving() as admin:
        waiting = asyncio.create_task(admin.ask("POST", "/drain?wait=10s"))
        await admin.controls.begun.wait()
        admin.controls.end.set()
        await admin.server.stop()
        assert (await waiting).json["status"] == "drained"
