"""The connections to one address: leases, waiters and idle connections.

A pool keeps sessions and lends their streams: `take` or `request`, and then `give_back`. Everything
is synchronous bookkeeping in the loop's thread, except opening a connection. `session_book` has the
states of a session, this file the waiters and the connects.

Rules:

- open + connecting never exceeds `max`. A leaving session still counts, unless leases share it;
- an exchange waits only while no session has room, and without a connect only at `max`;
- first come, first served: the first free lease, returned or new, goes to the oldest waiter. A new
  session serves as many waiters as it has room for;
- a waiter gets its own connect, or shares the newest one, if that was begun with the same time
  limit for no more waiters than the last new session had room for;
- if a connect serves a waiter of another connect, its own waiter takes over that other connect;
- the first session that has room is filled before another: fewest connections;
- a failed connect fails only its own waiters. No waiter gets another's shorter timeout, and every
  waiter gets an answer: at `max` it waits for returned leases, and gets a connect as soon as there
  is room;
- a connect without waiters continues, and its session becomes idle;
- callbacks are called from the loop, never from inside a call of the pool.
"""

from collections import OrderedDict
from collections.abc import Callable
from enum import Enum
from functools import partial

from proxy.config.model import ConnectionsConfig, UpstreamProtocol
from proxy.errors import ConnectError, ConnectFailed, TlsFailure
from proxy.upstream.address import Address
from proxy.upstream.leases import Connects, Scheduler, Ticket
from proxy.upstream.session_book import SessionBook
from proxy.wire.streams import UpstreamSession, UpstreamStream

_HTTP1 = UpstreamProtocol.HTTP1

AVOID_FIRST = 1.0
AVOID_LONGEST = 30.0


class _State(Enum):
    """States of a claim: WAITING, ANSWERED (the callback is scheduled), DONE."""

    WAITING = 1
    ANSWERED = 2
    DONE = 3


class _Connect:
    """A connect in progress, and its waiters."""

    __slots__ = ("claims", "timeout")

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.claims: dict[_Claim, None] = {}

    def add(self, claim: "_Claim") -> None:
        self.claims[claim] = None
        claim.connect = self


class _Claim:
    """One exchange's claim to a lease: the pool's `Ticket`.

    `fresh`: it got a lease of a new connection.
    """

    __slots__ = ("answer", "connect", "connect_timeout", "fresh", "on_ready", "pool", "state")

    def __init__(
        self,
        pool: "Pool",
        on_ready: Callable[[UpstreamStream | ConnectError], None],
        connect_timeout: float,
    ) -> None:
        self.pool = pool
        self.on_ready = on_ready
        self.connect_timeout = connect_timeout
        self.connect: _Connect | None = None
        self.answer: UpstreamStream | ConnectError | None = None
        self.fresh = False
        self.state = _State.WAITING

    def cancel(self) -> None:
        self.pool._cancel(self)


