"""An HTTP/2 connection to an endpoint: many requests at once, each on a stream of its own.

    connect ──SETTINGS──▶ lends ──GOAWAY, an error, ids used up──▶ leaves ──last stream──▶ closed

It lends nothing before the peer's first SETTINGS (`when_ready`): what does not speak HTTP/2 is a
connect failure. Then its room is the peer's limit, at most `max_streams`. Streams: `requests`.
"""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final, cast

from proxy.config.model import KeepaliveConfig
from proxy.errors import ConnectError, ProxyError
from proxy.http.h2.decoder import FieldSection
from proxy.http.h2.frames import (
    ENABLE_PUSH,
    INITIAL_WINDOW_SIZE,
    MAX_HEADER_LIST_SIZE,
    MAX_STREAM_ID,
    NO_ERROR,
    PREFACE,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
    FrameError,
    code_name,
    goaway,
    ping,
)
from proxy.http.h2.head import ResponseReader, read_trailers
from proxy.http.h2.judge import Malformed
from proxy.wire.alarm import NEVER
from proxy.wire.h2.connection import LOST
from proxy.wire.h2.keepalive import PAYLOAD, Keepalive, notice_death
from proxy.wire.h2.losses import (
    broken,
    broken_at_once,
    connection_lost,
    ended_at_once,
    lost_at_once,
    no_room,
    not_http2,
    reset_by_peer,
    turned_away,
    why_lost,
)
from proxy.wire.h2.receiving import STREAM_WINDOW
from proxy.wire.h2.requests import MAX_HEAD_BYTES, Http2Stream, Requests
from proxy.wire.h2.streams import Stream
from proxy.wire.streams import UpstreamSession, UpstreamStream

LAST_ID: Final = MAX_STREAM_ID - 1000
"""A connection begins no stream beyond it."""
_GOAWAY_TEXT: Final = 200
_PREFIX: Final = b"\x00\x00"
"""What the first frame begins with: SETTINGS of less than 256 bytes."""

_reader: Final = ResponseReader()
"""One for all connections, so that shared parts are remembered once."""


