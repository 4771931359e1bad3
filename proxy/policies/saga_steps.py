"""Saga steps: how far each step of a saga is, forward and back, and what its tries told."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from proxy.clock import Random
from proxy.policies.backoff import Backoff, BackoffConfig
from proxy.policies.saga_rules import DOUBT, Effect, Phase, StepRules, Told

MAX_TRIES_KEPT: Final = 20
"""Of each phase of each step, the last ones."""


class StepState(Enum):
    """Of one phase of a step."""

    PENDING = "pending"
    TRYING = "trying"
    """The intent is kept: a request may be in flight."""
    WAITING = "waiting"
    """A try failed, and another one follows."""
    DONE = "done"
    FAILED = "failed"
    """Of the phase do: given up, and nothing was done."""
    UNKNOWN = "unknown"
    """Of the phase do: given up, and it may have been done."""
    STUCK = "stuck"
    SKIPPED = "skipped"
    """By an operator's order."""


@dataclass(frozen=True, slots=True)
class Try:
    """One try that ended; `status` is 0 without an answer."""

    began: float
    ended: float
    status: int
    reason: str


class Progress:
    """One phase of one step.

    `attempts`: tries that count. `failures` in a row, for the backoff. `open_since`: the time of
    an intent without an outcome, 0 without one. `reason`: why it ended without a try.
    """

    __slots__ = (
        "attempts", "failures", "first_at", "next_at", "open_since", "reason", "state", "tries",
        "wait",
    )  # fmt: skip

    def __init__(self) -> None:
        self.state = StepState.PENDING
        self.attempts = 0
        self.failures = 0
        self.first_at = 0.0
        self.next_at = 0.0
        self.open_since = 0.0
        self.wait = 0.0
        self.reason = ""
        self.tries: list[Try] = []

    def begin(self, now: float) -> None:
        self.state = StepState.TRYING
        self.attempts += 1
        self.first_at = self.first_at or now
        self.open_since = now

    def ended(self, told: Told, now: float) -> None:
        """Record how the open try ended."""
        self.tries.append(Try(self.open_since, now, told.status, told.reason))
        del self.tries[:-MAX_TRIES_KEPT]
        self.open_since = 0.0
        self.failures += 1
        if not told.spends:
            self.attempts -= 1

    def wait_on(self, backoff: BackoffConfig, told: Told, now: float, random: Random) -> None:
        delay = Backoff(backoff, random).delay(self.failures, self.wait)
        self.wait = max(delay, told.retry_after)
        self.next_at = now + self.wait
        self.state = StepState.WAITING

    def spent(self, attempts: int, max_age: float, now: float) -> bool:
        """Whether no other try may follow one that ended at `now`."""
        return bool(attempts and self.attempts >= attempts) or now - self.first_at >= max_age

    def again(self, now: float) -> None:
        """Begin again, with all attempts, after an operator's order."""
        self.state = StepState.WAITING
        self.attempts = self.failures = 0
        self.first_at = self.wait = 0.0
        self.next_at = now
        self.reason = ""

    def dump(self) -> dict[str, Any]:
        return {
            "state": self.state.value,
            "attempts": self.attempts,
            "failures": self.failures,
            "first_at": self.first_at,
            "next_at": self.next_at,
            "open_since": self.open_since,
            "wait": self.wait,
            "reason": self.reason,
            "tries": [[one.began, one.ended, one.status, one.reason] for one in self.tries],
        }

    def load(self, kept: Mapping[str, Any]) -> None:
        self.state = StepState(kept["state"])
        self.attempts = int(kept["attempts"])
        self.failures = int(kept["failures"])
        self.first_at = float(kept["first_at"])
        self.next_at = float(kept["next_at"])
        self.open_since = float(kept["open_since"])
        self.wait = float(kept["wait"])
        self.reason = str(kept["reason"])
        self.tries = [
            Try(float(began), float(ended), int(status), str(reason))
            for began, ended, status, reason in kept["tries"]
        ]


class Step:
    """`doubt`: the worst that its tries may have done without saying so; NONE: nothing.

    `values`: what later templates need of its answer, once it is done.
    """

    __slots__ = ("do", "doubt", "rules", "undo", "values")

    def __init__(self, rules: StepRules) -> None:
        self.rules = rules
        self.do = Progress()
        self.undo = Progress()
        self.doubt = Effect.NONE
        self.values: dict[str, Any] = {}

    @property
    def phase(self) -> Phase:
        """The phase that says where the step is."""
        return Phase.DO if self.undo.state is StepState.PENDING else Phase.UNDO

    def progress(self, phase: Phase) -> Progress:
        return self.do if phase is Phase.DO else self.undo

    def may_have_done(self) -> bool:
        return self.do.state is StepState.DONE or self.doubt is not Effect.NONE

    def needs_undo(self) -> bool:
        ended = self.undo.state in (StepState.DONE, StepState.SKIPPED)
        return self.rules.undoable and self.may_have_done() and not ended

    def fear(self, effect: Effect) -> None:
        if effect in DOUBT and DOUBT.index(effect) > DOUBT.index(self.doubt):
            self.doubt = effect

    def give_up(self, reason: str = "") -> None:
        self.do.state = StepState.UNKNOWN if self.doubt is Effect.UNKNOWN else StepState.FAILED
        self.do.reason = reason

    def passed(self) -> bool:
        """Whether the next step's turn has come."""
        state = self.do.state
        if state in (StepState.DONE, StepState.SKIPPED):
            return True
        return self.rules.optional and state in (StepState.FAILED, StepState.UNKNOWN)
