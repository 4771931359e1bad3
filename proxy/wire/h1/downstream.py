"""A client's HTTP/1 connection: its transport, its alarm, and what its exchanges ask of it.

It is the `ClientStream` of each of its exchanges. `request_reader` finds its requests, `closing`
has its states and how it ends, `response_writer` how it writes. In EXCHANGE the exchange owns the
alarm; in the other states the connection does.
"""

import asyncio
from random import random
from time import monotonic
from typing import Final, cast

from proxy.errors import ConnectionsFull, HeaderTimeout
from proxy.http.h2.frames import PREFACE
from proxy.http.message import OwnFields, ResponseHead
from proxy.wire.alarm import Alarm
from proxy.wire.flow import Channel, peek
from proxy.wire.h1.closing import CLOSED, EXCHANGE, HEAD, LINGER, TUNNEL
from proxy.wire.h1.head_writer import ESTABLISHED, HEAD_ENDS, add_own, response_front
from proxy.wire.h1.request_reader import RequestReader
from proxy.wire.streams import Gate
from proxy.wire.tls import certificate_of, chosen_protocol

GRACE: Final = 1.0
"""Seconds for another request after the last response of a closing gate."""


class Downstreams:
    """Makes the connections of one gate. `tls`: their transports have finished a handshake."""

    __slots__ = ("_gate", "_tls")

    def __init__(self, gate: Gate, *, tls: bool) -> None:
        self._gate = gate
        self._tls = tls

    def make(self) -> "Downstream":
        return Downstream(self._gate, tls=self._tls)


class Downstream(RequestReader):
    """One client connection of a listener.

    It is an asyncio protocol by its methods: a compiled class cannot have that base class.
    """

    __slots__ = ()

    @property
    def certificate(self) -> bytes:
        return certificate_of(self._channel.transport) if self._tls else b""

    # --- what the exchange writes -----------------------------------------------------------------

    def open_tunnel(self, head: ResponseHead, own: OwnFields, piece: bytes) -> bytes:
        self._keep_alive = False
        established = self._asked.method == "CONNECT" and not head.status_line
        parts = [ESTABLISHED if established else response_front(head)]
        add_own(parts, own)
        parts.append(HEAD_ENDS)
        self._channel.write_parts(parts, piece)
        self._state = TUNNEL
        self.resume_reading()
        early, self._buffer = self._buffer, b""
        return early

    def expect_plain_http(self, own: OwnFields) -> None:
        self._bound = self._asked.authority
        self._unheard = True
        parts = [ESTABLISHED]
        add_own(parts, own)
        parts.append(HEAD_ENDS)
        self._channel.write_parts(parts, b"")
        self._state = HEAD
        self.alarm.set(monotonic() + self._gate.limits.header_timeout)

    def finish(self, now: float) -> None:
        self.handler = None
        if self._state is CLOSED:
            return
        if self._keep_alive and not self.receiving and not self._channel.closing:
            self._state = HEAD
            gate = self._gate
            # A closing gate's response without Connection: close had begun before, so another
            # request may arrive.
            self.alarm.set(now + (GRACE if gate.closing else gate.limits.idle_timeout))
            if self._buffer:  # the next request was pipelined
                self._advance()
            elif self.write_paused or not self._channel.reading:
                self._read_on()
        elif self._nothing_follows():
            self._state = LINGER
            self._close(self._gate.limits.idle_timeout)
        else:
            self._linger(more=self.receiving or bool(self._buffer))

    def _nothing_follows(self) -> bool:
        """Whether the client sends nothing more, so that no byte can cause a reset: it said so in
        its request, or has ended its side of a tunnel. Under TLS its close_notify follows.
        """
        if not self.half_closes:
            return False
        if self._state is TUNNEL:
            return self._ended
        return (
            self._state is EXCHANGE
            and not self._asked.keep_alive
            and not self.receiving
            and not self._buffer
        )

    def leave(self) -> None:
        """Responses say Connection: close while the gate is closing."""

    # --- events of the transport --------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._channel = Channel(cast(asyncio.Transport, transport))
        self.alarm = Alarm(asyncio.get_running_loop(), self._on_alarm)
        peer = transport.get_extra_info("peername")
        self.client = peer[0] if peer else ""
        gate = self._gate
        if self._tls and chosen_protocol(transport) == "h2":
            self._speak_http2(b"")
            return
        gate.connections.add(self)
        limits = gate.limits
        if len(gate.connections) > limits.connections:
            self._refuse_connection()
            return
        now = monotonic()
        self.alarm.begin(now + limits.header_timeout)
        if limits.connection_age:
            self._leaves_at = now + limits.connection_age * (0.9 + 0.2 * random())

    def _refuse_connection(self) -> None:
        """Answer at once, in HTTP/2 if its preface has already arrived."""
        start = b"" if self._tls else peek(self._channel.transport, len(PREFACE))
        if start[:4] == PREFACE[:4] and self._gate.http2:
            self._speak_http2(b"")
            return
        limit = self._gate.limits.connections
        self._refuse(
            ConnectionsFull(
                f"The listener has its maximum of {limit} connections (limits.connections)."
            )
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self._state = CLOSED
        self._buffer = b""  # do not wait for the cycle collector
        self.alarm.close()
        self._gate.connections.discard(self)
        handler, self.handler = self.handler, None
        if handler is not None:
            handler.on_client_gone()

    def pause_writing(self) -> None:
        self.write_paused = True
        if self.handler is not None:
            self.handler.on_client_writable(False)

    def resume_writing(self) -> None:
        self.write_paused = False
        if self.handler is not None:
            self.handler.on_client_writable(True)
        elif self._state is HEAD:
            self._advance()
            self._end_after_requests()

    def _on_alarm(self) -> None:
        if self._state is EXCHANGE or self._state is TUNNEL:
            if self.handler is not None:
                self.handler.on_alarm()
        elif self._state is LINGER:
            self._end_lingering()
        elif self._queued:
            self.alarm.set(monotonic() + self._gate.limits.idle_timeout)  # the proxy is late
        elif self.write_paused:
            # The client reads none of its answers: an orderly close would wait for them.
            self._channel.transport.abort()
        elif self._buffer or self.requests == 0:
            seconds = self._gate.limits.header_timeout
            self._refuse(
                HeaderTimeout(f"The request's head was not complete within {seconds:g} s.")
            )
        else:
            self._close(self._gate.limits.idle_timeout if self._gate.closing else 0.0)
