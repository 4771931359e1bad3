import pytest

from proxy.config.model import EndpointConfig
from proxy.errors import DnsFailure
from proxy.upstream.discovery import Discovery
from proxy.upstream.shortages import LookUpQueued, LookUpTimeout

NXDOMAIN = DnsFailure("inventory could not be looked up.")


class Bench:
    def __init__(self, scripted, *hosts, refresh=5.0):
        self.loop = scripted.HandLoop()
        self.resolver = scripted.Resolver()
        self.changes = 0
        configured = tuple(EndpointConfig("http", host, 80) for host in hosts)
        self.discovery = Discovery(configured, refresh, self.resolver, self.loop, self._changed)
        self._answers = scripted.Answers

    def _changed(self):
        self.changes += 1

    def resolve(self, timeout=1.0):
        answers = self._answers()
        return answers, self.discovery.resolve(answers, timeout)

    @property
    def addresses(self):
        return self.discovery.addresses


@pytest.fixture
def bench(scripted):
    return lambda *hosts, **options: Bench(scripted, *hosts, **options)


@pytest.fixture
def known(bench):
    """One name, looked up once."""
    b = bench("inventory")
    b.resolve()
    b.resolver.answer(("10.0.0.1",))
    b.discovery.note_use()
    return b


def test_literals_are_known_at_once_and_never_looked_up(bench):
    b = bench("10.0.0.1", "[::1]")
    assert b.addresses == {"10.0.0.1": ("10.0.0.1",), "[::1]": ("::1",)}
    assert b.discovery.static
    answers, _ = b.resolve()
    assert answers == []
    b.loop.run()
    assert answers == [None]
    assert b.resolver.count == 0
    assert b.loop.timers == []


def test_the_first_look_up_answers_all_who_wait(bench):
    b = bench("inventory")
    first, _ = b.resolve()
    second, _ = b.resolve()
    assert b.resolver.count == 1
    b.resolver.answer(("10.0.0.1", "10.0.0.2"))
    assert (first, second) == ([None], [None])
    assert b.addresses == {"inventory": ("10.0.0.1", "10.0.0.2")}
    assert b.changes == 1


def test_the_first_look_up_failing_is_the_answer_and_the_next_one_tries_again(bench):
    b = bench("inventory")
    answers, _ = b.resolve()
    b.resolver.answer(NXDOMAIN)
    assert answers == [NXDOMAIN]
    answers, _ = b.resolve()
    b.resolver.answer(("10.0.0.1",))
    assert answers == [None]


def test_of_several_names_one_is_enough(bench):
    b = bench("inventory", "spare")
    answers, _ = b.resolve()
    b.resolver.answer(NXDOMAIN, host="inventory")
    assert answers == []
    b.resolver.answer(("10.0.0.9",), host="spare")
    assert answers == [None]
    assert b.addresses == {"spare": ("10.0.0.9",)}


def test_of_several_failures_the_first_configured_is_the_answer(bench):
    b = bench("inventory", "spare")
    answers, _ = b.resolve()
    b.resolver.answer(DnsFailure("spare"), host="spare")
    b.resolver.answer(NXDOMAIN, host="inventory")
    assert answers == [NXDOMAIN]


def test_a_look_up_that_takes_too_long_is_a_connect_timeout_and_goes_on(bench):
    b = bench("inventory")
    answers, _ = b.resolve(timeout=0.5)
    b.loop.advance(0.6)
    assert isinstance(answers[0], LookUpTimeout)
    assert answers[0].proxy_error == "dns_timeout"
    assert "inventory took longer than 0.5s" in answers[0].detail
    later, _ = b.resolve()
    assert b.resolver.count == 1
    b.resolver.answer(("10.0.0.1",))
    assert later == [None]
    assert len(answers) == 1


def test_the_wait_in_the_proxys_own_line_takes_none_of_the_time(bench):
    b = bench("inventory")
    b.resolver.in_line = True
    answers, _ = b.resolve(timeout=0.5)
    b.loop.advance(20.0)
    assert answers == []
    assert isinstance(b.discovery.overdue(), LookUpQueued)
    assert b.discovery.overdue().condition is None
    b.resolver.begin()
    b.loop.advance(0.4)
    later, _ = b.resolve(timeout=0.5)
    b.loop.advance(0.2)
    assert isinstance(answers[0], LookUpTimeout)
    assert later == []
    assert not isinstance(b.discovery.overdue(), LookUpQueued)
    assert b.discovery.overdue().condition is not None
    b.loop.advance(0.3)
    assert isinstance(later[0], LookUpTimeout)


