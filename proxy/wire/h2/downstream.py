"""A client's HTTP/2 connection: its deadlines, and the requests among its streams.

    preface ──SETTINGS──▶ serving ──leave──▶ (`leaving.py`)
                             └── an error of the client ──▶ GOAWAY, linger ──▶ closed

A stream counts until its exchange has settled, also after a reset: a client cannot make the proxy
work on more than `limits.streams` requests by cancelling them. How often it does so is limited too.
"""

import asyncio
from random import random
from time import monotonic
from typing import Final, cast

from proxy.errors import BadRequest, ConnectionsFull, HeadersTooLarge, HeaderTimeout, ProxyError
from proxy.http.grpc import is_call
from proxy.http.h2.decoder import FieldSection
from proxy.http.h2.frames import (
    ENABLE_CONNECT_PROTOCOL,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_HEADER_LIST_SIZE,
    NO_ERROR,
    PREFACE,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    SETTINGS_TIMEOUT,
    STREAM_CLOSED,
    FrameError,
    rst_stream,
)
from proxy.http.h2.head import read_trailers, request_store
from proxy.http.h2.judge import Malformed
from proxy.wire.alarm import NEVER, Alarm
from proxy.wire.h2.connection import LOST, RECORDED, SETTINGS_SECONDS
from proxy.wire.h2.leaving import LeavingConnection
from proxy.wire.h2.receiving import STREAM_WINDOW
from proxy.wire.h2.request_stream import RequestStream
from proxy.wire.h2.streams import Stream
from proxy.wire.streams import Gate

HASTY: Final = 0.5
"""A client that resets a stream so soon after its head may be flooding (CVE-2023-44487)."""

_store: Final = request_store()
"""One for all connections, so that equal fields are one object everywhere."""


