"""HTTP/2 by the library `h2`: many GETs at once on one connection for each port."""

import asyncio
import contextlib

import h2.config
import h2.connection
import h2.events
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError

from podlife.http_client import ConnectionLost

_HEAD = 9


class _Connection(asyncio.Protocol):
    """`going`: no stream may begin on it."""

    def __init__(self) -> None:
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self._h2 = h2.connection.H2Connection(config)
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._statuses: dict[int, int] = {}
        self._rest = b""
        self.going = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._h2.initiate_connection()
        self._flush()

    def get(self, target: str) -> asyncio.Future[int]:
        """The status, when the response is whole."""
        number = self._h2.get_next_available_stream_id()
        head = [
            (":method", "GET"),
            (":scheme", "http"),
            (":path", target),
            (":authority", "orders"),
        ]
        self._h2.send_headers(number, head, end_stream=True)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._flush()
        return answer

    @property
    def room(self) -> bool:
        """Whether the proxy allows one more stream."""
        return len(self._waiting) < self._h2.remote_settings.max_concurrent_streams

    def data_received(self, data: bytes) -> None:
        """Frame by frame: `h2` would refuse those that come in one read with a GOAWAY."""
        self._rest += data
        while len(self._rest) >= _HEAD:
            size = _HEAD + int.from_bytes(self._rest[:3], "big")
            if len(self._rest) < size:
                break
            one, self._rest = self._rest[:size], self._rest[size:]
            for event in self._h2.receive_data(one):
                self._take(event)
        self._flush()

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            self._statuses[event.stream_id] = int(dict(event.headers)[":status"])
        elif isinstance(event, h2.events.DataReceived):
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            self._waiting.pop(event.stream_id).set_result(self._statuses.pop(event.stream_id))
        elif isinstance(event, h2.events.StreamReset):
            refused = event.error_code == ErrorCodes.REFUSED_STREAM
            error = ConnectionLost() if refused else OSError(f"reset: {event.error_code!r}")
            self._waiting.pop(event.stream_id).set_exception(error)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.going = True
            self._fail(event.last_stream_id + 1, ConnectionLost())
            # `h2` takes nothing more after a GOAWAY, but the streams below it go on.
            self._h2.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN

    def _fail(self, first: int, error: Exception) -> None:
        """The streams from this one on are lost."""
        for number in [number for number in self._waiting if number >= first]:
            self._waiting.pop(number).set_exception(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self.going = True
        self._fail(0, OSError(f"the connection was lost: {exc!r}"))

    def _flush(self) -> None:
        self._transport.write(self._h2.data_to_send())

    def close(self) -> None:
        with contextlib.suppress(ProtocolError):
            self._h2.close_connection()
            self._flush()
        self._transport.close()


class Http2Client:
    """GETs to any port. A connection that goes away is left, and another one is opened."""

    def __init__(self) -> None:
        self._open: dict[int, _Connection] = {}
        self._all: list[_Connection] = []
        self._opening = asyncio.Lock()

    async def get(self, port: int, target: str) -> int:
        """The status. ConnectionLost: it was not processed. OSError: it was lost."""
        async with self._opening:
            connection = self._open.get(port)
            if connection is None or connection.going or not connection.room:
                connection = self._open[port] = await self._connect(port)
            answer = connection.get(target)
        return await answer

    async def _connect(self, port: int) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            _, made = await loop.create_connection(_Connection, "127.0.0.1", port)
        except OSError:
            raise ConnectionLost from None
        self._all.append(made)
        return made

    def close(self) -> None:
        for connection in self._all:
            connection.close()
