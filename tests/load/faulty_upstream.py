"""An upstream in trouble: every tenth answer is a 503, and it restarts when told to.

A request is answered with what arrived (`expected_answer`), so that a mixed-up or damaged
exchange shows. No request is given more than `MAX_TROUBLE` 503s: with enough attempts it must
succeed, whatever the dice of the backoff say.

    /stream   the answer comes in chunks over some milliseconds, so that a restart cuts some
    /slow     the answer comes late enough for its client to have left
"""

import asyncio
import contextlib
import zlib
from collections import Counter

from load.message import Head, Truncated, read_body, read_head

TROUBLE_EVERY = 10
MAX_TROUBLE = 2
STREAM_CHUNKS = 8
STREAM_CHUNK = b"x" * 4096
STREAM_PAUSE = 0.002
SLOW = 0.05


def expected_answer(request_id: str, body: bytes) -> bytes:
    """The body of a 200 to this request."""
    return b"%s %d %08x" % (request_id.encode(), len(body), zlib.crc32(body))


class FaultyUpstream:
    """Listens on `port` from `start` to `close`. `received` counts whole requests by their id."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.received: Counter[str] = Counter()
        self.troubled: Counter[str] = Counter()
        self.restarts = 0
        self._answers = 0
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=1024)

    def stop(self) -> None:
        """The listening socket and every connection close at once, whatever was going on."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._open.values():
            writer.transport.abort()

    async def close(self) -> None:
        """`stop`, and wait until nobody serves any more."""
        self.stop()
        await asyncio.gather(*filter(None, self._open))

    async def restart(self, down_for: float) -> None:
        """Seconds for which new connections are refused."""
        self.stop()
        await asyncio.sleep(down_for)
        await self.start()
        self.restarts += 1

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open[asyncio.current_task()] = writer
        try:
            with contextlib.suppress(Truncated, ConnectionError):
                while head := await read_head(reader):
                    body = await read_body(reader, head.fields)
                    await self._answer(writer, head, body)
        finally:
            del self._open[asyncio.current_task()]
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, head: Head, body: bytes) -> None:
        path, request_id = head.start[1], head.fields["x-request-id"]
        self.received[request_id] += 1
        self._answers += 1
        if path == "/slow":
            await asyncio.sleep(SLOW)
        if self._answers % TROUBLE_EVERY == 0 and self.troubled[request_id] < MAX_TROUBLE:
            self.troubled[request_id] += 1
            writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 7\r\n\r\ntrouble")
        elif path == "/stream":
            await _stream(writer)
        else:
            answer = expected_answer(request_id, body)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
        await writer.drain()


async def _stream(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(STREAM_CHUNKS):
        writer.write(b"%x\r\n%s\r\n" % (len(STREAM_CHUNK), STREAM_CHUNK))
        await writer.drain()
        await asyncio.sleep(STREAM_PAUSE)
    writer.write(b"0\r\n\r\n")