class Pool(SessionBook):
    """See the module for the rules.

    Every lease, from `take` or `request`, ends once: with `give_back`, or with the loss of its
    connection.

    A pool whose last connect failed is *avoided* until `avoid_until`, for 1 s at first, doubling
    up to 30 s: balancing chooses it only if no other is available. Otherwise a dead endpoint,
    which refuses at once, would have the fewest active exchanges and attract most of the traffic.
    """

    __slots__ = (
        "_connect_failures",
        "_connector",
        "_connects",
        "_expected_room",
        "_newest",
        "_queued",
        "_waiting",
        "address",
        "avoid_until",
    )

    def __init__(
        self,
        address: Address,
        config: ConnectionsConfig,
        connector: Connects,
        loop: Scheduler,
    ) -> None:
        super().__init__(config, loop)
        self.address = address
        self._connector = connector
        self._connects: set[_Connect] = set()
        self._newest: _Connect | None = None
        # Until a session has said otherwise, TLS is expected to agree on HTTP/2: else a burst of
        # first requests would open a connection for each of them.
        self._expected_room = 1 if address.protocol is _HTTP1 else config.max_streams
        self._waiting: OrderedDict[_Claim, None] = OrderedDict()
        # The waiters without a connect, because there was no room.
        self._queued: OrderedDict[_Claim, None] = OrderedDict()
        self._connect_failures = 0
        self.avoid_until = 0.0

    @property
    def connecting(self) -> int:
        return len(self._connects)

    @property
    def full(self) -> bool:
        """Whether no connect may begin now."""
        return self.counted + len(self._connects) >= self._config.max

    @property
    def waiting(self) -> int:
        """Exchanges that wait for a lease."""
        return len(self._waiting)

    @property
    def active(self) -> int:
        """Exchanges that have a lease or wait for one."""
        return self.lent + len(self._waiting)

    # --- the exchange's side ----------------------------------------------------------------

    def request(
        self,
        on_ready: Callable[[UpstreamStream | ConnectError], None],
        connect_timeout: float,
    ) -> Ticket:
        """Ask for a lease after `take` gave none.

        `on_ready` is called exactly once, from the loop, unless the ticket was cancelled before:
        with a lease, or with the failure of the connect. `connect_timeout` (seconds) limits a
        connect, not the wait for room, which the caller limits by cancelling.
        """
        claim = _Claim(self, on_ready, connect_timeout)
        self._waiting[claim] = None
        self._provide(claim)
        return claim

    def give_back(self, stream: UpstreamStream, reusable: bool) -> None:
        """Take a lease back. `reusable`: the exchange on it ended in good order."""
        session = stream.session
        if session.lent == 0:
            return
        session.lent -= 1
        self.lent -= 1
        session.take_back(stream, reusable)
        if not session.usable or self._worn(session) or session.room == 0:
            self._partly.pop(session, None)
            if session.lent == 0:
                self._end(session)
                self._use_room()
        elif self._waiting:
            self._serve(session)
        elif session.lent > 0:
            if session.lent < session.room:
                self._partly[session] = None
        else:
            if self._partly:
                self._partly.pop(session, None)
            if self._closing:
                self._end(session)
            else:
                self._park(session)

    def _room_changed(self, session: UpstreamSession) -> None:
        """The peer of a session allows more streams than before, or none for now."""
        if session.room == 0:
            self._leaves(session)
            return
        if session.usable and not self._worn(session):
            self._leaving.discard(session)
        if session in self._sessions and session.lent > 0 and self._lends(session):
            self._partly[session] = None
            if self._waiting:
                self._serve(session)

    def _leaves(self, session: UpstreamSession) -> None:
        """The peer of a session takes no more requests; those on it go on."""
        if session in self._sessions and session.lent > 0:
            self._partly.pop(session, None)
            self._leaving.add(session)
            self._use_room()

    # --- waiters ----------------------------------------------------------------------------

    def _provide(self, claim: _Claim) -> None:
        """Give a waiter a lease or a connect, or put it into the queue."""
        stream = self.take()
        if stream is not None:
            self._answer(claim, stream)
        elif not self._connect_for(claim):
            self._queued[claim] = None

    def _connect_for(self, claim: _Claim) -> bool:
        """Share the newest connect, or begin one; False: there is no room."""
        newest = self._newest
        if (
            newest is not None
            and 0 < len(newest.claims) < self._expected_room
            and newest.timeout == claim.connect_timeout
        ):
            newest.add(claim)
            return True
        if self.full:
            return False
        connect = self._newest = _Connect(claim.connect_timeout)
        connect.add(claim)
        self._connects.add(connect)
        self._connector.connect(
            self.address, connect.timeout, self._closed, partial(self._connected, connect)
        )
        return True

    def _use_room(self) -> None:
        """Begin connects for the queue while there is room."""
        while self._queued:
            claim = next(iter(self._queued))
            if not self._connect_for(claim):
                return
            del self._queued[claim]

    def _leave(self, claim: _Claim) -> None:
        """Remove a claim from the queue; its connect, if any, continues without it."""
        del self._waiting[claim]
        self._queued.pop(claim, None)
        connect = claim.connect
        if connect is not None:
            del connect.claims[claim]
            claim.connect = None

    def _answer(self, claim: _Claim, answer: UpstreamStream | ConnectError) -> None:
        self._leave(claim)
        claim.state = _State.ANSWERED
        claim.answer = answer
        self._loop.call_soon(self._deliver, claim)

    def _serve(self, session: UpstreamSession) -> None:
        """Lend to the oldest waiters while there is room."""
        while self._waiting and self._lends(session):
            claim = next(iter(self._waiting))
            claim.fresh = False
            self._answer(claim, self._lend(session))
        self._use_room()

    def _deliver(self, claim: _Claim) -> None:
        answer = claim.answer
        if claim.state is not _State.ANSWERED or answer is None:
            return
        if isinstance(answer, UpstreamStream) and not answer.session.usable:
            # It was lost in the turn of the loop since it was assigned.
            self.give_back(answer, False)
            if not claim.fresh:
                self._return_to_line(claim)
                return
            answer = self._dead_on_arrival()
        claim.state = _State.DONE
        claim.answer = None
        claim.on_ready(answer)

    def _return_to_line(self, claim: _Claim) -> None:
        claim.state = _State.WAITING
        claim.answer = None
        self._waiting[claim] = None
        self._waiting.move_to_end(claim, last=False)
        self._provide(claim)
        if claim in self._queued:
            self._queued.move_to_end(claim, last=False)

    def _cancel(self, claim: _Claim) -> None:
        state, claim.state = claim.state, _State.DONE
        if state is _State.WAITING:
            self._leave(claim)
        elif state is _State.ANSWERED:
            answer, claim.answer = claim.answer, None
            if isinstance(answer, UpstreamStream):
                self.give_back(answer, True)

    # --- connects ---------------------------------------------------------------------------

    def _connected(self, connect: _Connect, result: UpstreamSession | ConnectError) -> None:
        self._connects.discard(connect)
        if self._newest is connect:
            self._newest = None
        if isinstance(result, UpstreamSession) and not result.usable:
            result.close()
            result = self._dead_on_arrival()
        if isinstance(result, ConnectError):
            if result.condition is not None:
                self._note_connect_failed()
            for claim in list(connect.claims):
                self._answer(claim, result)
            self._use_room()
            return
        self._connect_failures = 0
        self.avoid_until = 0.0
        self._expected_room = max(result.room, 1)
        result.on_room = self._room_changed
        result.on_leaving = self._leaves
        self._sessions.add(result)
        if self._waiting:
            self._hand_out_new(connect, result)
        elif self._closing:
            self._end(result)
        else:
            self._park(result)

    def _hand_out_new(self, connect: _Connect, session: UpstreamSession) -> None:
        """Lend to the first waiters; their own connects go to the waiters of this one."""
        places: list[_Connect] = []
        while self._waiting and self._lends(session):
            claim = next(iter(self._waiting))
            if claim.connect is not None and claim.connect is not connect:
                places.append(claim.connect)
            claim.fresh = True
            self._answer(claim, self._lend(session))
        left = list(connect.claims)
        for claim, place in zip(left, places, strict=False):
            place.add(claim)
        for claim in reversed(left[len(places) :]):
            claim.connect = None
            self._queued[claim] = None
            self._queued.move_to_end(claim, last=False)
        self._use_room()

    def _note_connect_failed(self) -> None:
        """Several failures while it is already avoided count once."""
        now = self._loop.time()
        if now < self.avoid_until:
            return
        self.avoid_until = now + min(AVOID_LONGEST, AVOID_FIRST * 2.0**self._connect_failures)
        self._connect_failures = min(self._connect_failures + 1, 16)

    def _dead_on_arrival(self) -> ConnectError:
        if self.address.scheme == "https":
            # In TLS 1.3 a server checks the client's certificate after the client's handshake.
            return TlsFailure(
                f"{self.address.where} closed the connection right after the TLS handshake: see "
                "whether it requires another client certificate (tls.cert) than the one it got."
            )
        return ConnectFailed(
            f"{self.address.where} accepted the connection and closed it at once: "
            "look for a connection limit or a crash in its log."
        )

    # --- connections that are lost ----------------------------------------------------------------

    def _closed(self, session: UpstreamSession) -> None:
        """Its connection is lost, with its leases: returning them has no effect."""
        self.lent -= session.lent
        session.lent = 0
        if session in self._sessions:
            self._sessions.remove(session)
            self._leaving.discard(session)
            self._idle.pop(session, None)
            self._partly.pop(session, None)
            self._use_room()
