"""A saga's states, with explicit time: what it sends, when it gives up, what it undoes."""

import json
from dataclasses import replace

import pytest

from proxy.outcome import OutcomeSet
from proxy.policies.backoff import BackoffConfig, Jitter, JitterKind
from proxy.policies.saga import Act, NotStuck, Order, Rest, Saga, SagaState, Send, Wait
from proxy.policies.saga_rules import (
    DEAD_ON,
    Effect,
    Phase,
    SagaRules,
    StepRules,
    Told,
    UndoRules,
    judge_answer,
)
from proxy.policies.saga_steps import StepState

BACKOFF = BackoffConfig(initial=1.0, max=60.0, jitter=Jitter(JitterKind.NONE))
RESERVE = StepRules("reserve", backoff=BACKOFF, undoable=True)
PAY = StepRules("pay", backoff=BACKOFF, undoable=True)
SHIP = StepRules("ship", backoff=BACKOFF, attempts=2, optional=True)
RULES = SagaRules((RESERVE, PAY, SHIP), undo=UndoRules(backoff=BACKOFF))
DONE = Told(Effect.DONE, 200)
REFUSED = Told(Effect.NONE, 422, final=True)
TIMEOUT = Told(Effect.UNKNOWN, reason="attempt-timeout")
FAULT = Told(Effect.DOUBTFUL, 500)
UNAVAILABLE = Told(Effect.NONE, 503)
DO_0, DO_1, DO_2 = (Send(step, Phase.DO) for step in range(3))
UNDO_0, UNDO_1 = (Send(step, Phase.UNDO) for step in range(2))


class Clockwork:
    """Runs one saga: each try has the next of `ends`, and waits pass at once."""

    def __init__(self, rules: SagaRules = RULES) -> None:
        self.now = 1000.0
        self.rules = rules
        self.saga = Saga(rules, self.now, lambda: 0.5)
        self.sent: list[Send] = []

    def act(self) -> Act:
        return self.saga.advance(self.now)

    def end(self, told: Told, *, seconds: float = 0.0) -> Send:
        """Send what is due, waiting for it first, and let it end."""
        act = self.act()
        if isinstance(act, Wait):
            self.now = act.until
            act = self.act()
        assert isinstance(act, Send)
        self.sent.append(act)
        self.saga.intend(act, self.now)
        self.now += seconds
        self.saga.finish(act, told, self.now)
        return act

    def ends(self, *told: Told) -> list[Send]:
        return [self.end(one) for one in told]

    def restart(self) -> None:
        kept = json.loads(json.dumps(self.saga.dump()))
        self.saga = Saga.load(self.rules, kept, self.now, lambda: 0.5)


def test_all_steps_are_done_in_order() -> None:
    run = Clockwork()
    assert run.ends(DONE, DONE, DONE) == [DO_0, DO_1, DO_2]
    assert run.act() == Rest()
    assert run.saga.state is SagaState.DONE
    assert run.saga.finished_at == run.now


def test_a_failed_step_undoes_the_steps_before_it_in_reverse() -> None:
    rules = replace(RULES, steps=(RESERVE, PAY, replace(SHIP, optional=False)))
    run = Clockwork(rules)
    assert run.ends(DONE, DONE, REFUSED, DONE, DONE) == [DO_0, DO_1, DO_2, UNDO_1, UNDO_0]
    assert run.act() == Rest()
    assert run.saga.state is SagaState.UNDONE


def test_a_step_that_did_nothing_is_not_undone() -> None:
    run = Clockwork()
    assert run.ends(DONE, REFUSED, DONE) == [DO_0, DO_1, UNDO_0]
    assert run.act() == Rest()
    assert run.saga.steps[1].do.state is StepState.FAILED


@pytest.mark.parametrize("told", [TIMEOUT, FAULT])
def test_a_step_that_may_have_been_done_is_undone(told: Told) -> None:
    run = Clockwork(replace(RULES, steps=(RESERVE, replace(PAY, attempts=1))))
    assert run.ends(DONE, told, DONE, DONE) == [DO_0, DO_1, UNDO_1, UNDO_0]


