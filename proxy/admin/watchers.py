"""Server-sent events for several watchers, made once for all of them.

    first watcher ──▶ the sampler starts      last watcher leaves ──▶ it stops

Each second `make` returns one frame, and every watcher gets the same bytes. A second in which the
previous frame is still being made has none. Nothing waits for a watcher and no backlog grows: a
watcher that does not read its frames is disconnected; its browser reconnects and begins with the
present state. The number of watchers is bounded.
"""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from proxy.admin.problems import COMMON_HEADERS
from proxy.telemetry import process_log

INTERVAL = 1.0
"""Seconds between two frames."""
MAX_WATCHERS = 32
BACKLOG = 4
"""Frames queued for a watcher, in addition to the socket's buffer (64 KiB)."""

STREAM_HEADERS = COMMON_HEADERS | {"Content-Type": "text/event-stream; charset=utf-8"}


class TooMany(Exception):
    """The maximum of watchers is reached, or the server is stopping."""


class _Watcher:
    """One response and its queued frames. `opening`: its first frame is still being made."""

    __slots__ = ("_transport", "frames", "opening")

    def __init__(self, transport: asyncio.Transport | None) -> None:
        self._transport = transport
        self.frames: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.opening = True

    def offer(self, data: bytes | None) -> bool:
        """Queue a frame, None for the end; False: the queue was full, it is disconnected."""
        if self.frames.qsize() >= BACKLOG and not self.opening:
            if self._transport is not None:
                self._transport.abort()
            return False
        self.frames.put_nowait(data)
        return True


class Watchers:
    """All watchers and the timer that feeds them. After `close` there are no more watchers."""

    def __init__(
        self,
        opening: Callable[[], Awaitable[bytes]],
        make: Callable[[], Awaitable[bytes]],
        *,
        interval: float = INTERVAL,
        limit: int = MAX_WATCHERS,
    ) -> None:
        """`opening`: the first frame of a new watcher; `make`: the next frame for all."""
        self._opening = opening
        self._make = make
        self._interval = interval
        self._limit = limit
        self._watchers: set[_Watcher] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._making: asyncio.Task[None] | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._watchers)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Feed one watcher until it leaves or is disconnected. Raises TooMany."""
        if self._closed or len(self._watchers) >= self._limit:
            raise TooMany
        response = web.StreamResponse(headers=STREAM_HEADERS)
        watcher = _Watcher(request.transport)
        self._watchers.add(watcher)
        if self._timer is None:
            self._set_timer()
        try:
            await response.prepare(request)
            data: bytes | None = await self._opening()
            watcher.opening = False
            while data is not None:
                await response.write(data)
                data = await watcher.frames.get()
        except ConnectionError:
            pass  # it left, or was disconnected
        finally:
            self._forget(watcher)
        return response

    def close(self) -> None:
        """End every stream, and accept no other."""
        self._closed = True
        for watcher in tuple(self._watchers):
            watcher.offer(None)

    def _forget(self, watcher: _Watcher) -> None:
        self._watchers.discard(watcher)
        if not self._watchers and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._tick)

    def _tick(self) -> None:
        self._set_timer()
        if self._making is None:
            self._making = asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        try:
            data = await self._make()
        except Exception as error:  # noqa: BLE001 - a fault of the page must not end the proxy
            process_log.bug("the page's events failed", error)
            return
        finally:
            self._making = None
        for watcher in tuple(self._watchers):
            if not watcher.offer(data):
                self._forget(watcher)