class Http2Connection(Requests):
    """One connection. `on_closed` is called exactly once with its session.

    It is an asyncio protocol by its methods: a compiled class cannot have that base class.
    """

    __slots__ = (
        "_early",
        "_keepalive",
        "_max_streams",
        "_on_closed",
        "_on_ready",
        "_reason",
        "_told",
        "_where",
        "going",
        "session",
    )

    def __init__(
        self,
        on_closed: Callable[[UpstreamSession], None],
        *,
        where: str,
        scheme: str,
        max_streams: int,
        keepalive: KeepaliveConfig,
    ) -> None:
        """`where`: the endpoint, for messages; `scheme`: of its requests."""
        super().__init__(scheme)
        self.session = Http2Session(self)
        self._on_closed = on_closed
        self._on_ready: Callable[[ConnectError | None], None] | None = None
        self._early: ConnectError | None = None
        self._told = False
        self._where = where
        self._max_streams = max_streams
        self._keepalive = Keepalive(keepalive.interval, keepalive.timeout)
        self._reason = ""
        self.going = False

    # --- for the connector and the pool -----------------------------------------------------------

    def when_ready(self, on_ready: Callable[[ConnectError | None], None]) -> None:
        """Call `on_ready` once: with None after the peer's first SETTINGS, or with the failure."""
        self._on_ready = on_ready
        if self._early is not None:
            self._answer(self._early)
        elif self.greeted:
            self.on_settings()

    @property
    def usable(self) -> bool:
        """Whether it can begin a stream."""
        return (
            self.greeted
            and not self.going
            and not self.failed
            and not self.lost
            and self.next_id < LAST_ID
            and not self.channel.closing
        )

    def close(self) -> None:
        """Close in good order: no lease is out, but last bytes of tunnels may wait."""
        if self.lost or self.failed or self.channel.closing:
            return
        self.going = True
        if self.streams:
            return
        self.control(goaway(0, NO_ERROR))
        self.flush()
        self.channel.transport.close()

    def leave_now(self, stream: Stream) -> None:
        self.give_up(stream)
        if self.going:
            self.close()

    # --- events of the transport ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        settings = [
            (ENABLE_PUSH, 0),
            (INITIAL_WINDOW_SIZE, STREAM_WINDOW),
            (MAX_HEADER_LIST_SIZE, MAX_HEAD_BYTES),
        ]
        notice_death(transport)
        self.open(transport, PREFACE, settings)
        self.flush()

    def data_received(self, data: bytes) -> None:
        if not self.greeted and not self._buffer and not data.startswith(_PREFIX[: len(data)]):
            self._answer(not_http2(self._where, data))
            self.abort()
            return
        if self._keepalive.interval:
            self._keepalive.hear(monotonic())
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if not self._reason:
            self._reason = why_lost(exc)
        if not self._told:
            self._answer(lost_at_once(self._where, self.scheme, self._reason))
        super().connection_lost(exc)
        session = self.session
        session.connection = session.on_room = session.on_leaving = None
        self._on_closed(session)

    # --- the peer's connection frames -------------------------------------------------------------

    def on_settings(self) -> None:
        session = self.session
        room = min(self.peer_streams, self._max_streams)
        grew = room > session.room
        session.room = room
        if self._on_ready is not None:
            self._answer(None if room else no_room(self._where))
            if not room:
                self.close()  # no pool has its session
        elif session.on_room is not None and (grew or not room):
            session.on_room(session)

    def on_goaway(self, last: int, code: int, text: bytes) -> None:
        """The peer takes no streams above `last`; the others go on (RFC 9113 section 6.8)."""
        self.going = True
        said = text[:_GOAWAY_TEXT].decode("ascii", "backslashreplace")
        name = f"GOAWAY {code_name(code)}" + (f": {said}" if said else "")
        self._reason = f" ({name})"
        if not self._told:
            self._answer(ended_at_once(self._where, name))
        self.session.leave()
        for number, stream in tuple(self.streams.items()):
            if number > last and not stream.closed:
                stream.closed = True
                stream.drop()
                self._lose(stream, turned_away(name))
        if not self.session.lent:
            self.close()

    def on_pong(self, data: bytes) -> None:
        """Every byte that comes is heard already."""

    def on_failed(self, code: int, text: str) -> None:
        self._reason = f": {text}"
        if not self._told:
            self._answer(broken_at_once(self._where, text))

    def check_push(self, value: int) -> None:
        if value:
            raise FrameError(PROTOCOL_ERROR, "a server set ENABLE_PUSH")

    def is_idle(self, number: int) -> bool:
        return number & 1 == 0 or number >= self.next_id

    # --- the peer's messages ----------------------------------------------------------------------

    def on_section(self, number: int, section: FieldSection, ended: bool) -> None:
        stream = self.streams.get(number)
        if stream is None or stream.closed:
            if self.is_idle(number):
                raise FrameError(PROTOCOL_ERROR, "HEADERS came on an idle stream")
            self.stray()
            return
        self.progress()
        if stream.remote_ended:
            self.break_stream(stream, STREAM_CLOSED, "HEADERS came after the end of its stream")
            return
        try:
            self._read_section(stream, section, ended)
        except Malformed as error:
            self.break_stream(stream, PROTOCOL_ERROR, str(error))

    def _read_section(self, stream: Stream, section: FieldSection, ended: bool) -> None:
        owner = cast(Http2Stream, stream.owner)
        if section.over:
            raise Malformed("its head is too large")
        if stream.answered:
            if not ended:
                raise Malformed("its trailers do not end the stream")
            if owner.tunnels:
                raise Malformed("HEADERS came within a tunnel")
            stream.arrived_trailers = read_trailers(section)
            stream.remote_ended = stream.arrived_end = True
        elif stream.body_bytes or stream.empty:
            raise Malformed("DATA came before its head")
        else:
            head = _reader.read(section, ended)
            if head.status >= 200:
                stream.answered = True
                stream.remote_ended = stream.arrived_end = ended
                owner.receive(stream, head)
            elif ended:
                raise Malformed("an informational head ends the stream")
            else:
                owner.inform(head, section.size)
        self.touch(stream)

    def deliver(self, stream: Stream) -> bool:
        owner = cast(Http2Stream, stream.owner)
        if not stream.answered and (stream.body_bytes or stream.remote_ended):
            self.break_stream(stream, PROTOCOL_ERROR, "DATA came before its head")
            return False
        expected = stream.expected
        if expected >= 0:
            got = stream.body_bytes
            if got > expected or (stream.remote_ended and got < expected):
                self.break_stream(
                    stream, PROTOCOL_ERROR, f"its body has {got} bytes instead of {expected}"
                )
                return False
        began = owner.deliver(stream)
        self.return_credit(stream)
        return began

    def _on_rst_stream(self, number: int, payload: bytes) -> None:
        stream = self.streams.get(number)
        if stream is not None and not stream.closed:
            owner = cast(Http2Stream, stream.owner)
            if stream.remote_ended and len(payload) == 4 and not owner.tunnels:
                # The response is whole: only the rest of the request is not wanted (section 8.1).
                if stream.local_ended:
                    self.spend()
                stream.local_ended = True
                stream.waiting = []
                stream.waiting_bytes = 0
                return
            self.calm.give(1.0)  # no flood: there is one for each request at most
        super()._on_rst_stream(number, payload)

    def on_rest(self, stream: Stream) -> None:
        """What came of a response that is already on its way to the client is part of it."""
        if cast(Http2Stream, stream.owner).answered:
            self.deliver(stream)

    def on_lost_stream(self, stream: Stream, code: int, text: str) -> None:
        answered = cast(Http2Stream, stream.owner).answered
        if text:
            self._lose(stream, broken(text, answered=answered))
        elif code != LOST:
            self._lose(stream, reset_by_peer(code, answered=answered))
        elif self.failed and self.handed(stream):
            self._lose(stream, broken(self._reason[2:], answered=answered))
        else:
            handed = self.handed(stream)
            self._lose(stream, connection_lost(self._reason, answered=answered, handed=handed))

    def _lose(self, stream: Stream, error: ProxyError) -> None:
        owner = cast(Http2Stream, stream.owner)
        handler, owner.handler = owner.handler, None
        if handler is not None:
            handler.on_lost(error)

    def on_writable(self, stream: Stream, writable: bool) -> None:
        owner = cast(Http2Stream, stream.owner)
        if owner.leaving:
            if writable:
                self.leave_now(stream)
            return
        owner.write_paused = not writable
        if owner.handler is not None:
            owner.handler.on_upstream_writable(writable)

    # --- keepalive --------------------------------------------------------------------------------

    def on_first(self) -> None:
        keepalive = self._keepalive
        if keepalive.interval:
            keepalive.hear(monotonic())
            self.by(keepalive.due)

    def next_due(self) -> float:
        return self._keepalive.due if self.streams else NEVER

    def on_time(self, now: float) -> None:
        keepalive = self._keepalive
        if not self.streams:
            return
        if keepalive.is_lost(now):
            self._reason = f" (no answer to a PING within {keepalive.timeout:g} s)"
            self.abort()
        elif keepalive.asks(now):
            self.control(ping(PAYLOAD, ack=False))

    def _answer(self, error: ConnectError | None) -> None:
        """Tell once whether it can be used; a failure that comes before it is asked is kept."""
        on_ready, self._on_ready = self._on_ready, None
        if on_ready is not None:
            self._told = True
            on_ready(error)
        elif self._early is None:
            self._early = error


class Http2Session(UpstreamSession):
    """A connection as its pool keeps it.

    `connection` is None after it is lost, so that no reference cycle remains.
    """

    __slots__ = ("connection",)

    def __init__(self, connection: Http2Connection) -> None:
        super().__init__(0)
        self.connection: Http2Connection | None = connection

    @property
    def usable(self) -> bool:
        connection = self.connection
        return connection is not None and connection.usable

    def lend(self) -> UpstreamStream:
        return Http2Stream(cast(Http2Connection, self.connection), self)

    def take_back(self, stream: UpstreamStream, reusable: bool) -> None:
        cast(Http2Stream, stream).leave()

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
