"""Bulkhead: permits, a first-come queue, and nothing lost between them."""

import pytest

from proxy.errors import BulkheadFull
from proxy.outcome import Verdict
from proxy.policies.bulkhead import (
    Bulkhead,
    BulkheadConfig,
    BulkheadPermit,
    BulkheadRefusal,
    BulkheadWait,
)
from proxy.policies.gate import Ask, Mode


def bulkhead(limit: int = 1, queue: int = 2, timeout: float = 5.0) -> Bulkhead:
    return Bulkhead("b", BulkheadConfig(limit, queue, timeout))


def permit(guard: Bulkhead) -> BulkheadPermit:
    answer = guard.admit(0.0, Ask())
    assert isinstance(answer, BulkheadPermit)
    return answer


def wait(guard: Bulkhead, now: float = 0.0) -> BulkheadWait:
    answer = guard.admit(now, Ask())
    assert isinstance(answer, BulkheadWait)
    return answer


def counts(guard: Bulkhead) -> tuple[int, int]:
    return guard.in_use, guard.queued


def test_as_many_as_the_limit_then_the_queue_then_refusal() -> None:
    guard = bulkhead(limit=2, queue=1)
    permit(guard)
    permit(guard)
    assert wait(guard, 7.0).deadline == 12.0
    refusal = guard.admit(0.0, Ask())
    assert isinstance(refusal, BulkheadRefusal)
    assert (refusal.name, refusal.limit, refusal.max_queue) == ("b", 2, 1)
    assert isinstance(refusal.error(), BulkheadFull)
    assert counts(guard) == (2, 1)
    assert (guard.limit, guard.max_queue) == (2, 1)


@pytest.mark.parametrize(("queue", "timeout"), [(0, 5.0), (2, 0.0)])
def test_without_places_or_time_to_wait_there_is_no_queue(queue: int, timeout: float) -> None:
    guard = bulkhead(queue=queue, timeout=timeout)
    permit(guard)
    assert isinstance(guard.admit(0.0, Ask()), BulkheadRefusal)


def test_release_serves_the_queue_in_order() -> None:
    guard = bulkhead()
    held, heard = permit(guard), []
    first, second = wait(guard), wait(guard)
    first.on_granted = lambda: heard.append("first")
    second.on_granted = lambda: heard.append("second")
    guard.settle(held, Verdict.IGNORED, 0.0, 0.0)
    assert heard == ["first"]
    assert second.permit is None
    assert counts(guard) == (1, 1)
    assert first.permit is not None
    guard.settle(first.permit, Verdict.IGNORED, 0.0, 0.0)
    assert heard == ["first", "second"]
    assert counts(guard) == (1, 0)


def test_a_permit_is_given_back_once() -> None:
    guard = bulkhead(limit=2)
    held = permit(guard)
    permit(guard)
    guard.settle(held, Verdict.IGNORED, 0.0, 0.0)
    guard.settle(held, Verdict.IGNORED, 0.0, 0.0)
    assert counts(guard) == (1, 0)


def test_who_leaves_the_queue_is_passed_over() -> None:
    guard = bulkhead()
    held = permit(guard)
    first, second = wait(guard), wait(guard)
    guard.abandon(first)
    guard.abandon(first)
    assert counts(guard) == (1, 1)
    guard.settle(held, Verdict.IGNORED, 0.0, 0.0)
    assert first.permit is None
    assert second.permit is not None


def test_who_leaves_after_the_grant_hands_it_on() -> None:
    guard = bulkhead()
    held = permit(guard)
    first, second = wait(guard), wait(guard)
    guard.settle(held, Verdict.IGNORED, 0.0, 0.0)
    guard.abandon(first)
    guard.abandon(first)
    assert second.permit is not None
    assert counts(guard) == (1, 0)


def test_who_leaves_within_the_grant_hands_it_on() -> None:
    guard = bulkhead()
    held = permit(guard)
    first, second = wait(guard), wait(guard)
    first.on_granted = lambda: guard.abandon(first)
    guard.settle(held, Verdict.IGNORED, 0.0, 0.0)
    assert second.permit is not None
    assert counts(guard) == (1, 0)


def test_a_place_in_the_queue_is_free_again() -> None:
    guard = bulkhead(queue=1)
    permit(guard)
    guard.abandon(wait(guard))
    wait(guard)


def test_a_smaller_limit_drains() -> None:
    guard = bulkhead(limit=3)
    held = [permit(guard) for _ in range(3)]
    guard.adopt(BulkheadConfig(1, 2, 5.0))
    waiting = wait(guard)
    guard.settle(held[0], Verdict.IGNORED, 0.0, 0.0)
    guard.settle(held[1], Verdict.IGNORED, 0.0, 0.0)
    assert waiting.permit is None
    assert counts(guard) == (1, 1)
    guard.settle(held[2], Verdict.IGNORED, 0.0, 0.0)
    assert waiting.permit is not None
    assert counts(guard) == (1, 0)


def test_a_larger_limit_serves_the_queue() -> None:
    guard = bulkhead(queue=3)
    permit(guard)
    waiting = [wait(guard) for _ in range(3)]
    guard.adopt(BulkheadConfig(3, 0, 0.0))
    assert [w.permit is not None for w in waiting] == [True, True, False]
    assert counts(guard) == (3, 1)


def test_in_mode_observe_everything_enters_and_the_permit_says_what_would_have_happened() -> None:
    guard = Bulkhead("b", BulkheadConfig(1, 1, 5.0, mode=Mode.OBSERVE))
    permits = [permit(guard) for _ in range(3)]
    assert [one.observed for one in permits] == ["", "bulkhead.queued", "bulkhead.refused"]
    assert counts(guard) == (3, 0)
    for one in permits:
        guard.settle(one, Verdict.SUCCESS, 0.0, 0.0)
    assert counts(guard) == (0, 0)
    hasty = Bulkhead("b", BulkheadConfig(1, 1, 0.0, mode=Mode.OBSERVE))
    assert [permit(hasty).observed for _ in range(2)] == ["", "bulkhead.refused"]


@pytest.mark.parametrize("learned", [False, True])
def test_a_refusal_says_whether_there_is_a_queue(learned: bool) -> None:
    def detail(queue: int) -> str:
        return str(BulkheadRefusal("b", 20, queue, learned=learned).error())

    assert detail(5).endswith("and its queue of 5 is full.")
    assert detail(0).endswith("and it has no queue.")
