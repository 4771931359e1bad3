"""Both sides of the data plane, without sockets: clients and upstreams that do what a log says.

These are compiled, because the streams that they are based on are (ADR 14).
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from proxy.errors import ProxyError, StreamRefused, UpstreamReset, by_reason
from proxy.exchange.attempt import Attempt
from proxy.exchange.throttle import Throttle
from proxy.grpc_status import OK, code_of
from proxy.http.making import make_response
from proxy.http.message import FieldName, OwnFields, RequestHead, ResponseHead, named_field
from proxy.http.problem import RETRIED_BELOW
from proxy.simulation.recording import RecordedAttempt, Ring
from proxy.upstream.leases import OnClosed
from proxy.wire.alarm import NEVER, Alarm
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
"""A response's body comes in so many pieces, evenly; a short one in fewer."""
_APART: Final = 0.01
"""Seconds from one piece to the next, at least."""
PIECE_BYTES: Final = 64 * 1024
_ZEROS: Final = bytes(PIECE_BYTES)
_CONTENT_TYPE: Final = named_field(FieldName(b"content-type"), b"application/grpc")
_GRPC_STATUS: Final = FieldName(b"grpc-status")
_RETRY_AFTER: Final = FieldName(b"retry-after")
_PROXY_STATUS: Final = FieldName(b"proxy-status")


class PlayedAlarm(Alarm):
    """Rings as late as the timers of the recorded request did, and else exactly."""

    __slots__ = ("_rings",)

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_due: Callable[[], None], rings: Sequence[Ring]
    ) -> None:
        """`rings` on the clock of the loop."""
        super().__init__(loop, on_due)
        self._rings = rings

    def set(self, due: float) -> None:
        super().set(self.rings(due))

    def rings(self, due: float) -> float:
        """When it rings, if it is due at `due`."""
        for first, last, at in self._rings:
            if first <= due <= last and due < at:
                return at
        return due

    def _set_timer(self, now: float, due: float) -> None:
        self._armed_for = self._expected = due
        self._handle = self._loop.call_later(max(0.0, due - now), self._ring)


class PlayedClient(NoClient):
    """One client with one request, which sends it at once and reads everything.

    `over`: its exchange has ended.
    """

    __slots__ = ("_left", "_loop", "_paused", "over")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, client: str, body: int, rings: Sequence[Ring] = ()
    ) -> None:
        """`body`: its bytes. `rings` of its alarm, on the clock of the loop."""
        super().__init__(loop, client)
        self.alarm = PlayedAlarm(loop, self._on_alarm, rings)
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

    __slots__ = ("_head_at", "_loop", "_outcome", "_outcome_of", "_pieces", "_throttled", "_timer")

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
        self._pieces: list[float] = []  # when they come, in seconds after the head; the last first
        self._head_at = 0.0
        self._throttled = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def payload_bytes(self) -> int:
        return self._outcome.size if self._outcome is not None else 0

    @property
    def unsent_bytes(self) -> int:
        return 0

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
        self._throttled = isinstance(handler, Throttle)
        attempt = handler.view.handler if isinstance(handler, Throttle) else handler
        assert isinstance(attempt, Attempt)
        request_id = b""
        for name, value in own:
            if name.lower == b"x-request-id":
                request_id = value
        self._outcome = outcome = self._outcome_of(attempt, request_id)
        if outcome is not None:
            # The recorded time begins with the attempt, before its connection; before a fault's
            # delay only if the recorded attempt had it too.
            delayed = attempt.fault is not None and attempt.fault.delay > 0.0
            late = delayed and not outcome.fault
            since = self._loop.time() if late else attempt.record.started
            self._at(since + outcome.head, self._answer)

    def _at(self, when: float, what: Callable[[], None]) -> None:
        self._timer = self._loop.call_later(max(0.0, when - self._loop.time()), what)

    def _answer(self) -> None:
        outcome, handler = self._outcome, self.handler
        if outcome is None or handler is None:
            return
        if not outcome.status:
            handler.on_lost(_failure(outcome))
            return
        handler.on_head(*_head(outcome))
        if outcome.body or outcome.failure:
            self._head_at = self._loop.time()
            self._pieces = self._moments(outcome)
            self._send_piece()

    def _moments(self, outcome: RecordedAttempt) -> list[float]:
        body, (silent, again) = outcome.body, outcome.pause
        count = 1 if body == NEVER else PIECES
        if not self._throttled and body < PIECES * _APART:
            count = max(1, int(body / _APART))
        moments = {place * body / count if place else 0.0 for place in range(count)}
        if again:
            moments = {moment for moment in moments if not silent < moment < again} | {silent}
        return sorted(moments, reverse=True)

    def _send_piece(self) -> None:
        outcome, handler = self._outcome, self.handler
        if outcome is None or handler is None:
            return
        if self._pieces:
            self._pieces.pop()
            after = self._pieces[-1] if self._pieces else outcome.body
            if after < NEVER:
                self._at(self._head_at + after, self._send_piece)
            handler.on_piece(self._piece(outcome))
        elif outcome.failure:
            handler.on_lost(_failure(outcome))
        else:
            handler.on_end(NO_TRAILERS)

    def _piece(self, outcome: RecordedAttempt) -> bytes:
        """A fault that throttles counts bytes; nothing else does."""
        if not self._throttled:
            return b"\0"
        return _ZEROS[: min(outcome.size // PIECES + 1, PIECE_BYTES)]

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
    if outcome.refused:
        return StreamRefused("as recorded")
    kind = by_reason(outcome.failure)
    if kind is None or not issubclass(kind, ProxyError):
        return UpstreamReset("as recorded")
    return kind("as recorded")


def _head(outcome: RecordedAttempt) -> tuple[ResponseHead, bytes, bool, Trailers]:
    """The recorded response: a gRPC call's has its status in the head (Trailers-Only)."""
    fields = []
    code = code_of(outcome.grpc.lower().replace("_", "-")) if outcome.grpc else None
    if outcome.grpc:
        fields = [_CONTENT_TYPE, named_field(_GRPC_STATUS, b"%d" % (OK if code is None else code))]
    if outcome.retry_after:
        fields.append(named_field(_RETRY_AFTER, b"%d" % outcome.retry_after))
    if outcome.below:
        fields.append(named_field(_PROXY_STATUS, b"as recorded" + RETRIED_BELOW))
    ended = not outcome.body and not outcome.failure
    head = make_response(outcome.status, fields, 0 if ended else None)
    head.chunked = not ended
    if outcome.grpc:
        head.version = 20
    return head, b"", ended, NO_TRAILERS
