"""Resumes TLS sessions: the upstream does not sign, and TLS 1.2 saves a round trip.

asyncio and uvloop have no argument for a session; `ssl` has a hook for the class of a context's
connections, which can set it. Resumption skips the verification of certificates, so
sessions are kept with the context that verified them, and end with it: `TlsContexts` builds a
new one whenever a file changes.

The memory is bounded: one session per server name, the `MOST_NAMES` last used names per context. A
session serves many connections, until the server declines it: CPython before 3.12.8 and 3.13.1
leaks 6.7 KB whenever a session is read from a connection (python/cpython#116810). There a process
reads at most `MOST_LEAKS` sessions, and resumes no others.
"""

import ssl
import sys
from collections import OrderedDict
from time import monotonic
from typing import Final
from weakref import WeakValueDictionary

MOST_NAMES: Final = 128
MOST_LEAKS: Final = 1000
PAUSE: Final = 600.0
"""Seconds without resuming after a server has declined two sessions in a row."""


def _leaks() -> bool:
    version = sys.version_info[:3]
    return version < (3, 12, 8) or version == (3, 13, 0)


class SessionReads:
    """How many sessions this process may still read from connections; None: any number."""

    def __init__(self, left: int | None = MOST_LEAKS if _leaks() else None) -> None:
        self.left = left

    def take(self) -> bool:
        if self.left is None:
            return True
        if self.left == 0:
            return False
        self.left -= 1
        return True


class _Kept:
    """The state of one server name. `session` None: a new one is needed, after `not_before`."""

    __slots__ = ("declined", "not_before", "session")

    def __init__(self) -> None:
        self.session: ssl.SSLSession | None = None
        self.declined = 0
        self.not_before = 0.0


class Sessions:
    """The sessions of one context, by server name."""

    def __init__(self, reads: SessionReads) -> None:
        self._reads = reads
        # The least recently used comes first.
        self._kept: OrderedDict[str | None, _Kept] = OrderedDict()
        self._latest: WeakValueDictionary[str | None, ssl.SSLObject] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._kept)

    def next(self, name: str | None) -> ssl.SSLSession | None:
        """A session to resume, or None."""
        latest = self._latest.get(name)
        if latest is not None:
            self.offer(latest)
        kept = self._kept.get(name)
        if kept is None:
            return None
        self._kept.move_to_end(name)
        return kept.session

    def established(self, connection: ssl.SSLObject, offered: bool) -> None:
        """A handshake is over. `offered`: it offered one of these sessions."""
        name = connection.server_hostname
        self._latest[name] = connection
        kept = self._kept.get(name)
        if kept is None or not offered:
            return
        if connection.session_reused:
            kept.declined = 0
            return
        kept.session = None
        kept.declined += 1
        if kept.declined > 1:
            kept.not_before = monotonic() + PAUSE

    def offer(self, connection: ssl.SSLObject) -> None:
        """Keep its session, if one is needed. In TLS 1.3 it comes with the first bytes read."""
        name = connection.server_hostname
        kept = self._kept.get(name)
        if kept is None:
            kept = self._kept[name] = _Kept()
            if len(self._kept) > MOST_NAMES:
                self._kept.popitem(last=False)
        if kept.session is None and kept.not_before <= monotonic() and self._reads.take():
            kept.session = connection.session

    def clear(self) -> None:
        """Forget all: sessions refer to their context, which refers to them."""
        self._kept.clear()
        self._latest.clear()


def resume_sessions(context: ssl.SSLContext, reads: SessionReads) -> Sessions:
    """Let a client context's connections resume sessions of earlier ones to the same name.

    A server that has forgotten a session, or gives none, makes a full handshake.
    """
    sessions = Sessions(reads)

    class ResumingConnection(ssl.SSLObject):
        """One of a context's connections."""

        begun = False
        offered = False
        over = False

        def do_handshake(self) -> None:
            """Called repeatedly until it no longer raises SSLWantReadError."""
            if not self.begun:
                self.begun = True
                session = sessions.next(self.server_hostname)
                if session is not None:
                    self.offered = True
                    self.session = session
            super().do_handshake()
            if not self.over:
                self.over = True
                sessions.established(self, self.offered)

        def unwrap(self) -> None:
            """The connection is being closed."""
            if self.over:
                sessions.offer(self)
            super().unwrap()

    context.sslobject_class = ResumingConnection
    return sessions
