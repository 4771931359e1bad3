"""Upstream for uploads: answers 1 KiB when the whole body has arrived, and says how long it was.

    python sink.py PORT

As little as keeps it off the critical path: a Content-Length is counted down, nothing is kept.
"""

import asyncio
import sys

import uvloop

ANSWER_BYTES = 1024


class Sink(asyncio.Protocol):
    """One connection; requests in turn, each with a Content-Length."""

    __slots__ = ("_head", "_length", "_missing", "_transport")

    def __init__(self) -> None:
        self._head = b""
        self._length = 0
        self._missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._missing:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            self._length = self._missing = _content_length(self._head[:end])
            data, self._head = self._head[end + 4 :], b""
        self._missing -= len(data)
        if self._missing < 0:
            self._transport.abort()
        elif not self._missing:
            self._answer()

    def _answer(self) -> None:
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
            b"X-Received: %d\r\n\r\n%s" % (ANSWER_BYTES, self._length, b"x" * ANSWER_BYTES)
        )


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Sink, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
