"""Server-sent events for several watchers, made once for all of them.

    first watcher ──▶ the sampler starts      last one gone ──▶ it stops, and nothing is left

Each second `make` is asked for one frame, and every watcher gets the same bytes. Nobody is waited
for and nothing piles up: a watcher that does not take its frames is cut off, and its browser comes
back by itself and begins with the present state. Their number is bounded.
"""

import asyncio
from collections.abc import Callable

from aiohttp import web

from proxy.admin.problems import COMMON_HEADERS
from proxy.telemetry import events

INTERVAL = 1.0
"""Seconds between two frames."""
MAX_WATCHERS = 16
BACKLOG = 4
"""Frames that may wait for a watcher, beside the socket's own buffer (64 KiB)."""

_HEADERS = COMMON_HEADERS | {"Content-Type": "text/event-stream; charset=utf-8"}


class TooMany(Exception):
    """There are as many watchers as there may be, or the server is about to end."""


def frame(name: str, data: str) -> bytes:
    """One event; `data` is JSON, and so a single line."""
    return f"event: {name}\ndata: {data}\n\n".encode()


class _Watcher:
    """One response, and the frames that are on their way to it."""

    __slots__ = ("_transport", "frames")

    def __init__(self, transport: asyncio.Transport | None) -> None:
        self._transport = transport
        self.frames: asyncio.Queue[bytes | None] = asyncio.Queue(BACKLOG)

    def offer(self, data: bytes | None) -> bool:
        """Hand it a frame, None for the end; False: it took too few, and is cut off."""
        try:
            self.frames.put_nowait(data)
        except asyncio.QueueFull:
            if self._transport is not None:
                self._transport.abort()
            return False
        return True


class Watchers:
    """Those who watch, and the timer that feeds them. After `close` there are none any more."""

    def __init__(
        self,
        opening: Callable[[], bytes],
        make: Callable[[], bytes],
        *,
        interval: float = INTERVAL,
        limit: int = MAX_WATCHERS,
    ) -> None:
        """`opening`: what a new watcher is told first; `make`: what all are told next."""
        self._opening = opening
        self._make = make
        self._interval = interval
        self._limit = limit
        self._watchers: set[_Watcher] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._watchers)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Feed one watcher until either side has enough. Raises TooMany."""
        if self._closed or len(self._watchers) >= self._limit:
            raise TooMany
        response = web.StreamResponse(headers=_HEADERS)
        watcher = _Watcher(request.transport)
        self._watchers.add(watcher)
        if self._timer is None:
            self._set_timer()
        data: bytes | None = self._opening()
        try:
            await response.prepare(request)
            while data is not None:
                await response.write(data)
                data = await watcher.frames.get()
        except ConnectionError:
            pass  # it has gone away, or was cut off
        finally:
            self._forget(watcher)
        return response

    def close(self) -> None:
        """Every stream ends; there will be no other."""
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
        try:
            data = self._make()
        except Exception as error:  # noqa: BLE001 - the page must not take the proxy with it
            events.bug("the page's events failed", error)
            return
        for watcher in tuple(self._watchers):
            if not watcher.offer(data):
                self._forget(watcher)