def test_one_doubtful_try_is_not_forgotten_when_the_last_one_is_clear() -> None:
    run = Clockwork()
    assert run.ends(DONE, TIMEOUT, REFUSED, DONE) == [DO_0, DO_1, DO_1, UNDO_1]
    assert run.saga.steps[1].do.state is StepState.UNKNOWN


def test_tries_wait_for_their_backoff_and_are_spent() -> None:
    run = Clockwork(replace(RULES, steps=(replace(RESERVE, attempts=3),)))
    run.end(UNAVAILABLE)
    assert run.act() == Wait(1001.0)
    run.end(UNAVAILABLE)
    assert run.act() == Wait(1003.0)
    run.end(UNAVAILABLE)
    assert run.act() == Rest()
    assert run.saga.state is SagaState.UNDONE


def test_retry_after_is_waited_for() -> None:
    run = Clockwork()
    run.end(replace(UNAVAILABLE, retry_after=40.0))
    assert run.act() == Wait(1040.0)


def test_the_proxys_own_refusals_spend_no_attempt() -> None:
    run = Clockwork(replace(RULES, steps=(replace(RESERVE, attempts=1),)))
    refused = Told(Effect.NONE, reason="circuit-open", spends=False)
    assert run.ends(refused, refused, DONE) == [DO_0] * 3
    assert run.saga.steps[0].do.attempts == 1


def test_age_is_judged_after_a_try_never_before_one() -> None:
    step = replace(RESERVE, attempts=0, max_age=100.0)
    run = Clockwork(replace(RULES, steps=(step,), timeout=10_000.0))
    run.end(UNAVAILABLE)
    run.now += 5000.0
    assert run.act() == DO_0
    run.end(UNAVAILABLE)
    assert run.act() == Rest()


def test_an_optional_step_that_fails_lets_the_saga_go_on() -> None:
    run = Clockwork(replace(RULES, steps=(RESERVE, SHIP, PAY)))
    assert run.ends(DONE, TIMEOUT, TIMEOUT, DONE) == [DO_0, DO_1, DO_1, DO_2]
    assert run.act() == Rest()
    assert run.saga.state is SagaState.DONE
    assert run.saga.steps[1].do.state is StepState.UNKNOWN


def test_an_optional_step_of_unknown_result_is_undone_too() -> None:
    ship = replace(SHIP, attempts=1, undoable=True)
    run = Clockwork(replace(RULES, steps=(RESERVE, ship, PAY)))
    sent = run.ends(DONE, TIMEOUT, REFUSED, DONE, DONE)
    assert sent == [DO_0, DO_1, DO_2, UNDO_1, UNDO_0]


def test_the_timeout_undoes_what_was_done() -> None:
    run = Clockwork()
    run.end(DONE)
    run.end(UNAVAILABLE, seconds=299.5)
    assert run.act() == Wait(1300.0)
    run.now = 1300.0
    assert run.act() == UNDO_0
    assert run.saga.steps[1].do.reason == "saga-timeout"


def test_a_saga_that_ends_late_is_done() -> None:
    run = Clockwork()
    run.ends(DONE, DONE)
    run.end(DONE, seconds=1000.0)
    assert run.act() == Rest()
    assert run.saga.state is SagaState.DONE


# --- pivot ------------------------------------------------------------------------------------


PIVOT = replace(RULES, steps=(RESERVE, PAY, replace(SHIP, optional=False)), pivot=1)


def test_after_the_pivot_a_step_is_tried_until_it_works() -> None:
    run = Clockwork(PIVOT)
    run.ends(DONE, DONE)
    run.now += 10_000.0
    assert run.ends(*[REFUSED] * 9, DONE) == [DO_2] * 10
    assert run.act() == Rest()
    assert run.saga.state is SagaState.DONE


def test_before_the_pivot_has_worked_everything_is_undone() -> None:
    run = Clockwork(PIVOT)
    assert run.ends(DONE, TIMEOUT, REFUSED, DONE, DONE)[-2:] == [UNDO_1, UNDO_0]


