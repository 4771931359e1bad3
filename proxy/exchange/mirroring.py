"""Mirrors: a copy of a request goes to another upstream, and its answer is read and dropped.

    attempt ── has its connection ─▶ request sent ── body, as it streams ──▶ …
                                       └─▶ Mirror ──────── the same ────────▶ answer, dropped

A mirror is an attempt without gates, retries and records, of a request whose client is a `_Copy`.
It never delays or ends the exchange that it copies: it buffers a bounded part of the body, and is
dropped where its upstream falls further behind. It has as long for its answer as an attempt has,
from the end of the body on. The exchange may end before; with its body, a cut copy ends too.
"""

import asyncio
import logging
from time import monotonic
from typing import Final, cast

from proxy.errors import ClientGone, ProxyError
from proxy.exchange.attempt import Attempt
from proxy.exchange.binding import CLASSES, Mirrors
from proxy.exchange.body import RequestBody
from proxy.exchange.events import MOVED
from proxy.exchange.request import Request
from proxy.exchange.script import SUSPENDED, Script
from proxy.exchange.timing import Timing
from proxy.http.message import Field, FieldName, RequestHead, Shared, named_field
from proxy.wire.alarm import NEVER
from proxy.wire.no_client import NoClient
from proxy.wire.streams import NO_TRAILERS, Trailers

BEHIND: Final = 256 * 1024
"""Bytes of a body that a mirror's upstream may be behind; beyond it the copy is dropped."""

_MIRRORED: Final = FieldName(b"X-Mirrored")
_OWN: Final = frozenset({_MIRRORED.lower})
_CREDENTIALS: Final = _OWN | {b"authorization", b"cookie", b"proxy-authorization"}

_FULL, _SLOW, _CUT, _FAILED = "full", "slow", "cut", "failed"

_log = logging.getLogger("proxy.exchange")


def begin_mirror(request: Request, mirrors: Mirrors, held: bytes) -> None:
    """Copy a request that an attempt sends now; `held` is its body so far. Raises nothing."""
    if not mirrors.places.chosen():
        return
    head = request.head
    if head.method == "CONNECT" or head.upgrade is not None:
        return
    if not mirrors.places.enter():
        mirrors.stats.count_mirror(_FULL)
        return
    try:
        mirror = Mirror(request, mirrors, held)
    except Exception:  # noqa: BLE001 - a bug here must not affect the request
        mirrors.places.leave()
        _log.exception("internal error in the mirror of request %s", request.record.request_id)
        return
    request.record.mirrored = mirrors.binding.upstream.name
    if request.body is not None:
        request.body.copy_to(mirror)
    mirror.start(mirror.run())


class _Copy(NoClient):
    """The client's side of a copy: there is no client, and nothing is sent to it.

    `paused`: the mirror's upstream is behind. A real client would be asked to wait.
    """

    __slots__ = ("paused", "trailers")

    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop(), "")
        self.trailers = NO_TRAILERS
        self.paused = False

    def begin(self, client: str, receiving: bool, trailers: Trailers) -> None:
        """It is the stream of one copy, until its handler is taken away."""
        self.client = client
        self.receiving = receiving
        self.trailers = trailers
        self.paused = False

    @property
    def request_trailers(self) -> Trailers:
        return self.trailers

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


