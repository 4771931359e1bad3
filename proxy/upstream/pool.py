"""The connections to one endpoint: who has one, who waits for one, which are idle.

All of it is synchronous bookkeeping in the loop's thread; only opening a connection is left to
asyncio. Rules:

- open + connecting never exceeds `max`;
- somebody waits only while nothing is idle, and without a connect of its own only at `max`;
- first come, first served: whatever becomes free first, given back or new, goes to the waiter
  that has waited longest. If a connect finishes for a later waiter, the two swap connects;
- a failed connect is the answer of the waiter whose connect it is, and of nobody else. So no
  waiter hears of another's shorter timeout, and every one gets an answer: at `max` it waits for
  what others give back, and gets a connect of its own as soon as there is room;
- a connect that nobody waits for any more goes on, and its connection becomes idle;
- callbacks are called from the loop, never from inside a call of the pool.
"""

from collections import OrderedDict
from collections.abc import Callable
from enum import Enum
from functools import partial

from proxy.config.model import ConnectionsConfig
from proxy.errors import ConnectError, ConnectFailed, TlsFailure
from proxy.upstream.connection import Connects, PooledConnection, Scheduler, Ticket
from proxy.upstream.endpoint import Endpoint

SWEEP_PAUSE = 0.01
"""Shortest pause between two sweeps, in seconds: loops round their clocks."""


class _State(Enum):
    """Of a claim: WAITING in line, ANSWERED (the callback is on its way), DONE."""

    WAITING = 1
    ANSWERED = 2
    DONE = 3


class _Connect:
    """A connect under way; `owner` is the waiter it was begun for, None once that is served."""

    __slots__ = ("owner",)

    def __init__(self, owner: "_Claim") -> None:
        self.owner: _Claim | None = owner


class _Claim:
    """One exchange's claim to a connection: the pool's `Ticket`."""

    __slots__ = ("answer", "connect", "connect_timeout", "on_ready", "pool", "state")

    def __init__(
        self,
        pool: "Pool",
        on_ready: Callable[[PooledConnection | ConnectError], None],
        connect_timeout: float,
    ) -> None:
        self.pool = pool
        self.on_ready = on_ready
        self.connect_timeout = connect_timeout
        self.connect: _Connect | None = None
        self.answer: PooledConnection | ConnectError | None = None
        self.state = _State.WAITING

    def cancel(self) -> None:
        self.pool._cancel(self)


