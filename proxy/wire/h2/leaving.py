"""How a client's HTTP/2 connection goes away: in order, at once, or because of an error.

    serving ──leave──▶ GOAWAY, PING ──ack, or a second──▶ GOAWAY ──last stream──▶ closed

A client that says GOAWAY itself is closed after its last stream; one that breaks a rule, at once.
"""

from time import monotonic
from typing import Final

from proxy.errors import BadRequest
from proxy.http.h2.fields import FieldStore
from proxy.http.h2.frames import MAX_STREAM_ID, NO_ERROR, code_name, goaway, ping
from proxy.wire.alarm import NEVER
from proxy.wire.h2.request_stream import RequestConnection, RequestStream
from proxy.wire.streams import Gate

LEAVE_SECONDS: Final = 1.0
"""Seconds for requests in transit, if the client does not answer the PING."""
_LEAVING: Final = b"\x00leaving"
_STAYS: Final = 0
_SAID: Final = 1
_GONE: Final = 2


class LeavingConnection(RequestConnection):
    """The end of a connection; how it begins and serves is the subclass's.

    `client` is the address of its peer.
    """

    __slots__ = ("_gate", "_leave_due", "_leaving", "client")

    def __init__(self, gate: Gate, store: FieldStore) -> None:
        limits = gate.limits
        super().__init__(store, max_bytes=limits.header_bytes, max_fields=limits.headers)
        self._gate = gate
        self._leaving = _STAYS
        self._leave_due = NEVER
        self.client = ""

    @property
    def takes_no_more(self) -> bool:
        """Whether streams that the client opens from now on are refused."""
        return self._leaving == _GONE

    # --- for the listener -------------------------------------------------------------------------

    def leave(self) -> None:
        """Tell the client to open no more streams; those in transit are still served."""
        if self._leaving == _STAYS and not self.failed and not self.lost:
            self._leaving = _SAID
            self.control(goaway(MAX_STREAM_ID, NO_ERROR))
            self.control(ping(_LEAVING, ack=False))
            self._leave_due = monotonic() + LEAVE_SECONDS
            self.by(self._leave_due)

    def close_idle(self) -> None:
        """Close if no request is in flight, else as soon as none is."""
        if self.streams:
            self.leave()
        else:
            self.go(NO_ERROR, "")

    def cut(self) -> None:
        """Close, even with requests in flight."""
        if not self.failed and not self.lost:
            self.control(goaway(self.taken_id, NO_ERROR))
            self._lose_all()
            self.flush()
        self.channel.transport.close()

    def go(self, code: int, text: str) -> None:
        """Close: no stream is open."""
        if not self.failed and not self.lost:
            self.control(goaway(self.taken_id, code, text))
            self.flush()
            self.linger(self._gate.limits.idle_timeout)

    def last_goaway(self) -> None:
        """Requests in transit have arrived: later ones are not served."""
        self._leave_due = NEVER
        self._leaving = _GONE
        if self.streams:
            self.control(goaway(self.taken_id, NO_ERROR))
        else:
            self.go(NO_ERROR, "")

    # --- what the peer says of the connection -----------------------------------------------------

    def on_goaway(self, last: int, code: int, text: bytes) -> None:
        """The client opens no more streams: close after those that are open."""
        self._leaving = _GONE
        if not self.streams:
            self.go(NO_ERROR, "")

    def on_pong(self, data: bytes) -> None:
        if data == _LEAVING and self._leaving == _SAID:
            self.last_goaway()

    def on_failed(self, code: int, text: str) -> None:
        error = BadRequest(f"The client broke a rule of HTTP/2: {text} ({code_name(code)}).")
        self._gate.drop(self.voice(), error)

    def voice(self) -> RequestStream:
        """A stream for a record, without a request."""
        request = RequestStream(self)
        request.stream.owner = None
        request.client = self.client
        return request
