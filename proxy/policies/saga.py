"""Saga: several steps at several services, done in order, or undone in reverse order.

    running ──▶ done                              every step is done, or failed and is optional
       │  ╲
       │   ╲──▶ undoing ──▶ undone                a step failed, or `timeout` was over: each step
       │            │  ▲                          that is done or unknown and has an undo is undone,
       │            ▼  │                          the last one first
       └─────────▶ stuck                          an undo failed (or after the pivot a step cannot
                                                  go on): it waits for an operator's order

The owner of a saga asks `advance` what to do, and keeps the saga (`dump`) before it sends and after
it has the answer:

    advance → Send ─ intend ─ kept ─ request ─ finish ─ advance …        → Wait, Rest

Rules:
- An intent is kept before its request. A saga that is loaded with an open intent has lost the
  answer: the try counts, what it did is unknown, and the next try has the same idempotency key.
- Undos run strictly in reverse: none begins before the one before has ended.
- After the pivot nothing is undone. A step there is tried until it works; `max_age` makes the saga
  stuck instead of failing the step.
- Age is judged after a try, never before one: a saga that was not run for a day still tries.

Times are seconds since the Unix epoch: a saga outlives its process.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeAlias

from proxy.clock import Random
from proxy.policies.saga_rules import Effect, Phase, SagaRules, Told
from proxy.policies.saga_steps import Progress, Step, StepState


class SagaState(Enum):
    RUNNING = "running"
    UNDOING = "undoing"
    DONE = "done"
    UNDONE = "undone"
    STUCK = "stuck"


class Order(Enum):
    """What an operator can order for a stuck saga."""

    RESUME = "resume"
    SKIP = "skip"
    ABORT = "abort"


class NotStuck(Exception):
    """Only a stuck saga takes an order."""


@dataclass(frozen=True, slots=True)
class Send:
    """The request of this step and phase is to be sent now."""

    step: int
    phase: Phase


@dataclass(frozen=True, slots=True)
class Wait:
    """There is nothing to do until then."""

    until: float


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing is to be done: the saga has ended, or is stuck."""


Act: TypeAlias = Send | Wait | Rest
_REST: Final = Rest()


