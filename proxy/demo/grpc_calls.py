"""gRPC for the demo: unary calls and their answers, without the grpcio package.

A message travels as one byte (not compressed), its length in four, and its bytes; the status is in
the trailers (gRPC's "PROTOCOL-HTTP2"). Messages are bytes here: `proxy.demo.pricing` knows them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from socket import socket
from typing import Self, TypeAlias

from proxy.demo.http2 import Fields, Http2Link
from proxy.grpc_status import (
    DEADLINE_EXCEEDED,
    INTERNAL,
    NAMES,
    OK,
    UNAVAILABLE,
    UNIMPLEMENTED,
    UNKNOWN,
)
from proxy.http.grpc import encode_message, format_timeout, status_in

_PREFIX_BYTES = 5
_TYPE = (b"content-type", b"application/grpc")


class GrpcError(Exception):
    """A call that did not end with OK: its code, and the text that came with it."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code

    @property
    def name(self) -> str:
        """``UNAVAILABLE``."""
        return NAMES[self.code]


def framed(message: bytes) -> bytes:
    """A message as it travels."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def unframed(data: bytes) -> bytes:
    """The one message of a unary call. Raises GrpcError if it is not whole, or compressed."""
    size = int.from_bytes(data[1:_PREFIX_BYTES], "big")
    if len(data) < _PREFIX_BYTES or data[0] or len(data) != _PREFIX_BYTES + size:
        raise GrpcError(INTERNAL, "there is not exactly one uncompressed message")
    return data[_PREFIX_BYTES:]


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply of a call that ended with OK, and the fields of its head."""

    message: bytes
    head: dict[bytes, bytes]


class _Call:
    """A call of the client in progress."""

    __slots__ = ("data", "done", "head")

    def __init__(self, done: "asyncio.Future[Reply]") -> None:
        self.done = done
        self.head: dict[bytes, bytes] = {}
        self.data = b""

    def fail(self, code: int, text: str) -> None:
        if not self.done.done():
            self.done.set_exception(GrpcError(code, text))

    def end(self, trailers: dict[bytes, bytes]) -> None:
        given = trailers.get(b"grpc-status")
        code = status_in([given] if given is not None else [])
        if code != OK:
            text = trailers.get(b"grpc-message", b"").decode("latin-1")
            self.fail(code if code > OK else UNKNOWN, text or "no grpc-status")
            return
        try:
            reply = Reply(unframed(self.data), self.head)
        except GrpcError as error:
            self.fail(error.code, str(error))
        else:
            if not self.done.done():
                self.done.set_result(reply)


class _ClientLink(Http2Link):
    def __init__(self) -> None:
        super().__init__(client=True)
        self.closed = asyncio.Event()
        self._calls: dict[int, _Call] = {}
        self._next = 1

    @property
    def usable(self) -> bool:
        return self.open and not self.going

    def begin(self, head: Fields, message: bytes) -> "tuple[int, asyncio.Future[Reply]]":
        stream = self._next
        self._next += 2
        call = _Call(asyncio.get_running_loop().create_future())
        self._calls[stream] = call
        self.send_fields(stream, head, ended=False)
        if not self.send_data(stream, framed(message), ended=True):
            self.leave(stream)
            call.fail(UNAVAILABLE, "the connection has no room for the message")
        return stream, call.done

    def leave(self, stream: int) -> None:
        """Forget a call; cancel it if it has not ended."""
        if self._calls.pop(stream, None) is not None:
            self.send_reset(stream)

    def on_fields(self, stream: int, fields: dict[bytes, bytes], ended: bool) -> None:
        call = self._calls.get(stream)
        if call is None:
            return
        if not call.head:
            call.head = fields
        if ended:
            del self._calls[stream]
            call.end(fields)

    def on_data(self, stream: int, data: bytes, ended: bool) -> None:
        call = self._calls.get(stream)
        if call is not None:
            call.data += data
            if ended:
                del self._calls[stream]
                call.fail(UNKNOWN, "the response ended without grpc-status")

    def on_reset(self, stream: int, why: str) -> None:
        call = self._calls.pop(stream, None)
        if call is not None:
            call.fail(UNAVAILABLE, f"the stream was reset: {why}")

    def on_goaway(self, last: int) -> None:
        for stream in [number for number in self._calls if number > last]:
            self.on_reset(stream, "GOAWAY")
        if not self._calls:
            self.close()

    def on_closed(self, why: str) -> None:
        for call in self._calls.values():
            call.fail(UNAVAILABLE, why)
        self._calls.clear()
        self.closed.set()


