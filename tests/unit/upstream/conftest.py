"""A loop turned by hand, and scripted connections, connects and look-ups."""

import heapq
import itertools
from types import SimpleNamespace

import pytest

from proxy.config.model import ConnectionsConfig
from proxy.errors import ConnectRefused
from proxy.upstream.address import Address
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.pool import Pool
from proxy.wire.h1.upstream import UpstreamConnection


class Handle:
    def __init__(self, callback, args):
        self.callback, self.args = callback, args
        self.cancelled = False

    def cancel(self):
        self.cancelled = True

    def run(self):
        if not self.cancelled:
            self.callback(*self.args)


class HandLoop:
    """A `Scheduler` whose time passes when told, and whose turns are taken one by one."""

    def __init__(self):
        self.now = 100.0
        self._ready = []
        self._later = []
        self._count = itertools.count()

    def time(self):
        return self.now

    def call_soon(self, callback, *args):
        handle = Handle(callback, args)
        self._ready.append(handle)
        return handle

    def call_later(self, delay, callback, *args):
        handle = Handle(callback, args)
        heapq.heappush(self._later, (self.now + delay, next(self._count), handle))
        return handle

    def turn(self):
        """Run what is ready now, not what becomes ready by it."""
        ready, self._ready = self._ready, []
        for handle in ready:
            handle.run()
        return bool(ready)

    def run(self):
        while self.turn():
            pass

    def advance(self, seconds):
        """Let time pass, each timer at its own moment."""
        end = self.now + seconds
        self.run()
        while self._later and self._later[0][0] <= end:
            when, _, handle = heapq.heappop(self._later)
            self.now = max(self.now, when)
            handle.run()
            self.run()
        self.now = end

    @property
    def timers(self):
        return [entry for entry in self._later if not entry[2].cancelled]


class ScriptedTransport:
    """Its closing is heard of in the loop's next turn, as a transport's."""

    def __init__(self, loop):
        self._loop = loop
        self.connection = None
        self.ended_by = None

    def write(self, data):
        pass

    def can_write_eof(self):
        return True

    def is_closing(self):
        return self.ended_by is not None

    def close(self):
        self._end("close")

    def abort(self):
        self._end("abort")

    def lose(self):
        """The other side is gone: heard of at once, for it comes from the loop."""
        if self.ended_by is None:
            self.ended_by = "peer"
            self.connection.connection_lost(None)

    def _end(self, how):
        if self.ended_by is None:
            self.ended_by = how
            self._loop.call_soon(self.connection.connection_lost, None)


class ScriptedConnector:
    """A `Connects` that waits to be told how each connect ends, and opens HTTP/1 connections."""

    def __init__(self, loop):
        self._loop = loop
        self.pending = []
        self.timeouts = []
        self.made = []
        self._transports = {}

    def connect(self, address, timeout, on_closed, on_done):
        self.timeouts.append(timeout)
        self.pending.append((address, on_closed, on_done))

    def succeed(self, index=0, dead=False):
        """`dead`: the other side closed before the pool was told of the connection."""
        _, on_closed, on_done = self.pending.pop(index)
        connection = UpstreamConnection(on_closed)
        transport = self._transports[connection] = ScriptedTransport(self._loop)
        transport.connection = connection
        connection.connection_made(transport)
        session = connection.session
        if dead:
            transport.lose()
        self.made.append(connection)
        on_done(session)
        return connection

    def fail(self, index=0, error=None):
        *_, on_done = self.pending.pop(index)
        on_done(error or ConnectRefused("10.0.0.1:80 refused the connection."))

    def lose(self, connection):
        self._transports[connection].lose()

    def see_end(self, connection):
        """The other side has ended its half, and the transport is not closed yet."""
        if self.open(connection):
            connection.eof_received()

    def ended_by(self, connection):
        return self._transports[connection].ended_by

    def open(self, connection):
        return self.ended_by(connection) is None


class ScriptedResolver:
    """A `LooksUp` that waits to be told the answers.

    While `in_line` look-ups wait to begin, until `begin`.
    """

    def __init__(self):
        self.pending = []
        self.count = 0
        self.in_line = False
        self._line = []

    def look_up(self, host, on_begun, on_done):
        self.count += 1
        self.pending.append((host, on_done))
        if self.in_line:
            self._line.append(on_begun)
        else:
            on_begun()

    def begin(self):
        self._line.pop(0)()

    def answer(self, result, host=None):
        index = next(i for i, (name, _) in enumerate(self.pending) if host in (None, name))
        self.pending.pop(index)[1](result)


class Answers(list):
    """A callback that keeps what it was called with."""

    def __call__(self, answer):
        self.append(answer)


class PoolBench:
    """A pool with everything around it in hand."""

    def __init__(self, **config):
        self.loop = HandLoop()
        self.connector = ScriptedConnector(self.loop)
        address = Address("http", "inventory", 80, "10.0.0.1")
        self.pool = Pool(address, ConnectionsConfig(**config), self.connector, self.loop)
        self.endpoint = Endpoint(address, self.pool)

    def ask(self, timeout=1.0):
        """Request a connection; the answers and the ticket."""
        answers = Answers()
        return answers, self.pool.request(answers, timeout)

    def connection(self):
        """A new connection, in the caller's hands."""
        answers, _ = self.ask()
        self.connector.succeed()
        self.loop.run()
        return answers[0]

    def idle(self, count):
        """So many idle connections, the last one the most recently used."""
        held = [self.connection() for _ in range(count)]
        for connection in held:
            self.pool.give_back(connection, reusable=True)
        return held

    @property
    def counts(self):
        return (self.pool.open, self.pool.idle, self.pool.connecting, self.pool.waiting)


@pytest.fixture(scope="session")
def scripted():
    """The classes of this file."""
    return SimpleNamespace(
        HandLoop=HandLoop,
        Connector=ScriptedConnector,
        Resolver=ScriptedResolver,
        Answers=Answers,
        PoolBench=PoolBench,
    )


@pytest.fixture
def bench(scripted):
    """Makes a bench; keywords are those of ConnectionsConfig."""
    return scripted.PoolBench
