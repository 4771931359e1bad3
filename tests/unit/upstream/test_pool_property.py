"""Whatever happens in whatever order: the books are right, and every waiter is answered once."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import ConnectError

ACTIONS = st.sampled_from(
    [
        "turn",
        "turn",
        "ask",
        "ask",
        "ask",
        "cancel",
        "connected",
        "connected",
        "connect failed",
        "give back",
        "give back",
        "give back broken",
        "lose busy",
        "lose any",
        "see an end",
        "wait a little",
        "wait long",
    ]
)

# Without a least length most lists would be too short for anything to meet.
STEPS = st.lists(st.tuples(ACTIONS, st.integers(0, 30)), min_size=25, max_size=80)


class World:
    """A pool and all who use it, with a model of what they hold."""

    def __init__(self, scripted, **config):
        self.bench = scripted.PoolBench(**config)
        self.max = config["max"]
        self.pool = self.bench.pool
        self.loop = self.bench.loop
        self.connector = self.bench.connector
        self.held = []
        self.tickets = []
        self.answers = {}
        self.cancelled = set()

    def do(self, action, pick):
        getattr(self, action.replace(" ", "_"))(pick)
        self.check()

    def ask(self, _):
        connection = self.pool.take()
        if connection is not None:
            self.hold(connection)
            return
        number = len(self.tickets)
        self.answers[number] = []
        synchronous = True

        def on_ready(answer):
            assert not synchronous
            assert number not in self.cancelled
            self.answers[number].append(answer)
            if not isinstance(answer, ConnectError):
                self.hold(answer)

        self.tickets.append(self.pool.request(on_ready, 1.0))
        synchronous = False

    def hold(self, connection):
        assert connection.usable
        assert connection not in self.held
        self.held.append(connection)

    def cancel(self, pick):
        if self.tickets:
            number = pick % len(self.tickets)
            self.tickets[number].cancel()
            if not self.answers[number]:
                self.cancelled.add(number)

    def connected(self, pick):
        if self.connector.pending:
            self.connector.succeed(pick % len(self.connector.pending))

    def connect_failed(self, pick):
        if self.connector.pending:
            self.connector.fail(pick % len(self.connector.pending))

    def give_back(self, pick, reusable=True):
        if self.held:
            self.pool.give_back(self.held.pop(pick % len(self.held)), reusable)

    def give_back_broken(self, pick):
        self.give_back(pick, reusable=False)

    def lose_busy(self, pick):
        if self.held:
            self.connector.lose(self.held[pick % len(self.held)])

    def lose_any(self, pick):
        if self.connector.made:
            self.connector.lose(self.connector.made[pick % len(self.connector.made)])

    def see_an_end(self, pick):
        if self.connector.made:
            self.connector.see_end(self.connector.made[pick % len(self.connector.made)])

    def wait_a_little(self, _):
        self.loop.advance(1.0)

    def wait_long(self, _):
        self.loop.advance(10.0)

    def turn(self, _):
        self.loop.turn()

    def check(self):
        pool = self.pool
        busy = pool.open - pool.idle
        assert pool.open + pool.connecting <= self.max
        assert pool.connecting == len(self.connector.pending)
        assert self.bench.endpoint.active == pool.lent + pool.waiting
        assert pool.lent == busy
        assert len([c for c in self.held if self.connector.open(c)]) <= busy
        if pool.waiting:
            assert pool.idle == 0
        if pool.waiting > pool.connecting:
            assert pool.open + pool.connecting == self.max
        # One timer at most, and one only while something is idle or was so at its start.
        assert len(self.loop.timers) <= 1
        assert pool.idle == 0 or len(self.loop.timers) == 1
        assert all(len(answers) <= 1 for answers in self.answers.values())

    def settle(self, fail):
        """Let everything end: no more than a bounded number of steps may be needed."""
        for _ in range(10 * len(self.tickets) + 10):
            self.loop.run()
            self.check()
            if self.connector.pending:
                self.connector.fail() if fail else self.connector.succeed()
            elif self.held:
                self.give_back(0)
            else:
                break
        assert self.held == []
        assert self.connector.pending == []


@given(
    steps=STEPS,
    limit=st.integers(1, 4),
    max_requests=st.sampled_from([0, 0, 2]),
    fail=st.booleans(),
)
def test_every_waiter_is_answered_once_and_nothing_leaks(
    scripted, steps, limit, max_requests, fail
):
    world = World(scripted, max=limit, max_requests=max_requests)
    for action, pick in steps:
        world.do(action, pick)
    world.settle(fail)
    for number, answers in world.answers.items():
        assert len(answers) == (0 if number in world.cancelled else 1)
    assert world.bench.endpoint.active == 0
    world.pool.close()
    world.loop.run()
    assert world.bench.counts == (0, 0, 0, 0)
    assert not [
        connection for connection in world.connector.made if world.connector.open(connection)
    ]
    assert world.loop.timers == []


@given(
    before=STEPS,
    after=STEPS,
    limit=st.integers(1, 3),
)
def test_closed_at_any_moment_it_serves_who_asked_and_keeps_nothing(scripted, before, after, limit):
    world = World(scripted, max=limit)
    for action, pick in before:
        world.do(action, pick)
    world.pool.close()
    for action, pick in after:
        world.do(action, pick)
        assert world.pool.idle == 0
    world.settle(fail=False)
    for number, answers in world.answers.items():
        assert len(answers) == (0 if number in world.cancelled else 1)
    world.loop.run()
    assert not [
        connection for connection in world.connector.made if world.connector.open(connection)
    ]
    assert world.loop.timers == []
