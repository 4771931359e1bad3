"""The real command is killed while 64 clients repeat their keys; the points where it could matter
have names in `test_named_crashes`. $KEYS: how many keys."""

import asyncio
import contextlib
import os
import random
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from integration.conftest import StartProxy
from integration.ports import free_port
from integration.running_proxy import RunningProxy


class Effects:
    """A small upstream: each POST has an effect, and an answer that no other one has."""

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()
        self.total = 0
        self._open: set[asyncio.StreamWriter] = set()

    async def end(self) -> None:
        """Close the proxies' connections that are left."""
        left = list(self._open)
        for writer in left:
            writer.close()
        for writer in left:
            await _closed(writer)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0])
                body = await reader.readexactly(length)
                self.of[body.decode()] += 1
                self.total += 1
                await asyncio.sleep(random.random() * 0.01)
                answer = b"%s %d" % (body, self.total)
                writer.write(b"HTTP/1.1 201 Made\r\nContent-Length: %d\r\n\r\n" % len(answer))
                writer.write(answer)
        self._open.discard(writer)
        writer.close()
        await _closed(writer)


async def _closed(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        await writer.wait_closed()


class Caller:
    """One of 64 clients: it repeats its keys, leaves early, and notes every answer."""

    def __init__(self, port: int, chance: random.Random) -> None:
        self.port = port
        self.chance = chance
        self.answers: defaultdict[str, set[bytes]] = defaultdict(set)
        self.statuses: Counter[int] = Counter()

    async def use(self, key: str) -> None:
        left = 1 + self.chance.randint(0, 2)
        while left:
            try:
                await self.ask(key)
                left -= 1
            except (OSError, asyncio.IncompleteReadError):
                await asyncio.sleep(0.05)  # the proxy is being restarted

    async def ask(self, key: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            head = f"POST /x HTTP/1.1\r\nHost: shop\r\nIdempotency-Key: {key}\r\nConnection: close"
            writer.write(f"{head}\r\nContent-Length: {len(key)}\r\n\r\n{key}".encode())
            if self.chance.random() < 0.1:
                await asyncio.sleep(self.chance.random() * 0.01)
                return  # it leaves
            answer = await reader.readuntil(b"\r\n\r\n")
            status = int(answer[9:12])
            length = int(answer.lower().partition(b"content-length: ")[2].split(b"\r")[0])
            body = await reader.readexactly(length)
            self.statuses[status] += 1
            if status == 201:
                self.answers[key].add(body)
            else:
                assert status == 409, (status, body)
        finally:
            writer.close()
            await _closed(writer)


@pytest.mark.long
async def test_ten_thousand_keys_in_64_clients(start_proxy: StartProxy, tmp_path: Path) -> None:
    """With repeats, resets and restarts: every answer is the first one's, or a 409."""
    effects = Effects()
    server = await asyncio.start_server(effects.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    outbound = free_port()
    ours = {
        "store": {"url": f"sqlite:{tmp_path / 'store.db'}"},
        "listeners": {"outbound": {"address": f"127.0.0.1:{outbound}"}},
        "upstreams": {"shop": {"endpoints": [f"http://127.0.0.1:{port}"]}},
        "access_log": {"requests": "none"},
        "policies": {
            "default": {
                "idempotency": {"mode": "required"},
                "retry": {"attempts": 1},
                "bulkhead": {"max_concurrent": 1000},
            }
        },
        "routes": [{"name": "shop", "upstream": "shop"}],
    }
    number = int(os.environ.get("KEYS", "10000"))
    waiting = [f"k{one}" for one in range(number)]
    proxy: list[RunningProxy] = [await asyncio.to_thread(start_proxy, ours)]
    used = {part: asyncio.Event() for part in (4, 3, 2)}
    callers = [Caller(outbound, random.Random(seed)) for seed in range(64)]

    async def work(caller: Caller) -> None:
        while waiting:
            key = waiting.pop()
            for part, event in used.items():
                if len(waiting) <= number * part // 5:
                    event.set()
            await caller.use(key)
            other = f"k{caller.chance.randint(len(waiting), number - 1)}"
            await caller.use(other)

    async def restart() -> None:
        for part in used:
            await used[part].wait()
            proxy[-1].process.kill()
            proxy[-1].process.wait()
            proxy[-1].process.returncode = 0
            proxy.append(await asyncio.to_thread(start_proxy, ours))

    await asyncio.gather(*(work(caller) for caller in callers), restart())
    answers: defaultdict[str, set[bytes]] = defaultdict(set)
    for caller in callers:
        for key, bodies in caller.answers.items():
            answers[key] |= bodies
    assert max(effects.of.values()) == 1, "an effect happened twice"
    assert all(len(bodies) == 1 for bodies in answers.values()), "two answers to one key"
    assert all(effects.of[key] == 1 for key in answers)
    assert len(answers) > number * 0.9
    statuses = sum((caller.statuses for caller in callers), Counter[int]())
    assert set(statuses) <= {201, 409}
    server.close()
    await effects.end()