def test_after_the_pivot_a_step_that_is_too_old_is_stuck_and_not_undone() -> None:
    run = Clockwork(PIVOT)
    run.ends(DONE, DONE)
    run.end(UNAVAILABLE)
    run.end(UNAVAILABLE, seconds=25 * 3600.0)
    assert run.saga.state is SagaState.STUCK
    assert run.act() == Rest()
    run.saga.order(Order.RESUME, run.now)
    assert run.end(DONE) == DO_2


def test_an_optional_step_after_the_pivot_may_fail() -> None:
    run = Clockwork(replace(RULES, pivot=1))
    run.ends(DONE, DONE, REFUSED)
    assert run.act() == Rest()
    assert run.saga.state is SagaState.DONE


# --- undoing ----------------------------------------------------------------------------------


def stuck() -> Clockwork:
    run = Clockwork(replace(RULES, steps=(RESERVE, PAY, replace(SHIP, optional=False))))
    run.ends(DONE, DONE, REFUSED, Told(Effect.NONE, 400, final=True))
    assert run.saga.state is SagaState.STUCK
    assert run.act() == Rest()
    return run


def test_an_undo_is_tried_until_it_works() -> None:
    run = Clockwork()
    run.ends(DONE, REFUSED)
    assert run.ends(*[UNAVAILABLE] * 50, DONE) == [UNDO_0] * 51
    run.act()
    assert run.saga.state is SagaState.UNDONE


def test_an_undo_that_is_spent_makes_the_saga_stuck() -> None:
    rules = replace(RULES, undo=UndoRules(attempts=2, backoff=BACKOFF))
    run = Clockwork(rules)
    run.ends(DONE, REFUSED, UNAVAILABLE, UNAVAILABLE)
    assert run.saga.state is SagaState.STUCK
    assert run.saga.steps[0].undo.state is StepState.STUCK


def test_resume_tries_the_undo_again() -> None:
    run = stuck()
    run.saga.order(Order.RESUME, run.now)
    assert run.ends(DONE, DONE) == [UNDO_1, UNDO_0]


def test_skip_goes_on_with_the_next_undo() -> None:
    run = stuck()
    run.saga.order(Order.SKIP, run.now)
    assert run.end(DONE) == UNDO_0
    assert run.act() == Rest()
    assert run.saga.state is SagaState.UNDONE
    assert run.saga.steps[1].undo.state is StepState.SKIPPED


def test_abort_ends_the_saga_as_it_is() -> None:
    run = stuck()
    run.saga.order(Order.ABORT, run.now)
    assert run.act() == Rest()
    assert run.saga.state is SagaState.UNDONE
    assert run.saga.aborted
    assert run.saga.steps[0].undo.state is StepState.PENDING


@pytest.mark.parametrize("order", Order)
def test_only_a_stuck_saga_takes_an_order(order: Order) -> None:
    with pytest.raises(NotStuck):
        Clockwork().saga.order(order, 1000.0)


# --- requests that cannot be made -------------------------------------------------------------


def test_a_missing_value_fails_the_step_and_nothing_is_sent() -> None:
    run = Clockwork()
    run.end(DONE)
    run.saga.cannot_send(DO_1, "no value for ${steps.reserve./id}")
    assert run.act() == UNDO_0
    assert run.saga.steps[1].do.attempts == 0


def test_an_undos_missing_value_makes_the_saga_stuck() -> None:
    run = Clockwork(replace(RULES, steps=(RESERVE, replace(PAY, attempts=1))))
    run.ends(DONE, TIMEOUT)
    assert run.act() == UNDO_1
    run.saga.cannot_send(UNDO_1, "no value")
    assert run.saga.state is SagaState.STUCK


def test_an_upstreams_own_fault_that_gave_nothing_to_undo_is_settled() -> None:
    run = Clockwork(replace(RULES, steps=(RESERVE, replace(PAY, attempts=1))))
    run.ends(DONE, FAULT)
    assert run.act() == UNDO_1
    run.saga.cannot_send(UNDO_1, "no value")
    assert run.act() == UNDO_0


