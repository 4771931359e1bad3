"""A pool whose sessions have room for many: as HTTP/2 connections have.

The sessions are subclasses in Python, which compiled classes do not allow.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.model import ConnectionsConfig
from proxy.errors import ConnectError, ConnectRefused, ConnectTimeout
from proxy.upstream.address import Address
from proxy.upstream.pool import Pool
from proxy.wire.streams import UpstreamSession, UpstreamStream

pytestmark = pytest.mark.interpreted


class Stream(UpstreamStream):
    def __init__(self, session):
        super().__init__()
        self.session = session


class Session(UpstreamSession):
    """Counts the streams that are out by itself: the pool must agree."""

    def __init__(self, room, on_closed):
        super().__init__(room)
        self.on_closed = on_closed
        self.open = True
        self.going_away = False
        self.out = set()
        self.broken = 0
        self.begun = 0

    @property
    def usable(self):
        return self.open and not self.going_away

    def lend(self):
        assert self.usable
        assert len(self.out) < self.room
        stream = Stream(self)
        self.out.add(stream)
        self.begun += 1
        return stream

    def take_back(self, stream, reusable):
        self.out.remove(stream)
        self.broken += not reusable

    def close(self):
        assert not self.out or not self.open
        self.open = False

    def lose(self):
        self.open = False
        self.on_closed(self)
        self.out.clear()


class Connector:
    def __init__(self, room):
        self.room = room
        self.pending = []
        self.made = []

    def connect(self, address, timeout, on_closed, on_done):
        self.pending.append((on_closed, on_done))

    def succeed(self, index=0, room=None):
        on_closed, on_done = self.pending.pop(index)
        session = Session(room or self.room, on_closed)
        self.made.append(session)
        on_done(session)
        return session

    def fail(self, index=0, error=None):
        self.pending.pop(index)[1](error or ConnectRefused("10.0.0.1:80 refused."))


class Bench:
    def __init__(self, scripted, room=100, **config):
        self.loop = scripted.HandLoop()
        self.answers_of = scripted.Answers
        self.connector = Connector(room)
        address = Address("http", "inventory", 80, "10.0.0.1")
        self.pool = Pool(address, ConnectionsConfig(**config), self.connector, self.loop)

    def ask(self, timeout=1.0):
        answers = self.answers_of()
        return answers, self.pool.request(answers, timeout)

    def session(self, room=None):
        """A new idle session."""
        _, ticket = self.ask()
        ticket.cancel()
        session = self.connector.succeed(room=room)
        self.loop.run()
        return session

    def take(self, count):
        return [self.pool.take() for _ in range(count)]


@pytest.fixture
def bench(scripted):
    return lambda **options: Bench(scripted, **options)


def sessions(streams):
    return [stream and stream.session for stream in streams]


def test_a_session_lends_as_many_streams_as_it_has_room_for(bench):
    b = bench()
    one = b.session()
    streams = b.take(101)
    assert sessions(streams) == [one] * 100 + [None]
    assert len(set(streams)) == 101
    assert (b.pool.open, b.pool.idle, b.pool.active) == (1, 0, 100)


def test_one_is_filled_before_the_next_is_begun(bench):
    b = bench(room=3)
    tickets = [b.ask()[1] for _ in range(2)]
    for ticket in tickets:
        ticket.cancel()
    one, two = b.connector.succeed(), b.connector.succeed()
    streams = b.take(4)
    assert sessions(streams) == [two, two, two, one]
    b.pool.give_back(streams[0], reusable=True)
    assert sessions(b.take(3)) == [one, one, two]
    assert b.pool.take() is None


def test_the_others_run_empty_when_the_load_falls(bench):
    b = bench(room=3)
    tickets = [b.ask()[1] for _ in range(2)]
    for ticket in tickets:
        ticket.cancel()
    b.connector.succeed(), b.connector.succeed()
    streams = b.take(6)
    for _ in range(20):  # two at a time are left
        while len(streams) > 2:
            b.pool.give_back(streams.pop(0), reusable=True)
        streams += b.take(1)
    assert len(set(sessions(streams))) == 1
    assert b.pool.idle == 1


def test_room_that_the_peer_gives_later_is_used_at_once(bench):
    b = bench(room=1, max=1)
    session = b.session()
    b.take(1)
    answers, _ = b.ask()
    b.loop.run()
    assert not answers
    session.room = 3
    session.on_room(session)
    b.loop.run()
    assert sessions(answers) == [session]
    assert b.pool.take().session is session
    assert b.pool.take() is None


def test_a_session_whose_peer_allows_no_more_streams_is_closed_after_its_last_lease(bench):
    b = bench(room=1, max=1)
    session = b.session()
    (stream,) = b.take(1)
    answers, _ = b.ask()
    session.room = 0
    b.pool.give_back(stream, reusable=True)
    assert not session.open
    other = b.connector.succeed()
    b.loop.run()
    assert sessions(answers) == [other]


def test_another_session_is_opened_when_all_are_full(bench):
    b = bench(room=2)
    one = b.session()
    b.take(2)
    answers, _ = b.ask()
    assert b.pool.connecting == 1
    two = b.connector.succeed()
    b.loop.run()
    assert sessions(answers) == [two]
    assert two is not one
    assert b.pool.take().session is two


def test_one_new_session_serves_as_many_waiters_as_it_has_room_for(bench):
    b = bench(room=3)
    b.session().lose()  # now the pool expects room for three
    asked = [b.ask()[0] for _ in range(5)]
    assert b.pool.connecting == 2
    b.connector.succeed()
    b.loop.run()
    assert [len(answers) for answers in asked] == [1, 1, 1, 0, 0]
    b.connector.succeed()
    b.loop.run()
    assert [len(answers) for answers in asked] == [1] * 5
    assert (b.pool.open, b.pool.active) == (2, 5)


def test_before_a_session_was_seen_each_waiter_has_a_connect_and_one_serves_all(bench):
    b = bench()
    asked = [b.ask()[0] for _ in range(3)]
    assert b.pool.connecting == 3
    one = b.connector.succeed()
    b.loop.run()
    assert [sessions(answers) for answers in asked] == [[one]] * 3
    b.connector.succeed()
    b.connector.fail()
    assert (b.pool.open, b.pool.idle, b.pool.waiting) == (2, 1, 0)


def test_less_room_than_expected_gives_the_others_connects(bench):
    b = bench(room=10)
    b.session().lose()
    asked = [b.ask()[0] for _ in range(4)]
    assert b.pool.connecting == 1
    b.connector.succeed(room=1)
    b.loop.run()
    assert [len(answers) for answers in asked] == [1, 0, 0, 0]
    assert b.pool.connecting == 3
    while b.connector.pending:
        b.connector.succeed(room=1)
        b.loop.run()
    assert [len(answers) for answers in asked] == [1, 1, 1, 1]


def test_a_failed_connect_answers_all_who_share_it_and_no_others(bench):
    b = bench(room=2)
    b.session().lose()
    first, second, third = (b.ask()[0] for _ in range(3))
    other_limit, _ = b.ask(timeout=0.1)
    assert b.pool.connecting == 3  # two share; another time limit shares nothing
    error = ConnectTimeout("10.0.0.1:80 did not answer.")
    b.connector.fail(0, error)
    b.loop.run()
    assert (first, second, third, other_limit) == ([error], [error], [], [])
    b.connector.fail(1, error)
    b.loop.run()
    assert (third, other_limit) == ([], [error])
    b.connector.succeed()
    b.loop.run()
    assert len(third) == 1


def test_a_stream_that_broke_does_not_end_its_session(bench):
    b = bench(room=2)
    one = b.session()
    broken, kept = b.take(2)
    b.pool.give_back(broken, reusable=False)
    assert (one.open, one.broken, one.out) == (True, 1, {kept})
    assert b.pool.take().session is one


def test_a_session_that_leaves_lends_no_more_and_closes_after_its_last_lease(bench):
    b = bench(room=3)
    one = b.session()
    first, second = b.take(2)
    one.going_away = True
    assert b.pool.take() is None
    answers, _ = b.ask()
    two = b.connector.succeed()
    b.loop.run()
    assert sessions(answers) == [two]
    b.pool.give_back(first, reusable=True)
    assert one.open
    b.pool.give_back(second, reusable=True)
    assert not one.open
    assert (b.pool.open, b.pool.idle, b.pool.active) == (1, 0, 1)


def test_a_session_that_leaves_counts_until_it_is_gone(bench):
    b = bench(room=2, max=1)
    one = b.session()
    first, second = b.take(2)
    one.going_away = True
    answers, _ = b.ask()
    b.pool.give_back(first, reusable=True)
    assert b.pool.connecting == 0
    b.pool.give_back(second, reusable=True)
    assert (one.open, b.pool.connecting) == (False, 1)
    b.connector.succeed()
    b.loop.run()
    assert len(answers) == 1


def test_after_max_requests_a_session_leaves(bench):
    b = bench(room=10, max_requests=3)
    one = b.session()
    streams = b.take(4)
    assert sessions(streams) == [one, one, one, None]
    for stream in streams[:2]:
        b.pool.give_back(stream, reusable=True)
        assert one.open
    b.pool.give_back(streams[2], reusable=True)
    assert not one.open
    assert b.pool.open == 0


def test_at_max_a_place_that_comes_free_goes_to_the_first_in_line(bench):
    b = bench(room=2, max=1)
    one = b.session()
    streams = b.take(2)
    first, _ = b.ask()
    second, _ = b.ask()
    assert b.pool.connecting == 0
    b.pool.give_back(streams[0], reusable=True)
    b.loop.run()
    assert (sessions(first), second) == ([one], [])
    b.pool.give_back(streams[1], reusable=True)
    b.loop.run()
    assert sessions(second) == [one]


def test_a_session_with_leases_is_not_idle(bench):
    b = bench(room=5, idle_timeout=4.0)
    one = b.session()
    first, second = b.take(2)
    b.pool.give_back(first, reusable=True)
    b.loop.advance(20.0)
    assert one.open
    b.pool.give_back(second, reusable=True)
    assert b.pool.idle == 1
    b.loop.advance(3.9)
    assert one.open
    b.loop.advance(0.2)
    assert not one.open


def test_a_session_that_is_lost_takes_its_leases_along(bench):
    b = bench(room=5, max=1)
    one = b.session()
    streams = b.take(3)
    one.lose()
    assert (b.pool.open, b.pool.active) == (0, 0)
    answers, _ = b.ask()
    two = b.connector.succeed()
    b.loop.run()
    assert sessions(answers) == [two]
    for stream in streams:
        b.pool.give_back(stream, reusable=False)
    assert (b.pool.open, b.pool.active, two.out) == (1, 1, set(answers))


def test_a_new_session_that_dies_on_the_way_fails_all_it_was_lent_to(bench):
    b = bench(room=3)
    asked = [b.ask()[0] for _ in range(2)]
    b.connector.succeed().lose()
    b.loop.run()
    assert all(isinstance(answers[0], ConnectError) for answers in asked)
    assert b.pool.active == 0


def test_a_closed_pool_ends_a_session_with_its_last_lease(bench):
    b = bench(room=3)
    one = b.session()
    first, second = b.take(2)
    b.pool.close()
    b.pool.give_back(first, reusable=True)
    assert one.open
    b.pool.give_back(second, reusable=True)
    assert not one.open


ACTIONS = st.sampled_from(
    [
        "turn",
        *["ask"] * 4,
        "cancel",
        *["connected"] * 2,
        "connect failed",
        *["give back"] * 2,
        "give back broken",
        "go away",
        "lose",
        "less room",
        "wait long",
    ]
)
STEPS = st.lists(st.tuples(ACTIONS, st.integers(0, 30)), min_size=25, max_size=80)


class World:
    """A pool and its users, with a model of what they hold."""

    def __init__(self, bench, maximum):
        self.bench = bench
        self.pool = bench.pool
        self.connector = bench.connector
        self.maximum = maximum
        self.held = []
        self.tickets = []
        self.answers = {}
        self.cancelled = set()

    def do(self, action, pick):
        getattr(self, action.replace(" ", "_"))(pick)
        self.check()

    def ask(self, pick):
        stream = self.pool.take()
        if stream is not None:
            self.hold(stream)
            return
        number = len(self.tickets)
        self.answers[number] = []

        def on_ready(answer):
            assert number not in self.cancelled
            self.answers[number].append(answer)
            if not isinstance(answer, ConnectError):
                self.hold(answer)

        self.tickets.append(self.pool.request(on_ready, 1.0 + pick % 2))

    def hold(self, stream):
        assert stream.session.usable
        assert stream in stream.session.out
        assert stream not in self.held
        self.held.append(stream)

    def cancel(self, pick):
        if self.tickets:
            number = pick % len(self.tickets)
            self.tickets[number].cancel()
            if not self.answers[number]:
                self.cancelled.add(number)

    def connected(self, pick):
        if self.connector.pending:
            self.connector.succeed(pick % len(self.connector.pending), room=1 + pick % 4)

    def connect_failed(self, pick):
        if self.connector.pending:
            self.connector.fail(pick % len(self.connector.pending))

    def give_back(self, pick, reusable=True):
        if self.held:
            self.pool.give_back(self.held.pop(pick % len(self.held)), reusable)

    def give_back_broken(self, pick):
        self.give_back(pick, reusable=False)

    def any_session(self, pick):
        alive = [session for session in self.connector.made if session.open]
        return alive[pick % len(alive)] if alive else None

    def go_away(self, pick):
        session = self.any_session(pick)
        if session is not None:
            session.going_away = True
            if not session.out:
                session.lose()  # as an HTTP/2 session does by itself

    def lose(self, pick):
        session = self.any_session(pick)
        if session is not None:
            session.lose()

    def less_room(self, pick):
        session = self.any_session(pick)
        if session is not None:
            session.room = max(1, session.room - 1)

    def wait_long(self, _):
        self.bench.loop.advance(10.0)

    def turn(self, _):
        self.bench.loop.turn()

    def check(self):
        pool = self.pool
        alive = [session for session in self.connector.made if session.open]
        assert pool.open == len(alive)
        assert pool.open + pool.connecting <= self.maximum
        assert pool.connecting == len(self.connector.pending)
        assert pool.idle == len([one for one in alive if not one.out])
        assert all(one.lent == len(one.out) for one in self.connector.made)
        assert pool.active == sum(len(one.out) for one in self.connector.made) + pool.waiting
        out = {stream for one in alive for stream in one.out}
        assert {stream for stream in self.held if stream.session.open} <= out
        if pool.waiting:
            assert pool.idle == 0
            assert not [one for one in alive if one.usable and one.lent < one.room]
            assert pool.connecting or pool.open == self.maximum
        assert all(len(answers) <= 1 for answers in self.answers.values())

    def settle(self, fail):
        for _ in range(10 * len(self.tickets) + 10):
            self.bench.loop.run()
            self.check()
            if self.connector.pending:
                self.connector.fail() if fail else self.connector.succeed()
            elif self.held:
                self.give_back(0)
            else:
                break
        assert self.held == []
        assert self.connector.pending == []


@given(steps=STEPS, limit=st.integers(1, 4), fail=st.booleans())
def test_every_waiter_is_answered_once_and_nothing_leaks(scripted, steps, limit, fail):
    world = World(Bench(scripted, room=3, max=limit), limit)
    for action, pick in steps:
        world.do(action, pick)
    world.settle(fail)
    for number, answers in world.answers.items():
        assert len(answers) == (0 if number in world.cancelled else 1)
    assert world.pool.active == 0
    world.pool.close()
    world.bench.loop.run()
    assert (world.pool.open, world.pool.idle, world.pool.connecting) == (0, 0, 0)
    assert not [session for session in world.connector.made if session.open]
    assert world.bench.loop.timers == []
