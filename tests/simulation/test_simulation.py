"""Some hundred exchanges with faults on both sides; `python -m tests.simulation`: a million."""

import pytest

from proxy.exchange.attempt import Attempt
from proxy.outcome import Verdict
from proxy.policies.circuit_breaker import CircuitBreaker
from proxy.policies.ejection import Member
from simulation.world import run

pytestmark = pytest.mark.interpreted


@pytest.mark.parametrize("seed", [1, 2])
def test_every_promise_holds(seed: int) -> None:
    result = run(seed, 150)
    assert result.wrong == []
    assert result.seen["whole"]
    assert result.seen["broken off"]
    assert result.seen["refused 503"]


def test_a_seed_gives_the_same_run_again() -> None:
    first = run(3, 60)
    assert first.digest
    assert run(3, 60) == first
    assert run(4, 60).digest != first.digest


def test_endpoints_are_ejected_for_what_they_did() -> None:
    result = run(2, 150)
    assert result.seen["ejections of wild"]
    assert not result.seen["ejections of calm"]


def test_it_sees_what_a_client_did_held_against_an_endpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settle = Member.settle

    def blame(self, attempt, verdict, now):
        settle(self, attempt, Verdict.FAILURE if verdict is Verdict.IGNORED else verdict, now)

    monkeypatch.setattr(Member, "settle", blame)
    assert "a calm endpoint was ejected for what a client did" in "".join(run(1, 150).wrong)


def test_it_sees_an_attempt_that_is_never_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Attempt, "_leave", lambda self, seat, verdict, now: None)
    assert "were never told of" in "".join(run(1, 60).wrong)


def test_it_sees_what_a_client_did_held_against_the_upstream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settle = CircuitBreaker.settle

    def blame(self, permit, verdict, seconds, now):
        blamed = Verdict.FAILURE if verdict is Verdict.IGNORED else verdict
        settle(self, permit, blamed, seconds, now)

    monkeypatch.setattr(CircuitBreaker, "settle", blame)
    wrong = run(1, 150).wrong
    assert any("held against the calm upstream" in line for line in wrong)
