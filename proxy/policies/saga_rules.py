"""Saga rules: what a saga's state machine must know of its definition, and what a try meant.

Only judgements are here: the requests and their templates belong to the part that sends them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from proxy.outcome import OutcomeSet
from proxy.policies.backoff import BackoffConfig

DEAD_ON: Final = OutcomeSet(("400-407", "409-424", "426-428", "431-499"))
"""Statuses that another try would not change."""
BACKOFF: Final = BackoffConfig(initial=1.0, max=300.0)


@dataclass(frozen=True, slots=True)
class StepRules:
    """One step. `attempts` 0: no limit but `max_age`, in seconds from its first try.

    `undoable`: it has an undo. `optional`: the saga goes on if it fails.
    """

    name: str
    attempts: int = 5
    max_age: float = 24 * 3600.0
    backoff: BackoffConfig = BACKOFF
    dead_on: OutcomeSet = DEAD_ON
    undoable: bool = False
    optional: bool = False


@dataclass(frozen=True, slots=True)
class UndoRules:
    """How long each undo is tried."""

    attempts: int = 0
    max_age: float = 24 * 3600.0
    backoff: BackoffConfig = BACKOFF


@dataclass(frozen=True, slots=True)
class SagaRules:
    """At least one step, with unique names. `timeout` in seconds.

    `pivot`: the number of the step after which nothing is undone, -1: none.
    """

    steps: tuple[StepRules, ...]
    timeout: float = 300.0
    pivot: int = -1
    undo: UndoRules = UndoRules()


class Phase(Enum):
    DO = "do"
    UNDO = "undo"


class Effect(Enum):
    """What a try did at the upstream, as far as its answer says."""

    DONE = "done"
    NONE = "none"
    """Nothing was sent, or the answer says that nothing was done."""
    DOUBTFUL = "doubtful"
    """The upstream answered with its own fault, and may have done some of it."""
    UNKNOWN = "unknown"
    """It was sent, and no answer of the upstream came."""


@dataclass(frozen=True, slots=True)
class Told:
    """How one try ended.

    `status` is 0 without an answer, and `reason` then says why. `final`: another try would change
    nothing. `spends`: it counts against `attempts`; a refusal of the proxy itself does not.
    `retry_after` in seconds. `values`: what later steps need of the answer.
    """

    effect: Effect
    status: int = 0
    reason: str = ""
    final: bool = False
    spends: bool = True
    retry_after: float = 0.0
    values: Mapping[str, Any] = field(default_factory=dict)


DOUBT: Final = (Effect.NONE, Effect.DOUBTFUL, Effect.UNKNOWN)
"""What a try without success may have done, the worst last."""
_GONE: Final = frozenset({404, 409, 410})
_NO_ANSWER: Final = frozenset({0, 408, 502, 504})
_REFUSED: Final = frozenset({501, 503})


def judge_answer(
    phase: Phase,
    status: int,
    dead_on: OutcomeSet,
    *,
    retry_after: float | None = None,
    undecided: bool = False,
    seen: Sequence[int] = (),
    values: Mapping[str, Any] | None = None,
) -> Told:
    """The meaning of a whole answer of the upstream.

    `retry_after` is None without that field. `undecided`: the receiver is this proxy and does not
    know what became of an earlier request with the same key, or still waits for it. `seen`: the
    statuses of all attempts of this try that a service may have seen, 0 for one without an answer.
    """
    if 200 <= status < 300:
        return Told(Effect.DONE, status, values=values or {})
    wait = retry_after or 0.0
    if undecided:
        return Told(Effect.UNKNOWN, status, retry_after=wait)
    if phase is Phase.UNDO and status in _GONE and (status != 409 or retry_after is None):
        return Told(Effect.DONE, status, reason="nothing-to-undo")
    dead = 300 <= status < 400 or status in dead_on.statuses
    final = dead and retry_after is None and status != 425
    effect = max(map(_effect_of, (status, *seen)), key=DOUBT.index)
    return Told(effect, status, final=final, retry_after=wait)


def _effect_of(status: int) -> Effect:
    if status in _NO_ANSWER:
        return Effect.UNKNOWN
    if status < 500 or status in _REFUSED:
        return Effect.NONE
    return Effect.DOUBTFUL