class Pool:
    """See the module for the rules.

    Whoever got a connection, from `take` or through `request`, gives it back with `give_back`
    exactly once, whatever became of it.
    """

    __slots__ = (
        "_busy",
        "_closing",
        "_config",
        "_connector",
        "_connects",
        "_endpoint",
        "_idle",
        "_loop",
        "_queued",
        "_timer",
        "_waiting",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        config: ConnectionsConfig,
        connector: Connects,
        loop: Scheduler,
    ) -> None:
        self._endpoint = endpoint
        self._config = config
        self._connector = connector
        self._loop = loop
        # In the order in which they became idle: the last one is the most recently used.
        self._idle: dict[PooledConnection, None] = {}
        self._busy: set[PooledConnection] = set()
        self._connects: set[_Connect] = set()
        self._waiting: OrderedDict[_Claim, None] = OrderedDict()
        # Those of _waiting that have no connect of their own, for want of room.
        self._queued: OrderedDict[_Claim, None] = OrderedDict()
        self._timer: Ticket | None = None
        self._closing = False

    @property
    def open(self) -> int:
        """Connections, busy or idle."""
        return len(self._busy) + len(self._idle)

    @property
    def idle(self) -> int:
        return len(self._idle)

    @property
    def connecting(self) -> int:
        return len(self._connects)

    @property
    def waiting(self) -> int:
        """Exchanges that wait for a connection."""
        return len(self._waiting)

    # --- the exchange's side ----------------------------------------------------------------

    def take(self) -> PooledConnection | None:
        """The most recently used idle connection, or None: then `request` one."""
        idle = self._idle
        while idle:
            connection, _ = idle.popitem()
            age = self._loop.time() - connection.idle_since
            if connection.usable and age < self._config.idle_timeout:
                self._busy.add(connection)
                self._endpoint.active += 1
                return connection
            connection.close()
        return None

    def request(
        self,
        on_ready: Callable[[PooledConnection | ConnectError], None],
        connect_timeout: float,
    ) -> Ticket:
        """Ask for a connection after `take` gave none.

        `on_ready` is called exactly once, from the loop, unless the ticket was cancelled before:
        with a connection, or with what went wrong while connecting. `connect_timeout` (seconds)
        limits a connect, not the wait for room: that is the caller's to limit, by cancelling.
        """
        claim = _Claim(self, on_ready, connect_timeout)
        self._waiting[claim] = None
        self._endpoint.active += 1
        self._provide(claim)
        return claim

    def give_back(self, connection: PooledConnection, reusable: bool) -> None:
        """Take a connection back. `reusable`: the exchange on it ended in good order.

        One that was lost meanwhile has left the books already; giving it back changes nothing.
        """
        try:
            self._busy.remove(connection)
        except KeyError:
            return
        self._endpoint.active -= 1
        if not (reusable and connection.usable):
            # Half a request may be stuck in its buffer: nobody will wait for that to flow off.
            connection.abort()
        elif 0 < self._config.max_requests <= connection.exchanges:
            connection.close()
        elif self._waiting:
            self._assign(next(iter(self._waiting)), connection)
            return
        elif self._closing:
            connection.close()
        else:
            self._park(connection)
            return
        self._use_room()

    def close(self) -> None:
        """Close what is idle, now and from now on; who has or awaits a connection finishes."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._idle:
            connection, _ = self._idle.popitem()
            connection.close()

    # --- waiters ----------------------------------------------------------------------------

    def _provide(self, claim: _Claim) -> None:
        """Find something for a waiter: an idle connection, room for a connect, or the queue."""
        connection = self.take()
        if connection is not None:
            self._answer(claim, connection)
        elif self._room():
            self._start(claim)
        else:
            self._queued[claim] = None

    def _room(self) -> bool:
        used = len(self._busy) + len(self._idle) + len(self._connects)
        return used < self._config.max

    def _use_room(self) -> None:
        """Begin connects for those who queue, as far as there is room."""
        while self._queued and self._room():
            claim, _ = self._queued.popitem(last=False)
            self._start(claim)

    def _start(self, claim: _Claim) -> None:
        connect = claim.connect = _Connect(claim)
        self._connects.add(connect)
        self._connector.connect(
            self._endpoint, claim.connect_timeout, self._closed, partial(self._connected, connect)
        )

    def _leave(self, claim: _Claim) -> None:
        """Take a claim out of the line; its connect, if any, goes on without an owner."""
        del self._waiting[claim]
        self._queued.pop(claim, None)
        if claim.connect is not None:
            claim.connect.owner = None
            claim.connect = None
        self._endpoint.active -= 1

    def _answer(self, claim: _Claim, answer: PooledConnection | ConnectError) -> None:
        self._leave(claim)
        claim.state = _State.ANSWERED
        claim.answer = answer
        self._loop.call_soon(self._deliver, claim)

    def _assign(self, claim: _Claim, connection: PooledConnection) -> None:
        self._answer(claim, connection)
        self._busy.add(connection)
        self._endpoint.active += 1

    def _deliver(self, claim: _Claim) -> None:
        answer = claim.answer
        if claim.state is not _State.ANSWERED or answer is None:
            return
        if not isinstance(answer, ConnectError) and not self._still_usable(answer):
            if answer.exchanges > 0:
                self._return_to_line(claim)
                return
            answer = self._dead_on_arrival()
        claim.state = _State.DONE
        claim.answer = None
        claim.on_ready(answer)

    def _still_usable(self, connection: PooledConnection) -> bool:
        """Whether it lived through the turn of the loop since it was assigned."""
        if connection in self._busy and connection.usable:
            return True
        self.give_back(connection, reusable=False)
        return False

    def _return_to_line(self, claim: _Claim) -> None:
        claim.state = _State.WAITING
        claim.answer = None
        self._waiting[claim] = None
        self._waiting.move_to_end(claim, last=False)
        self._endpoint.active += 1
        self._provide(claim)
        if claim in self._queued:
            self._queued.move_to_end(claim, last=False)

    def _cancel(self, claim: _Claim) -> None:
        state, claim.state = claim.state, _State.DONE
        if state is _State.WAITING:
            self._leave(claim)
        elif state is _State.ANSWERED:
            answer, claim.answer = claim.answer, None
            if answer is not None and not isinstance(answer, ConnectError):
                self.give_back(answer, reusable=True)

    # --- connections ------------------------------------------------------------------------

    def _connected(self, connect: _Connect, result: PooledConnection | ConnectError) -> None:
        self._connects.discard(connect)
        if not isinstance(result, ConnectError) and not result.usable:
            result.abort()
            result = self._dead_on_arrival()
        if isinstance(result, ConnectError):
            self._endpoint.note_connect_failed(self._loop.time())
            if connect.owner is not None:
                self._answer(connect.owner, result)
            self._use_room()
            return
        self._endpoint.note_connected()
        result.endpoint = self._endpoint
        if self._waiting:
            self._hand_out_new(connect.owner, result)
        elif self._closing:
            result.close()
        else:
            self._park(result)

    def _hand_out_new(self, owner: _Claim | None, connection: PooledConnection) -> None:
        """Give a new connection to the first in line, who leaves its own connect to the owner."""
        first = next(iter(self._waiting))
        spare = first.connect
        self._assign(first, connection)
        if owner is None or owner is first:
            return
        owner.connect = spare
        if spare is not None:
            spare.owner = owner
        else:
            self._queued[owner] = None
            self._queued.move_to_end(owner, last=False)

    def _dead_on_arrival(self) -> ConnectError:
        if self._endpoint.scheme == "https":
            # In TLS 1.3 a server looks at the client's certificate when the client is done.
            return TlsFailure(
                f"{self._endpoint.where} closed the connection right after the TLS handshake: see "
                "whether it asks for a client certificate (tls.cert) other than what it was shown."
            )
        return ConnectFailed(
            f"{self._endpoint.where} accepted the connection and closed it at once: "
            "look for a connection limit or a crash in its log."
        )

    def _closed(self, connection: PooledConnection) -> None:
        if connection in self._idle:
            del self._idle[connection]
        elif connection in self._busy:
            self._busy.discard(connection)
            self._endpoint.active -= 1
            self._use_room()

    def _park(self, connection: PooledConnection) -> None:
        connection.idle_since = self._loop.time()
        self._idle[connection] = None
        if self._timer is None:
            self._timer = self._loop.call_later(self._config.idle_timeout, self._sweep)

    def _sweep(self) -> None:
        """Close what has been idle for too long. One timer for all, set only while some are."""
        self._timer = None
        now = self._loop.time()
        timeout = self._config.idle_timeout
        expired = []
        for connection in self._idle:
            left = connection.idle_since + timeout - now
            if left > 0:
                self._timer = self._loop.call_later(max(left, SWEEP_PAUSE), self._sweep)
                break
            expired.append(connection)
        for connection in expired:
            del self._idle[connection]
        for connection in expired:
            connection.close()
