"""The open connections to one address: which of them lends next, and when an idle one is closed.

A session is in one of four states, which are derived from the session itself:

    idle      no lease is out: the last used one is lent first; each is closed after a while
    partly    leases are out, and there is room for more: used before an idle one
    full      all its leases are out
    leaving   leases are out, and it lends no more (no longer usable, without any room, or
              `max_requests` is reached): closed when the last one is returned

Where leases share a connection, one of them may last for hours. A session that then leaves makes
room for another at once: as many as `max`, and at least 16, do not count.
"""

from proxy.config.model import ConnectionsConfig
from proxy.upstream.leases import Scheduler, Ticket
from proxy.wire.streams import UpstreamSession, UpstreamStream

_LEAVING = 16
SWEEP_PAUSE = 0.01
"""Shortest pause between two sweeps in seconds, because loops round their clocks."""


class SessionBook:
    """The sessions of a pool, and the leases that are out: `lent`."""

    __slots__ = (
        "_closing",
        "_config",
        "_idle",
        "_leaving",
        "_loop",
        "_partly",
        "_sessions",
        "_timer",
        "lent",
    )

    def __init__(self, config: ConnectionsConfig, loop: Scheduler) -> None:
        self._config = config
        self._loop = loop
        self._sessions: set[UpstreamSession] = set()
        # In order of becoming idle: the last one is the most recently used.
        self._idle: dict[UpstreamSession, None] = {}
        self._partly: dict[UpstreamSession, None] = {}
        # Those that leave while leases share them.
        self._leaving: set[UpstreamSession] = set()
        self._timer: Ticket | None = None
        self._closing = False
        self.lent = 0

    @property
    def open(self) -> int:
        """Connections, with or without leases."""
        return len(self._sessions)

    @property
    def counted(self) -> int:
        """The connections that count towards `max`."""
        return len(self._sessions) - min(len(self._leaving), max(self._config.max, _LEAVING))

    @property
    def idle(self) -> int:
        """Connections without a lease."""
        return len(self._idle)

    def take(self) -> UpstreamStream | None:
        """A lease of an open session, or None: then `request` one."""
        while self._partly:
            session = next(iter(self._partly))
            if self._lends(session):
                return self._lend(session)
            del self._partly[session]
        idle = self._idle
        while idle:
            session, _ = idle.popitem()
            age = self._loop.time() - session.idle_since
            if age < self._config.idle_timeout and self._lends(session):
                return self._lend(session)
            self._end(session)
        return None

    def close(self) -> None:
        """Close idle sessions, now and later; exchanges with a lease or a claim finish."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._idle:
            session, _ = self._idle.popitem()
            self._end(session)

    def _worn(self, session: UpstreamSession) -> bool:
        return 0 < self._config.max_requests <= session.served

    def _lends(self, session: UpstreamSession) -> bool:
        """Whether it has room for another lease."""
        return session.lent < session.room and session.usable and not self._worn(session)

    def _lend(self, session: UpstreamSession) -> UpstreamStream:
        session.lent += 1
        session.served += 1
        self.lent += 1
        if session.lent < session.room:
            self._partly[session] = None
        elif self._partly:
            self._partly.pop(session, None)
        if session.room > 1 and self._worn(session):
            self._leaving.add(session)
        return session.lend()

    def _end(self, session: UpstreamSession) -> None:
        """Close a session without leases; no effect if it is already lost."""
        self._sessions.discard(session)
        self._leaving.discard(session)
        session.close()

    def _park(self, session: UpstreamSession) -> None:
        session.idle_since = self._loop.time()
        self._idle[session] = None
        if self._timer is None:
            self._timer = self._loop.call_later(self._config.idle_timeout, self._sweep)

    def _sweep(self) -> None:
        """Close sessions that were idle for too long. One timer for all, only while needed."""
        self._timer = None
        now = self._loop.time()
        timeout = self._config.idle_timeout
        expired = []
        for session in self._idle:
            left = session.idle_since + timeout - now
            if left > 0:
                self._timer = self._loop.call_later(max(left, SWEEP_PAUSE), self._sweep)
                break
            expired.append(session)
        for session in expired:
            del self._idle[session]
        for session in expired:
            self._end(session)
