"""Both sides of the data plane, without sockets: clients and upstreams that do what a log says.

These are compiled, because the streams that they are based on are (ADR 14).
"""

import asyncio
from collections.abc import Callable
from typing import Final

from proxy.errors import ConnectError, ProxyError, UpstreamReset, by_reason
from proxy.exchange.attempt import Attempt
from proxy.grpc_status import OK, code_of
from proxy.http.message import (
    FieldName,
    OwnFields,
    RequestHead,
    ResponseHead,
    make_response,
    named_field,
)
from proxy.simulation.recorded import RecordedAttempt
from proxy.upstream.leases import OnClosed
from proxy.wire.no_client import NoClient
from proxy.wire.streams import (
    NO_TRAILERS,
    Gate,
    StreamHandler,
    Trailers,
    UpstreamSession,
    UpstreamStream,
)

PIECES: Final = 10
"""A response's body comes in so many pieces, evenly."""
PIECE_BYTES: Final = 64 * 1024
_ZEROS: Final = bytes(PIECE_BYTES)
_CONTENT_TYPE: Final = named_field(FieldName(b"content-type"), b"application/grpc")
_GRPC_STATUS: Final = FieldName(b"grpc-status")


class PlayedClient(NoClient):
    """One client with one request, which sends it at once and reads everything.

    `over`: its exchange has ended.
    """

    __slots__ = ("_left", "_loop", "_paused", "over")

    def __init__(self, loop: asyncio.AbstractEventLoop, client: str, body: int) -> None:
        """`body`: its bytes."""
        super().__init__(loop, client)
        self._loop = loop
        self._paused = False
        self._left = max(0, body - PIECE_BYTES)
        self.receiving = self._left > 0
        self.over = False

    def begin(self, gate: Gate, head: RequestHead, body: int) -> None:
        """Send the request. `body`: as before."""
        gate.begin(self, head, _ZEROS[: min(body, PIECE_BYTES)])
        self._send()

    def leave(self) -> None:
        """Close the connection before the answer has come."""
        if self.handler is not None and not self.over:
            self.handler.on_client_gone()

    def _send(self) -> None:
        while self.receiving and not self._paused and self.handler is not None:
            piece = min(self._left, PIECE_BYTES)
            self._left -= piece
            self.handler.on_body(_ZEROS[:piece])
            if self._left == 0:
                self.receiving = False
                if self.handler is not None:
                    self.handler.on_body_end(NO_TRAILERS)

    def finish(self, now: float) -> None:
        super().finish(now)
        self.over = True
        self.receiving = False

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            self._loop.call_soon(self._send)


class PlayedSession(UpstreamSession):
    """A connection for one attempt: the next one connects again, and may fail."""

    __slots__ = ("_loop", "_on_closed", "_outcome_of", "_over")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_closed: OnClosed,
        outcome_of: Callable[[Attempt, bytes], RecordedAttempt | None],
    ) -> None:
        """`outcome_of` an attempt, by it and its request's id; None: it never answers."""
        super().__init__(1)
        self._loop = loop
        self._on_closed: OnClosed | None = on_closed
        self._outcome_of = outcome_of
        self._over = False

    @property
    def usable(self) -> bool:
        return not self._over

    def lend(self) -> UpstreamStream:
        return PlayedStream(self, self._loop, self._outcome_of)

    def take_back(self, stream: UpstreamStream, reusable: bool) -> None:
        self._over = True

    def close(self) -> None:
        self._over = True
        on_closed, self._on_closed = self._on_closed, None
        if on_closed is not None:
            self._loop.call_soon(on_closed, self)


class PlayedStream(UpstreamStream):
    """One attempt at an upstream."""

    __slots__ = ("_loop", "_outcome", "_outcome_of", "_pieces", "_timer")

    def __init__(
        self,
        session: UpstreamSession,
        loop: asyncio.AbstractEventLoop,
        outcome_of: Callable[[Attempt, bytes], RecordedAttempt | None],
    ) -> None:
        super().__init__()
        self.session = session
        self._loop = loop
        self._outcome_of = outcome_of
        self._outcome: RecordedAttempt | None = None
        self._pieces = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def payload_bytes(self) -> int:
        return self._outcome.size if self._outcome is not None else 0

    @property
    def half_closes(self) -> bool:
        return False

    @property
    def upgrades(self) -> bool:
        return True

    def send_head(
        self,
        handler: StreamHandler,
        head: RequestHead,
        own: OwnFields,
        piece: bytes,
        ended: bool,
        trailers: Trailers,
    ) -> None:
        self.handler = handler
        assert isinstance(handler, Attempt)
        request_id = b""
        for name, value in own:
            if name.lower == b"x-request-id":
                request_id = value
        self._outcome = outcome = self._outcome_of(handler, request_id)
        if outcome is not None:
            self._at(handler.record.started + outcome.head, self._answer)

    def _at(self, when: float, what: Callable[[], None]) -> None:
        self._timer = self._loop.call_later(max(0.0, when - self._loop.time()), what)

    def _answer(self) -> None:
        outcome, handler = self._outcome, self.handler
        if outcome is None or handler is None:
            return
        if not outcome.status or (outcome.failure and not outcome.body):
            handler.on_lost(_failure(outcome))
            return
        handler.on_head(*_head(outcome))
        if outcome.body:
            self._pieces = PIECES
            self._send_piece()

    def _send_piece(self) -> None:
        outcome, handler = self._outcome, self.handler
        if outcome is None or handler is None:
            return
        if self._pieces:
            self._pieces -= 1
            self._at(self._loop.time() + outcome.body / PIECES, self._send_piece)
            handler.on_piece(b"\0")
        elif outcome.failure:
            handler.on_lost(_failure(outcome))
        else:
            handler.on_end(NO_TRAILERS)

    # --- UpstreamStream ---------------------------------------------------------------------------

    def write_body(self, piece: bytes) -> None:
        pass

    def end(self, trailers: Trailers) -> None:
        pass

    def begin_tunnel(self, handler: StreamHandler) -> None:
        self.handler = handler

    def write_tunnel(self, data: bytes) -> None:
        pass

    def end_tunnel(self) -> None:
        pass

    def leave_tunnel(self, *, reset: bool) -> bool:
        self.detach()
        return False

    def detach(self) -> None:
        self.handler = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


def _failure(outcome: RecordedAttempt) -> ProxyError:
    """The recorded failure again; what is decided on this side, or unknown, is a reset."""
    kind = by_reason(outcome.failure)
    if kind is None or not issubclass(kind, ProxyError) or issubclass(kind, ConnectError):
        return UpstreamReset("as recorded")
    return kind("as recorded")


def _head(outcome: RecordedAttempt) -> tuple[ResponseHead, bytes, bool, Trailers]:
    """The recorded response: a gRPC call's has its status in the head (Trailers-Only)."""
    fields = []
    code = code_of(outcome.grpc.lower().replace("_", "-")) if outcome.grpc else None
    if outcome.grpc:
        fields = [_CONTENT_TYPE, named_field(_GRPC_STATUS, b"%d" % (OK if code is None else code))]
    ended = not outcome.body
    head = make_response(outcome.status, fields, None if outcome.body else 0)
    head.chunked = not ended
    if outcome.grpc:
        head.version = 20
    return head, b"", ended, NO_TRAILERS