def test_no_time_left_is_a_timeout(bench):
    b = bench("inventory")
    answers, _ = b.resolve(timeout=-0.1)
    b.loop.advance(0)
    assert isinstance(answers[0], LookUpTimeout)


@pytest.mark.parametrize("host", ["inventory", "10.0.0.1"])
def test_a_cancelled_wait_hears_nothing(bench, host):
    b = bench(host)
    answers, ticket = b.resolve()
    ticket.cancel()
    ticket.cancel()
    if host == "inventory":
        b.resolver.answer(("10.0.0.1",))
    b.loop.advance(2)
    assert answers == []
    assert b.discovery.waiting == 0


def test_cancelling_another_wait_from_a_callback(bench):
    b = bench("inventory")
    heard = []
    b.discovery.resolve(lambda _: other.cancel(), 1.0)
    other = b.discovery.resolve(heard.append, 1.0)
    b.resolver.answer(("10.0.0.1",))
    assert heard == []


def test_while_in_use_names_are_looked_up_every_period(known):
    for _ in range(12):
        before = known.resolver.count
        known.discovery.note_use()
        known.loop.advance(5.0)
        assert known.resolver.count == before + 1
        known.resolver.answer(("10.0.0.1",))
    assert known.changes == 1


def test_unused_for_five_periods_the_look_ups_pause_and_a_use_resumes_them(known):
    known.resolver.count = 0
    for _ in range(20):
        known.loop.advance(5.0)
        if known.resolver.pending:
            known.resolver.answer(("10.0.0.1",))
    assert known.resolver.count == 5
    assert known.loop.timers == []
    known.discovery.note_use()
    assert known.resolver.count == 6
    assert known.addresses == {"inventory": ("10.0.0.1",)}
    known.resolver.answer(("10.0.0.7",))
    assert known.addresses == {"inventory": ("10.0.0.7",)}
    known.loop.advance(5.0)
    assert known.resolver.count == 7


def test_a_failed_refresh_keeps_the_last_known_addresses(known):
    known.loop.advance(5.0)
    known.resolver.answer(NXDOMAIN)
    assert known.addresses == {"inventory": ("10.0.0.1",)}
    answers, _ = known.resolve()
    known.loop.run()
    assert answers == [None]


def test_another_order_of_the_same_addresses_is_no_change(bench):
    b = bench("inventory")
    b.resolve()
    b.resolver.answer(("10.0.0.1", "10.0.0.2"))
    b.loop.advance(5.0)
    b.resolver.answer(("10.0.0.2", "10.0.0.1"))
    assert b.addresses == {"inventory": ("10.0.0.1", "10.0.0.2")}
    assert b.changes == 1


def test_a_look_up_slower_than_the_period_is_not_doubled(known):
    known.loop.advance(5.0)
    before = known.resolver.count
    known.loop.advance(10.0)
    assert known.resolver.count == before


def test_without_refresh_a_name_is_looked_up_until_it_succeeds(bench):
    b = bench("inventory", "10.0.0.9", refresh=0.0)
    b.discovery.note_use()
    b.resolver.answer(NXDOMAIN)
    b.discovery.note_use()
    b.resolver.answer(("10.0.0.1",))
    b.discovery.note_use()
    b.loop.advance(100.0)
    assert b.resolver.count == 2


def test_close_ends_the_refreshing(known):
    known.discovery.close()
    known.discovery.note_use()
    known.loop.advance(50.0)
    assert known.resolver.count == 1
    assert known.loop.timers == []


def test_who_waits_when_it_is_closed_is_still_answered(bench):
    b = bench("inventory")
    answers, _ = b.resolve()
    b.discovery.close()
    b.resolver.answer(("10.0.0.1",))
    assert answers == [None]
    assert b.loop.timers == []


def test_a_closed_one_still_looks_up_for_who_asks(bench):
    b = bench("inventory")
    b.discovery.close()
    answers, _ = b.resolve()
    b.resolver.answer(("10.0.0.1",))
    assert answers == [None]
