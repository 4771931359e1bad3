"""Claims in hand: renewed in time, and nothing goes on under one that is lost or over."""

import asyncio
import time

import pytest
from delivery.sagas import Bed as SagaBed
from delivery.sagas import Clock
from delivery.test_outbox import bed

from proxy.delivery.leases import Leases
from proxy.errors import ClaimLost, StoreFailed
from proxy.exchange import lease as leases_by_clocks
from proxy.exchange.lease import Lease, present
from proxy.store.operations import ClaimEntries, RenewEntries, Settle, TakeSaga
from proxy.store.records import EntryState
from proxy.store.sqlite.connection import MEMORY, SqliteConfig
from proxy.store.sqlite.engine import SqliteStore


class Clocks:
    """The three clocks of a lease."""

    def __init__(self, monkeypatch):
        self.running = self.asleep = self.wall = 0.0
        monkeypatch.setattr(leases_by_clocks, "monotonic", lambda: 100 + self.running)
        monkeypatch.setattr(leases_by_clocks, "clock_gettime", lambda _: 500 + self.asleep)
        monkeypatch.setattr(leases_by_clocks, "wall_clock", lambda: 9000 + self.wall)


@pytest.fixture
def clocks(monkeypatch):
    return Clocks(monkeypatch)


def make_lease(seconds=30.0):
    return Lease(seconds, present(), lambda: ClaimLost("over"))


# --- one lease --------------------------------------------------------------------------------


@pytest.mark.parametrize("clock", ["running", "asleep", "wall"])
def test_it_is_over_a_little_early_by_the_clock_that_has_moved_most(clocks, clock):
    lease = make_lease()
    setattr(clocks, clock, 27.9)
    assert not lease.over
    lease.check()
    setattr(clocks, clock, 28.1)
    assert lease.over
    with pytest.raises(ClaimLost):
        lease.check()


def test_a_clock_that_is_set_back_changes_nothing(clocks):
    lease = make_lease()
    clocks.wall = -3600.0
    clocks.running = clocks.asleep = 27.0
    assert not lease.over
    clocks.running = clocks.asleep = 29.0
    assert lease.over


def test_it_counts_from_before_its_renewal_was_asked_for(clocks):
    lease = make_lease()
    clocks.running = 10.0
    asked = present()
    clocks.running = 20.0
    lease.renew(asked)
    assert lease.age == 10.0


def test_its_end_is_told_once():
    told = []
    lease = make_lease()
    lease.on_end = lambda: told.append(1)
    lease.end()
    lease.end()
    assert (told, lease.over) == ([1], True)


# --- all in hand ------------------------------------------------------------------------------


class Renewals:
    """The store's side: each renewal waits for the test."""

    def __init__(self):
        self.asked = []
        self.leases = Leases(30.0, self._renew)

    def _renew(self, refs, seconds):
        future = asyncio.get_running_loop().create_future()
        self.asked.append((list(refs), future))
        return future

    async def answer(self, lost=(), error=None):
        (_, future) = self.asked[-1]
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(list(lost))
        await asyncio.sleep(0)


async def test_all_are_renewed_when_one_is_due(clocks):
    renewals = Renewals()
    leases = renewals.leases
    first = leases.hold("a", present())
    clocks.running = 5.0
    leases.look()
    leases.hold("b", present())
    assert renewals.asked == []
    clocks.running = 10.0
    for _ in range(3):
        leases.look()
    assert [refs for refs, _ in renewals.asked] == [["a", "b"]], "asked once"
    await renewals.answer()
    assert first.age == 0.0
    leases.stop()


async def test_what_the_store_says_is_lost_is_ended_at_once(clocks):
    renewals = Renewals()
    lost, kept = [renewals.leases.hold(ref, present()) for ref in "ab"]
    clocks.running = 2.0
    renewals.leases.look()
    clocks.running = 10.0
    renewals.leases.look()
    await renewals.answer(["a"])
    assert (lost.ended, kept.ended) == (True, False)
    renewals.leases.stop()


async def test_what_could_not_be_renewed_in_time_is_ended(clocks):
    renewals = Renewals()
    lease = renewals.leases.hold("a", present())
    for second in range(1, 28):
        clocks.running = float(second)
        renewals.leases.look()
        if renewals.asked and not renewals.asked[-1][1].done():
            await renewals.answer(error=StoreFailed("away"))
    assert not lease.ended
    clocks.running = 28.5
    renewals.leases.look()
    assert lease.ended, "no patience: it has looked all the time"
    renewals.leases.stop()


@pytest.mark.parametrize("clock", ["running", "asleep", "wall"])
async def test_after_a_pause_the_store_is_asked_first(clocks, clock):
    renewals = Renewals()
    lease = renewals.leases.hold("a", present())
    setattr(clocks, clock, 40.0)
    renewals.leases.look()
    assert lease.over
    assert not lease.ended
    await renewals.answer()
    assert not lease.over
    setattr(clocks, clock, 80.0)
    renewals.leases.look()
    for seconds in (82.0, 84.0):
        assert not lease.ended
        setattr(clocks, clock, seconds)
        renewals.leases.look()
    assert lease.ended, "the store has not answered"
    renewals.leases.stop()