class Mirror(Script):
    """One copy. It follows the body of the request that it copies, as a handler of its client."""

    __slots__ = ("_attempt", "_behind", "_copy", "_ended", "_mirrors", "_noted", "_request")

    def __init__(self, of: Request, mirrors: Mirrors, held: bytes) -> None:
        super().__init__()
        self._mirrors = mirrors
        self._behind = 0
        self._ended = False
        self._noted = ""
        body = of.body
        receiving = body is not None and not body.complete
        whole = body is not None and body.complete
        trailers = of.stream.request_trailers if whole else NO_TRAILERS
        idle = mirrors.idle
        copy = self._copy = cast(_Copy, idle.pop()) if idle else _Copy()
        copy.begin(of.stream.client, receiving, trailers)
        copy.handler = self
        timing = Timing(copy.alarm, self, monotonic())
        own = RequestBody(copy, held, awaits_word=False) if body is not None else None
        request = self._request = Request(of.terms, copy, of.head, own, timing, of)
        request.binding = mirrors.binding
        request.sent = _copied(of.sent, mirrors)
        timing.begin(mirrors.timeouts, None)
        self._attempt: Attempt | None = Attempt(request, mirrors.binding, self)

    async def run(self) -> None:
        attempt = self._attempt
        assert attempt is not None
        try:
            attempt.begin()
            while not attempt.over:
                await SUSPENDED
                self.heard()
            if attempt.bug is not None:
                raise attempt.bug
            if attempt.head is None:
                self._note(_FAILED)
            else:
                self._note(CLASSES[attempt.head.status // 100])
                if attempt.ended:
                    attempt.finish()
                else:
                    await self._take_answer(attempt)
        except ProxyError as error:
            self._note(_FAILED)
            attempt.cancel(error)
            attempt.give_up()
        except Exception:  # noqa: BLE001 - a bug here must not affect the request
            self._note(_FAILED)
            attempt.give_up()
            _log.exception(
                "internal error in the mirror of request %s", self._request.id.decode("ascii")
            )
        self._finish()

    async def _take_answer(self, attempt: Attempt) -> None:
        """Read the answer's body to its end, and drop it."""
        stream, timing, body = attempt.stream, self._request.timing, self._request.body
        if stream is not None:
            stream.handler = self
            until = NEVER
            while not self._ended:
                if until == NEVER and (body is None or body.complete):
                    until = monotonic() + self._mirrors.timeouts.attempt
                timing.arm(self, until)
                await SUSPENDED
                self.heard()
                if monotonic() >= until and not self._ended:
                    attempt.give_up()
                    return
        attempt.finish()

    def _finish(self) -> None:
        self._mirrors.places.leave()
        self._attempt = None
        self._request.timing.close()
        copy, body = self._copy, self._request.body
        if body is None or body.complete:
            copy.handler = None
            copy.alarm.set(NEVER)
            self._mirrors.idle.append(copy)
        else:
            copy.finish(monotonic())

    def _note(self, result: str) -> None:
        """Count the result, once."""
        if not self._noted:
            self._noted = result
            self._mirrors.stats.count_mirror(result)

    def _drop(self, result: str, why: str) -> None:
        self._note(result)
        self.wake(ClientGone(why))

    def on_alarm(self) -> None:
        self._request.timing.ring()

    # --- the body of the request that it copies -------------------------------------------------

    def on_body(self, piece: bytes) -> None:
        body, attempt = self._request.body, self._attempt
        if body is None or attempt is None:
            return
        self._behind = self._behind + len(piece) if self._copy.paused else 0
        if self._behind > BEHIND:
            self._drop(_SLOW, "The mirror's upstream is slower than the client's body.")
            return
        self._request.timing.activity = monotonic()
        body.on_piece(piece)
        if body.flowing:
            attempt.pause_clocks()

    def on_body_end(self, trailers: Trailers) -> None:
        body, attempt = self._request.body, self._attempt
        if body is not None and attempt is not None:
            self._copy.receiving = False
            body.on_end(trailers)
            attempt.resume_clocks()
            self.wake(MOVED)

    def on_client_gone(self) -> None:
        """The exchange is over. Without the rest of the body the copy cannot be completed."""
        body = self._request.body
        if self._attempt is not None and body is not None and not body.complete:
            self._drop(_CUT, "The mirrored request ended before its body did.")

    # --- the mirror's upstream, after the head of its answer --------------------------------------

    def on_end(self, trailers: Trailers) -> None:
        if self._attempt is not None:
            self._attempt.ended = True
        self._ended = True
        self.wake(MOVED)

    def on_lost(self, error: ProxyError) -> None:
        self.wake(error)

    def on_upstream_writable(self, writable: bool) -> None:
        if self._request.body is not None:
            self._request.body.on_writable(writable)


def _copied(head: RequestHead, mirrors: Mirrors) -> RequestHead:
    """The head of the copy: marked, and without credentials unless they are asked for."""
    former = mirrors.heads
    if former is None or former[0] is not head:
        former = mirrors.heads = (head, _make_copy(head, mirrors))
    return former[1]


def _make_copy(head: RequestHead, mirrors: Mirrors) -> RequestHead:
    left_out = _OWN if mirrors.places.config.credentials else _CREDENTIALS
    host = head.host_text or mirrors.binding.upstream.authority
    for field in head.own:
        if field.name.lower in left_out:
            fields = [field for field in head.fields if field.name.lower not in left_out]
            shared = _marked([*fields], head)
            return head.sharing(shared, [], path=head.path, host_text=host)
    known = mirrors.shared
    if known is None or known[0] is not head.shared:
        kept = [
            field
            for field in head.shared.fields
            if field is None or field.name.lower not in left_out
        ]
        known = mirrors.shared = (head.shared, _marked(kept, head))
    return head.sharing(known[1], head.own, path=head.path, host_text=host)


def _marked(fields: list[Field | None], head: RequestHead) -> Shared:
    """The shared part with these fields and the mark."""
    fields.append(named_field(_MIRRORED, b"1"))
    shared = Shared(fields, head.shared.held)
    shared.crumbs = head.shared.crumbs
    return shared