class Saga:
    """One saga. `aborted`: it ended by an operator's order, with steps that may still be done."""

    __slots__ = ("_random", "aborted", "accepted_at", "finished_at", "rules", "state", "steps")

    def __init__(self, rules: SagaRules, accepted_at: float, random: Random) -> None:
        self.rules = rules
        self.state = SagaState.RUNNING
        self.accepted_at = accepted_at
        self.finished_at = 0.0
        self.aborted = False
        self.steps = [Step(step) for step in rules.steps]
        self._random = random

    # --- what to do -------------------------------------------------------------------------------

    def advance(self, now: float) -> Act:
        """What to do now. It changes the saga's state where that needs no request."""
        if self.state is SagaState.RUNNING:
            return self._forward(now)
        if self.state is SagaState.UNDOING:
            return self._backward(now)
        return _REST

    def _forward(self, now: float) -> Act:
        at = self._current()
        if at is None:
            self._end(SagaState.DONE, now)
            return _REST
        step = self.steps[at]
        over = self.accepted_at + self.rules.timeout
        forced = self.past_pivot
        failed = step.do.state in (StepState.FAILED, StepState.UNKNOWN)
        if not forced and not failed and now >= over:
            if step.do.state is not StepState.PENDING:
                step.give_up("saga-timeout")
            failed = True
        if failed:
            self.state = SagaState.UNDOING
            return self._backward(now)
        if now >= step.do.next_at:
            return Send(at, Phase.DO)
        return Wait(step.do.next_at if forced else min(step.do.next_at, over))

    def _backward(self, now: float) -> Act:
        for at in range(len(self.steps) - 1, -1, -1):
            step = self.steps[at]
            if step.needs_undo():
                if now >= step.undo.next_at:
                    return Send(at, Phase.UNDO)
                return Wait(step.undo.next_at)
        self._end(SagaState.UNDONE, now)
        return _REST

    def _current(self) -> int | None:
        """The first step that has not passed."""
        for at, step in enumerate(self.steps):
            if not step.passed():
                return at
        return None

    @property
    def past_pivot(self) -> bool:
        pivot = self.rules.pivot
        return pivot >= 0 and self.steps[pivot].do.state is StepState.DONE

    @property
    def ended(self) -> bool:
        return self.state in (SagaState.DONE, SagaState.UNDONE)

    def _end(self, state: SagaState, now: float) -> None:
        self.state = state
        self.finished_at = now

    # --- tries ------------------------------------------------------------------------------------

    def intend(self, send: Send, now: float) -> None:
        """A request is about to be sent: keep this before it is."""
        self.steps[send.step].progress(send.phase).begin(now)

    def finish(self, send: Send, told: Told, now: float) -> None:
        """The try that was intended has ended."""
        step = self.steps[send.step]
        step.progress(send.phase).ended(told, now)
        if send.phase is Phase.DO:
            self._did(step, told, now)
        else:
            self._undid(step, told, now)

    def _did(self, step: Step, told: Told, now: float) -> None:
        do, rules = step.do, step.rules
        if told.effect is Effect.DONE:
            do.state = StepState.DONE
            step.values = dict(told.values)
            return
        step.fear(told.effect)
        if self._must_work(step):
            if do.spent(0, rules.max_age, now):
                self._get_stuck(do)
            else:
                do.wait_on(rules.backoff, told, now, self._random)
        elif told.final or do.spent(rules.attempts, rules.max_age, now):
            step.give_up()
        else:
            do.wait_on(rules.backoff, told, now, self._random)

    def _undid(self, step: Step, told: Told, now: float) -> None:
        undo, rules = step.undo, self.rules.undo
        if told.effect is Effect.DONE:
            undo.state = StepState.DONE
        elif told.final or undo.spent(rules.attempts, rules.max_age, now):
            self._get_stuck(undo)
        else:
            undo.wait_on(rules.backoff, told, now, self._random)

    def cannot_send(self, send: Send, reason: str) -> None:
        """Its request cannot be made: a template has no value. Nothing was sent."""
        step = self.steps[send.step]
        progress = step.progress(send.phase)
        progress.reason = reason
        if send.phase is Phase.UNDO:
            if step.do.state is not StepState.DONE and step.doubt is Effect.DOUBTFUL:
                # The upstream said that it failed, and gave nothing that could be undone.
                progress.state = StepState.DONE
            else:
                self._get_stuck(progress)
        elif self._must_work(step):
            self._get_stuck(progress)
        else:
            step.give_up(reason)

    def _must_work(self, step: Step) -> bool:
        return self.past_pivot and not step.rules.optional

    def _get_stuck(self, progress: Progress) -> None:
        progress.state = StepState.STUCK
        self.state = SagaState.STUCK

    # --- orders -----------------------------------------------------------------------------------

    def order(self, order: Order, now: float) -> None:
        """Obey an operator. Raises NotStuck unless the saga is stuck.

        resume: try the step that is stuck again, with all its attempts. skip: take it as settled
        and go on. abort: end the saga as it is.
        """
        if self.state is not SagaState.STUCK:
            raise NotStuck
        step, phase = self._stuck()
        progress = step.progress(phase)
        if order is Order.ABORT:
            self.aborted = True
            self._end(SagaState.UNDONE, now)
            return
        if order is Order.RESUME:
            progress.again(now)
        else:
            progress.state = StepState.SKIPPED
        self.state = SagaState.RUNNING if phase is Phase.DO else SagaState.UNDOING

    def _stuck(self) -> tuple[Step, Phase]:
        for step in self.steps:
            for phase in Phase:
                if step.progress(phase).state is StepState.STUCK:
                    return step, phase
        raise AssertionError("a stuck saga has a stuck step")

    # --- keeping ----------------------------------------------------------------------------------

    def dump(self) -> dict[str, Any]:
        """Everything but the rules, as JSON's types; the names are for people."""
        return {
            "state": self.state.value,
            "accepted_at": self.accepted_at,
            "finished_at": self.finished_at,
            "aborted": self.aborted,
            "steps": [
                {
                    "name": step.rules.name,
                    "do": step.do.dump(),
                    "undo": step.undo.dump(),
                    "doubt": step.doubt.value,
                    "values": step.values,
                }
                for step in self.steps
            ],
        }

    @classmethod
    def load(cls, rules: SagaRules, kept: Mapping[str, Any], now: float, random: Random) -> "Saga":
        """The saga as it was kept; the answer of an open try is lost."""
        saga = cls(rules, float(kept["accepted_at"]), random)
        saga.state = SagaState(kept["state"])
        saga.finished_at = float(kept["finished_at"])
        saga.aborted = bool(kept["aborted"])
        for at, (step, one) in enumerate(zip(saga.steps, kept["steps"], strict=True)):
            step.do.load(one["do"])
            step.undo.load(one["undo"])
            step.doubt = Effect(one["doubt"])
            step.values = dict(one["values"])
            for phase in Phase:
                if step.progress(phase).state is StepState.TRYING:
                    saga.interrupted(Send(at, phase), now)
        return saga

    def interrupted(self, send: Send, now: float) -> None:
        """The process ended between intent and outcome: the next try follows at once."""
        self.finish(send, Told(Effect.UNKNOWN, reason="interrupted"), now)
        progress = self.steps[send.step].progress(send.phase)
        if progress.state is StepState.WAITING:
            progress.next_at = now
