"""``GET /events?requests=1``: settled requests as server-sent events, for `tap` and the page.

    request   one settled request, with the members of an access-log line
    lost      how many lines this watcher lost because it did not read: {"lines": 3}

The filters are ``route``, ``status`` and ``path``.
"""

import asyncio
from collections.abc import Iterator

from aiohttp import web

from proxy.admin.watchers import STREAM_HEADERS
from proxy.telemetry.tap import Tap, TapFilter, Watcher

HEARTBEAT = 1.0
"""Seconds of silence before a comment is sent, which detects watchers that have left."""
COLLECT = 0.05
"""Seconds in which lines are collected: a write per line would cost the data plane more."""


class TapStream:
    """All streams of one server. After `close` there are no more."""

    def __init__(self, tap: Tap, *, heartbeat: float = HEARTBEAT, collect: float = COLLECT) -> None:
        self._tap = tap
        self._heartbeat = heartbeat
        self._collect = collect
        self._streams: set[asyncio.Task[None]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._tap)

    @property
    def closed(self) -> bool:
        return self._closed

    async def serve(self, request: web.Request, wants: TapFilter) -> web.StreamResponse:
        """Feed one watcher until it leaves, is disconnected, or the server stops."""
        response = web.StreamResponse(headers=STREAM_HEADERS)
        watcher = self._tap.watch(wants)
        try:
            await response.prepare(request)
            await response.write(b": every settled request\n\n")
            feeding = asyncio.ensure_future(self._feed(response, watcher))
            self._streams.add(feeding)
            try:
                await feeding
            finally:
                self._streams.discard(feeding)
                feeding.cancel()
        except (ConnectionError, asyncio.CancelledError):
            if not self._closed and not response.prepared:
                raise
        finally:
            self._tap.leave(watcher)
        return response

    def close(self) -> None:
        """End every stream, and accept no other."""
        self._closed = True
        for stream in tuple(self._streams):
            stream.cancel()

    async def _feed(self, response: web.StreamResponse, watcher: Watcher) -> None:
        while True:
            lines, lost = await watcher.take(self._heartbeat)
            await response.write(b"".join(_events(lines, lost)) or b":\n\n")
            if lines:
                await asyncio.sleep(self._collect)


def _events(lines: list[bytes], lost: int) -> Iterator[bytes]:
    for line in lines:
        yield b"event: request\ndata: " + line + b"\n\n"
    if lost:
        yield b'event: lost\ndata: {"lines":%d}\n\n' % lost