class Http2Downstream(LeavingConnection):
    """One client connection of a listener."""

    __slots__ = (
        "_age_due",
        "_free",
        "_greeting_due",
        "_idle_due",
        "_most_streams",
        "_prefaced",
        "_stall_due",
    )

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate, _store)
        self._free: list[RequestStream] = []
        self._most_streams = gate.limits.streams
        self._prefaced = False
        self._greeting_due = self._idle_due = self._age_due = self._stall_due = NEVER

    # --- events of the transport ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        gate = self._gate
        limits = gate.limits
        peer = transport.get_extra_info("peername")
        self.client = peer[0] if peer else ""
        settings = [
            (MAX_CONCURRENT_STREAMS, self._most_streams),
            (INITIAL_WINDOW_SIZE, STREAM_WINDOW),
            (MAX_HEADER_LIST_SIZE, self.max_bytes),
            (ENABLE_CONNECT_PROTOCOL, 1),
        ]
        self.open(transport, b"", settings)
        gate.connections.add(self)
        now = monotonic()
        if limits.connection_age:
            self._age_due = now + limits.connection_age * (0.9 + 0.2 * random())
            self.by(self._age_due)
        self._settings_due = NEVER  # it cannot acknowledge what it has not greeted
        self._greeting_due = now + limits.header_timeout
        self.by(self._greeting_due)
        if len(gate.connections) > limits.connections:
            most = limits.connections
            text = f"The listener has its maximum of {most} connections (limits.connections)."
            gate.drop(self.voice(), ConnectionsFull(text))
            self.go(NO_ERROR, text)

    def data_received(self, data: bytes) -> None:
        if not self._prefaced:
            data = self._buffer + data
            self._buffer = b""
            if not PREFACE.startswith(data[: len(PREFACE)]):
                self.fail(PROTOCOL_ERROR, "the connection does not begin with HTTP/2's preface")
                return
            if len(data) < len(PREFACE):
                self._buffer = data
                return
            self._prefaced = True
            data = data[len(PREFACE) :]
        super().data_received(data)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall_due = monotonic() + self._gate.limits.idle_timeout
        self.by(self._stall_due)

    def resume_writing(self) -> None:
        self._stall_due = NEVER
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gate.connections.discard(self)
        super().connection_lost(exc)
        for request in self._free:
            request.discard()
        self._free.clear()

    def on_time(self, now: float) -> None:
        if now >= self._greeting_due:
            seconds = self._gate.limits.header_timeout
            text = f"HTTP/2's preface and SETTINGS were not complete within {seconds:g} s."
            self._gate.drop(self.voice(), HeaderTimeout(text))
            self.go(SETTINGS_TIMEOUT, text)
        elif now >= self._idle_due:
            self._idle_due = NEVER
            if not self.streams:
                self.go(NO_ERROR, "")
        if now >= self._stall_due:  # the client reads nothing at all
            self.channel.transport.abort()
            return
        if now >= self._leave_due:
            self.last_goaway()
        if now >= self._age_due:
            self._age_due = NEVER
            self.leave()

    def next_due(self) -> float:
        own = min(self._idle_due, self._leave_due, self._age_due, self._stall_due)
        return min(own, self._greeting_due)

    def block_seconds(self) -> float:
        return self._gate.limits.header_timeout

    # --- what the peer says of the connection -----------------------------------------------------

    def on_settings(self) -> None:
        if self._greeting_due != NEVER:
            self._greeting_due = NEVER
            self._settings_due = monotonic() + SETTINGS_SECONDS
            self.by(self._settings_due)
        if not self.streams and self._idle_due == NEVER:
            self._await_request(monotonic())

    # --- streams ----------------------------------------------------------------------------------

    def is_idle(self, number: int) -> bool:
        return number > self.last_id or number % 2 == 0

    def on_section(self, number: int, section: FieldSection, ended: bool) -> None:
        stream = self.streams.get(number)
        if stream is not None:
            self._on_trailers(stream, section, ended)
            return
        if number % 2 == 0:
            raise FrameError(PROTOCOL_ERROR, "a client's stream has an even number")
        if number <= self.last_id:
            if self.was_reset_here(number):
                self.stray()
                return
            skipped = self.was_skipped(number)
            code = PROTOCOL_ERROR if skipped else STREAM_CLOSED
            raise FrameError(code, "HEADERS came on a stream that is not open")
        self.skip_to(number)
        if self.takes_no_more:
            self.spend()
            self.refuse(number, rst_stream(number, REFUSED_STREAM))
        elif len(self.streams) >= self._most_streams:
            self.refuse(number, rst_stream(number, REFUSED_STREAM))
            self.count_reset()
        else:
            self._open_stream(number, section, ended)

    def _open_stream(self, number: int, section: FieldSection, ended: bool) -> None:
        if not self._now:
            self._now = monotonic()
        now = self._now
        if self._free:
            request = self._free.pop()
        else:
            request = RequestStream(self)
            request.client = self.client
            request.alarm = Alarm(self._loop, request.ring)
        request.use_for(number, self.initial_window, now)
        stream = request.stream
        stream.section = section
        stream.remote_ended = stream.arrived_end = ended
        self.count(stream)
        self.taken_id = number
        self._gate.streams += 1
        self.progress()
        self.touch(stream)

    def _on_trailers(self, stream: Stream, section: FieldSection, ended: bool) -> None:
        if stream.closed:
            if self.was_reset_here(stream.id):
                self.stray()
                return
            raise FrameError(STREAM_CLOSED, "HEADERS came on a stream that its client reset")
        if stream.remote_ended:
            self.break_stream(stream, STREAM_CLOSED, "HEADERS came after the end of its stream")
        elif not ended:
            self.break_stream(stream, PROTOCOL_ERROR, "HEADERS came twice")
        elif cast(RequestStream, stream.owner).connects:
            self.break_stream(stream, PROTOCOL_ERROR, "HEADERS came within a tunnel")
        elif section.over:
            self.break_stream(stream, PROTOCOL_ERROR, "the trailers are too large")
        else:
            try:
                stream.arrived_trailers = read_trailers(section)
            except Malformed as fault:
                self.break_stream(stream, PROTOCOL_ERROR, str(fault))
                return
            stream.remote_ended = stream.arrived_end = True
            self.touch(stream)

    def may_begin(self, stream: Stream) -> bool:
        """Nothing is begun for a client that does not read its answers."""
        return not self.write_paused

    def deliver(self, stream: Stream) -> bool:
        request = cast(RequestStream, stream.owner)
        if not stream.begun:
            stream.begun = True
            self._begin(request, stream)
            return True
        fault = request.fault
        if fault:
            self.break_stream(stream, PROTOCOL_ERROR, fault)
        else:
            request.on_arrival()
            self.return_credit(stream)
        return False

    def _begin(self, request: RequestStream, stream: Stream) -> None:
        """Start the exchange of a request, with the part of its body that came along."""
        section = cast(FieldSection, stream.section)
        stream.section = None
        gate = self._gate
        try:
            if section.over:
                raise HeadersTooLarge(
                    f"The request's head is larger than {self.max_bytes} bytes, or has more than "
                    f"{self.max_fields} fields."
                )
            ended = stream.arrived_end and not stream.pieces and not stream.arrived_trailers
            head = gate.reader.read(section, ended)
            piece = request.take(head)
        except Malformed as fault:
            self.break_stream(stream, PROTOCOL_ERROR, str(fault))
            return
        except ProxyError as error:
            gate.refuse(request, error, is_call("POST", section.values(b"content-type")))
            request.finish(monotonic())
            return
        contradiction = request.fault
        if contradiction:
            self.break_stream(stream, PROTOCOL_ERROR, contradiction)
            return
        gate.begin(request, head, piece)
        self.return_credit(stream)

    def on_writable(self, stream: Stream, writable: bool) -> None:
        cast(RequestStream, stream.owner).on_writable(writable)

    def on_rest(self, stream: Stream) -> None:
        """The last bytes of a tunnel still count; the body of a cancelled request does not."""
        request = cast(RequestStream, stream.owner)
        if request.tunnels:
            request.on_arrival()

    def on_lost_stream(self, stream: Stream, code: int, text: str) -> None:
        request = cast(RequestStream, stream.owner)
        self.spent += RECORDED
        by_client = code != LOST and not text
        answered = stream.answered
        age = monotonic() - stream.opened_at if by_client else 0.0
        if not stream.begun or (request.handler is None and text and not request.finished):
            # It has no exchange.
            if text:
                error = BadRequest(f"The request is malformed: {text}.")
                self._gate.drop(request, error)
            self.settled(request, monotonic())
        else:
            request.on_gone(text)
        if by_client and not answered and age < HASTY:
            self.count_reset()

    # --- for its streams --------------------------------------------------------------------------

    def settled(self, request: RequestStream, now: float) -> None:
        stream = request.stream
        if not self.forget(stream):
            return
        self._gate.streams -= 1
        if self.lost:
            request.discard()
            return
        request.alarm.set(NEVER)
        if not stream.touched and not stream.queued and len(self._free) < self._most_streams:
            self._free.append(request)
        else:
            request.discard()
        if not self.streams and not self.failed:
            if self.takes_no_more:
                self.go(NO_ERROR, "")
            else:
                self._await_request(now)

    def _await_request(self, now: float) -> None:
        self._idle_due = now + self._gate.limits.idle_timeout
        self.by(self._idle_due)

    def tell_later(self, stream: Stream) -> None:
        self.touch(stream)
        self._loop.call_soon(self._tell)

    def _tell(self) -> None:
        if not self._queued and not self.failed and not self.lost:
            self._advance()

    @property
    def body_limit(self) -> int:
        return self._gate.limits.body_bytes

    @property
    def patience(self) -> float:
        return self._gate.limits.idle_timeout