class GrpcChannel:
    """Calls to one server, on one connection that is opened when it is needed. A context."""

    __slots__ = ("_address", "_authority", "_link", "_metadata", "_opening")

    def __init__(
        self, host: str, port: int, authority: str, metadata: Fields | None = None
    ) -> None:
        """`authority`: the service that is meant, whatever address answers for it.

        `metadata` goes with every call.
        """
        self._metadata = metadata or []
        self._address = (host, port)
        self._authority = authority.encode("ascii")
        self._link: _ClientLink | None = None
        self._opening = asyncio.Lock()

    async def unary(self, path: str, message: bytes, seconds: float) -> Reply:
        """One call. Raises GrpcError unless it ends with OK within so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                link = await self._connected()
                stream, reply = link.begin(self._head(path, seconds), message)
                try:
                    return await reply
                finally:
                    link.leave(stream)
        except TimeoutError:
            raise GrpcError(DEADLINE_EXCEEDED, f"no reply within {seconds:g} s") from None
        except OSError as error:
            raise GrpcError(UNAVAILABLE, "connection refused or lost") from error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._link is not None:
            self._link.close()
            await self._link.closed.wait()

    def _head(self, path: str, seconds: float) -> Fields:
        return [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path.encode("ascii")),
            (b":authority", self._authority),
            (b"te", b"trailers"),
            _TYPE,
            (b"grpc-timeout", format_timeout(seconds)),
            *self._metadata,
        ]

    async def _connected(self) -> _ClientLink:
        async with self._opening:
            if self._link is None or not self._link.usable:
                loop = asyncio.get_running_loop()
                _, self._link = await loop.create_connection(_ClientLink, *self._address)
            return self._link


Handler: TypeAlias = Callable[[str, bytes], Awaitable[bytes]]
"""From path and message to the reply. Raises GrpcError. Cancelled if the caller leaves."""


class GrpcServer:
    """A server on a listening socket, from `begin` to `end`, which cuts what is in progress."""

    __slots__ = ("_handler", "_links", "_listening", "_server")

    def __init__(self, listening: socket, handler: Handler) -> None:
        self._listening = listening
        self._handler = handler
        self._links: set[_ServerLink] = set()
        self._server: asyncio.Server | None = None

    async def begin(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _ServerLink(self._handler, self._links), sock=self._listening
        )

    async def end(self) -> None:
        if self._server is not None:
            self._server.close()
        for link in tuple(self._links):
            link.abort()
        while self._links:  # noqa: ASYNC110 - a transport has no event for its end
            await asyncio.sleep(0)


class _ServerLink(Http2Link):
    """A client's connection; `links` has those that are open."""

    def __init__(self, handler: Handler, links: "set[_ServerLink]") -> None:
        super().__init__(client=False)
        self._handler = handler
        self._links = links
        links.add(self)
        self._heads: dict[int, dict[bytes, bytes]] = {}
        self._data: dict[int, bytes] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def on_fields(self, stream: int, fields: dict[bytes, bytes], ended: bool) -> None:
        if stream in self._heads:
            return  # trailers of a request say nothing in gRPC
        self._heads[stream] = fields
        self._data[stream] = b""
        if ended:
            self._begin(stream)

    def on_data(self, stream: int, data: bytes, ended: bool) -> None:
        if stream in self._data:
            self._data[stream] += data
            if ended:
                self._begin(stream)

    def on_reset(self, stream: int, why: str) -> None:
        self._heads.pop(stream, None)
        self._data.pop(stream, None)
        task = self._tasks.pop(stream, None)
        if task is not None:
            task.cancel()

    def on_closed(self, why: str) -> None:
        self._links.discard(self)
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    def _begin(self, stream: int) -> None:
        self._tasks[stream] = asyncio.create_task(self._answer(stream))

    async def _answer(self, stream: int) -> None:
        head, data = self._heads.pop(stream), self._data.pop(stream)
        try:
            path = head.get(b":path", b"").decode("latin-1")
            reply = await self._handler(path, unframed(data))
        except GrpcError as error:
            fields = [(b":status", b"200"), _TYPE, *_status(error.code, str(error))]
            self.send_fields(stream, fields, ended=True)
        else:
            self.send_fields(stream, [(b":status", b"200"), _TYPE], ended=False)
            if self.send_data(stream, framed(reply), ended=False):
                self.send_fields(stream, _status(OK, ""), ended=True)
            else:
                self.send_reset(stream)
        finally:
            self._tasks.pop(stream, None)


def _status(code: int, text: str) -> Fields:
    fields = [(b"grpc-status", b"%d" % code)]
    if text:
        fields.append((b"grpc-message", encode_message(text)))
    return fields


def no_such_method(path: str) -> GrpcError:
    return GrpcError(UNIMPLEMENTED, f"there is no method {path}")