# --- restarts ---------------------------------------------------------------------------------


def test_a_restart_between_intent_and_outcome_repeats_the_step_at_once() -> None:
    run = Clockwork()
    act = run.act()
    assert isinstance(act, Send)
    run.saga.intend(act, run.now)
    run.restart()
    assert run.act() == DO_0
    progress = run.saga.steps[0].do
    assert (progress.attempts, progress.tries[0].reason) == (1, "interrupted")


def test_a_try_that_was_interrupted_counts_and_is_undone() -> None:
    run = Clockwork(replace(RULES, steps=(replace(RESERVE, attempts=1),)))
    run.saga.intend(DO_0, run.now)
    run.restart()
    assert run.act() == UNDO_0


def test_everything_is_kept_over_a_restart() -> None:
    run = Clockwork()
    run.end(replace(DONE, values={"/id": [1, {"a": None}]}))
    run.ends(TIMEOUT, UNAVAILABLE)
    kept = run.saga.dump()
    run.restart()
    assert run.saga.dump() == kept
    assert run.saga.steps[0].values == {"/id": [1, {"a": None}]}


def test_only_the_last_tries_are_kept() -> None:
    run = Clockwork()
    run.ends(DONE, REFUSED, *[UNAVAILABLE] * 30)
    undo = run.saga.steps[0].undo
    assert (len(undo.tries), undo.attempts) == (20, 30)


# --- what an answer means ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "effect", "final"),
    [
        (200, Effect.DONE, False),
        (204, Effect.DONE, False),
        (302, Effect.NONE, True),
        (400, Effect.NONE, True),
        (404, Effect.NONE, True),
        (408, Effect.UNKNOWN, False),
        (409, Effect.NONE, True),
        (425, Effect.NONE, False),
        (429, Effect.NONE, False),
        (500, Effect.DOUBTFUL, False),
        (501, Effect.NONE, False),
        (502, Effect.UNKNOWN, False),
        (503, Effect.NONE, False),
        (504, Effect.UNKNOWN, False),
        (600, Effect.DOUBTFUL, False),
    ],
)
def test_what_an_answer_to_a_step_means(status: int, effect: Effect, final: bool) -> None:
    told = judge_answer(Phase.DO, status, DEAD_ON)
    assert (told.effect, told.final) == (effect, final)


def test_an_earlier_attempt_of_the_try_without_an_answer_is_not_forgotten() -> None:
    told = judge_answer(Phase.DO, 422, DEAD_ON, seen=[0, 422])
    assert (told.effect, told.final) == (Effect.UNKNOWN, True)
    assert judge_answer(Phase.DO, 422, DEAD_ON, seen=[500, 422]).effect is Effect.DOUBTFUL
    assert judge_answer(Phase.DO, 200, DEAD_ON, seen=[0, 200]).effect is Effect.DONE


def test_an_answer_with_retry_after_is_never_final() -> None:
    told = judge_answer(Phase.DO, 409, DEAD_ON, retry_after=3.0)
    assert (told.final, told.retry_after) == (False, 3.0)
    assert not judge_answer(Phase.DO, 425, OutcomeSet(("425",))).final


@pytest.mark.parametrize("status", [404, 409, 410])
def test_an_undo_that_finds_nothing_is_done(status: int) -> None:
    told = judge_answer(Phase.UNDO, status, DEAD_ON)
    assert (told.effect, told.reason) == (Effect.DONE, "nothing-to-undo")


def test_an_undo_that_is_still_under_way_is_not_done() -> None:
    told = judge_answer(Phase.UNDO, 409, DEAD_ON, retry_after=1.0)
    assert told.effect is not Effect.DONE
    assert not told.final


@pytest.mark.parametrize("phase", Phase)
def test_a_receiver_that_does_not_know_is_asked_again(phase: Phase) -> None:
    told = judge_answer(phase, 409, DEAD_ON, undecided=True)
    assert (told.effect, told.final) == (Effect.UNKNOWN, False)