async def test_what_was_given_back_is_neither_renewed_nor_ended(clocks):
    renewals = Renewals()
    lease = renewals.leases.hold("a", present())
    clocks.running = 2.0
    renewals.leases.look()
    clocks.running = 11.0
    renewals.leases.look()
    renewals.leases.drop("a")
    await renewals.answer(["a"])
    assert not lease.ended
    clocks.running = 13.0
    renewals.leases.look()
    assert len(renewals.asked) == 1
    renewals.leases.stop()


# --- tries of the outbox ----------------------------------------------------------------------


SHORT = 1.5
STANDS_STILL = 1.6


@pytest.fixture
def short_leases(monkeypatch):
    monkeypatch.setattr("proxy.delivery.worker.LEASE", SHORT)


async def taken_over(b):
    """The process stands still for longer than the lease, and another one claims the entry."""
    time.sleep(STANDS_STILL)  # noqa: ASYNC251 - that is the point
    taken = await b.store.do(ClaimEntries({"shop": 1}, 30.0))
    (entry,) = taken.entries
    return entry


async def test_a_try_whose_claim_another_process_took_is_ended(short_leases, caplog):
    async with bed() as b:
        b.upstream.hold = asyncio.Event()
        answer = await b.ask()
        await b.until(lambda: b.upstream.requests)
        entry = await taken_over(b)
        await b.until(lambda: not b.outbox.worker.tries)
        b.upstream.hold.set()
        await b.until(lambda: "was lost: another process tries it" in caplog.text)
        state = await b.state(answer.get("location"))
        assert (state["state"], state["attempts"]) == ("delivering", 0)
        assert await b.store.do(Settle(entry.ref, EntryState.DELIVERED, 1, b"", keep=60.0))
        assert len(b.upstream.requests) == 1
        assert "claim-lost" in [record.reason for record in b.records]


async def test_a_try_that_waits_sends_nothing_after_a_pause(short_leases):
    async with bed("retry: {attempts: 3, on: [5xx], methods: any, backoff: "
                   "{initial: 300ms, multiplier: 1, jitter: none}}") as b:  # fmt: skip
        b.upstream.answers.extend([500] * 9)
        await b.ask()
        await b.until(lambda: b.upstream.requests and b.outbox.worker.tries)
        await asyncio.sleep(0.05)
        await taken_over(b)
        await b.until(lambda: not b.outbox.worker.tries)
        assert len(b.upstream.requests) == 1


async def test_after_a_pause_without_another_process_the_try_goes_on(short_leases):
    async with bed() as b:
        b.upstream.hold = asyncio.Event()
        answer = await b.ask()
        await b.until(lambda: b.upstream.requests)
        time.sleep(STANDS_STILL)  # noqa: ASYNC251
        await asyncio.sleep(0.3)
        b.upstream.hold.set()
        state = await b.until_state(answer.get("location"), "delivered")
        assert (state["attempts"], len(b.upstream.requests)) == (1, 1)


async def test_a_try_ends_with_its_lease_while_the_store_is_away(short_leases, monkeypatch):
    async with bed() as b:
        b.upstream.hold = asyncio.Event()
        await b.ask()
        await b.until(lambda: b.upstream.requests)
        do = b.store.do

        def away(operation):
            if not isinstance(operation, RenewEntries):
                return do(operation)
            failed = asyncio.get_running_loop().create_future()
            failed.set_exception(StoreFailed("away"))
            return failed

        monkeypatch.setattr(b.store, "do", away)
        # The upstream never answers, and the route's own limits are longer. Another try may follow
        # at once.
        await b.until(lambda: "claim-lost" in [record.reason for record in b.records])
        b.upstream.hold.set()


# --- tries of sagas ---------------------------------------------------------------------------


async def test_a_saga_s_try_ends_when_another_process_has_it(monkeypatch):
    monkeypatch.setattr("proxy.delivery.saga_runner.LEASE", 0.3)
    store = SqliteStore(SqliteConfig(MEMORY), clock=Clock())
    await store.open(0.0)
    b = SagaBed(store)
    b.services.silent = True
    token = await b.begin()
    b.runner.start()
    await b.services.asked.wait()
    (request,) = b.services.requests
    ended = asyncio.Event()
    request.lease.on_end = ended.set
    store._clock.ahead = 31.0  # of the server, which has not seen a renewal
    assert await store.do(TakeSaga(token, ["running"], 30.0))
    await asyncio.wait_for(ended.wait(), 1)
    assert len(b.services.sent) == 1
    await b.runner.stop()
    await store.close()
