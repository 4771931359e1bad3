"""Which addresses of a name are tried when one does not connect, and when."""

import random

import pytest

from proxy.config.model import EndpointConfig, UpstreamConfig
from proxy.errors import ConnectRefused, ConnectTimeout, TlsFailure
from proxy.upstream.dialing import ATTEMPT_DELAY, Connected
from proxy.upstream.shortages import ConnectShortage
from proxy.upstream.upstream import Upstream

REFUSED = ConnectRefused("refused")


class Bench:
    """An upstream whose name has these addresses; the first one is dialled."""

    def __init__(self, scripted, *addresses, host="inventory"):
        self.loop = scripted.HandLoop()
        resolver = scripted.Resolver()
        self.connector = scripted.Connector(self.loop)
        self.answers = scripted.Answers()
        self.upstream = Upstream(
            UpstreamConfig("inventory", (EndpointConfig("http", host, 80),)),
            resolver=resolver,
            connector=self.connector,
            loop=self.loop,
            random=random.Random(5).random,
        )
        if addresses:
            self.upstream.resolve(scripted.Answers(), 1.0)
            resolver.answer(addresses)

    def dial(self, timeout=1.0, alone=False):
        first = self.upstream.endpoints[0]
        return self.upstream.connect(first, self.answers, timeout, alone=alone)

    @property
    def connecting(self):
        return [address.ip for address, *_ in self.connector.pending]

    def fail(self, error=REFUSED, index=0):
        self.connector.fail(index, error)
        self.loop.run()

    def succeed(self, index=0):
        stream = self.connector.succeed(index)
        self.loop.run()
        return stream

    @property
    def answer(self):
        (answer,) = self.answers
        if isinstance(answer, Connected):
            return answer.endpoint.ip, answer.stream
        return answer

    @property
    def active(self):
        return [endpoint.active for endpoint in self.upstream.endpoints]


@pytest.fixture
def bench(scripted):
    return lambda *addresses, **options: Bench(scripted, *addresses, **options)


V4 = ("10.0.0.1", "10.0.0.2", "10.0.0.3")
DUAL = ("2001:db8::1", "2001:db8::2", "10.0.0.1", "10.0.0.2")


def test_an_address_that_fails_is_passed_over_for_the_next_at_once(bench):
    b = bench(*V4)
    b.dial()
    b.fail()
    b.fail()
    assert b.connecting == ["10.0.0.3"]
    stream = b.succeed()
    assert b.answer == ("10.0.0.3", stream)


def test_when_all_fail_the_first_failure_is_the_answer(bench):
    b = bench(*V4)
    b.dial()
    b.fail(first := ConnectRefused("the first"))
    b.fail()
    b.fail()
    assert b.answer is first
    assert b.connecting == []
    assert b.active == [0, 0, 0]


def test_all_of_it_is_within_one_time_limit(bench):
    b = bench(*V4)
    b.dial(timeout=1.0)
    b.loop.advance(0.7)
    b.fail()
    assert b.connector.timeouts == [1.0, pytest.approx(0.3)]
    b.loop.advance(0.3)
    b.fail(ConnectTimeout("too long"))
    assert b.connecting == []
    assert b.answer is REFUSED


def test_the_families_take_turns(bench):
    b = bench(*DUAL)
    b.dial()
    tried = []
    while b.connecting:
        tried += b.connecting
        b.fail()
    assert tried == ["2001:db8::1", "10.0.0.1", "2001:db8::2", "10.0.0.2"]


def test_with_both_families_the_next_is_tried_beside_one_that_does_not_answer(bench):
    b = bench(*DUAL)
    b.dial()
    b.loop.advance(ATTEMPT_DELAY - 0.01)
    assert b.connecting == ["2001:db8::1"]
    b.loop.advance(0.02)
    assert b.connecting == ["2001:db8::1", "10.0.0.1"]
    stream = b.succeed(1)
    assert b.answer == ("10.0.0.1", stream)
    assert b.connecting == ["2001:db8::1"]  # nobody's: it becomes idle, or ends
    late = b.succeed()
    assert b.upstream.endpoints[0].pool.take() is late


def test_the_slow_one_may_still_win(bench):
    b = bench(*DUAL)
    b.dial()
    b.loop.advance(ATTEMPT_DELAY)
    stream = b.succeed(0)
    assert b.answer == ("2001:db8::1", stream)
    assert b.active == [1, 0, 0, 0]


def test_one_failure_does_not_end_it_while_another_is_under_way(bench):
    b = bench("2001:db8::1", "10.0.0.1")
    b.dial()
    b.loop.advance(ATTEMPT_DELAY)
    b.fail(index=1)
    assert b.answers == []
    stream = b.succeed()
    assert b.answer == ("2001:db8::1", stream)


def test_with_one_family_nothing_is_tried_beside(bench):
    b = bench(*V4)
    b.dial()
    b.loop.advance(0.9)
    assert b.connecting == ["10.0.0.1"]


def test_one_that_was_avoided_comes_last(bench):
    b = bench(*V4)
    b.upstream.endpoints[1].pool.avoid_until = b.loop.now + 30
    b.dial()
    b.fail()
    assert b.connecting == ["10.0.0.3"]
    b.fail()
    assert b.connecting == ["10.0.0.2"]


def test_an_idle_connection_of_the_next_is_taken(bench):
    b = bench(*V4[:2])
    other = b.upstream.endpoints[1]
    other.pool.request(lambda _: None, 1.0).cancel()
    idle = b.succeed()
    b.dial()
    b.fail()
    assert b.answer == ("10.0.0.2", idle)


@pytest.mark.parametrize(
    "error", [TlsFailure("The certificate is not for it."), ConnectShortage("No descriptor.")]
)
def test_what_holds_for_the_next_too_is_the_answer(bench, error):
    b = bench(*V4)
    b.dial()
    b.fail(error)
    assert b.answer is error
    assert b.connecting == []


def test_alone_no_other_will_do(bench):
    b = bench(*DUAL)
    b.dial(alone=True)
    b.loop.advance(0.5)
    b.fail()
    assert b.answer is REFUSED
    assert b.connecting == []


def test_an_address_of_the_file_has_no_other(bench):
    b = bench(host="10.0.0.1")
    b.dial()
    b.fail()
    assert b.answer is REFUSED


def test_the_number_of_tries_is_bounded(bench):
    b = bench(*(f"10.0.1.{number}" for number in range(100)))
    b.dial()
    tries = 0
    while b.connecting:
        tries += 1
        b.fail()
    assert tries == 16


@pytest.mark.parametrize("moment", ["at once", "beside", "answered"])
def test_cancelled(bench, moment):
    b = bench(*DUAL)
    ticket = b.dial()
    if moment == "beside":
        b.loop.advance(ATTEMPT_DELAY)
    elif moment == "answered":
        b.connector.succeed()
    ticket.cancel()
    ticket.cancel()
    b.loop.run()
    while b.connecting:
        b.fail()
    assert b.answers == []
    assert b.active == [0, 0, 0, 0]
