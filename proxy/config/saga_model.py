"""Sagas as typed, immutable values: the definition, with its templates."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from proxy.outcome import OutcomeSet
from proxy.policies.backoff import BackoffConfig
from proxy.policies.outbox import ResultConfig
from proxy.policies.saga_rules import BACKOFF, DEAD_ON, SagaRules, StepRules, UndoRules
from proxy.templates import Reference, Template, Tree, references


class Nothing:
    """Marks a missing document, because null is a value."""


NOTHING: Final = Nothing()
DEFAULT_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class SagaRequest:
    """The request of a step, or its undo. `json` NOTHING: no body."""

    upstream: str
    path: Template
    method: str = "POST"
    headers: tuple[tuple[str, Template], ...] = ()
    json: Tree = NOTHING

    @property
    def references(self) -> Iterator[Reference]:
        """All that it takes from other documents."""
        yield from self.path.references
        for _, value in self.headers:
            yield from value.references
        yield from references(self.json)


@dataclass(frozen=True, slots=True)
class SagaStep:
    """One step. `result` is its answer for later steps if it failed and is optional."""

    name: str
    request: SagaRequest
    policy: str = "default"
    attempts: int = DEFAULT_ATTEMPTS
    max_age: float = 24 * 3600.0
    backoff: BackoffConfig = BACKOFF
    dead_on: OutcomeSet = DEAD_ON
    undo: SagaRequest | None = None
    optional: bool = False
    result: Tree = NOTHING

    @property
    def rules(self) -> StepRules:
        return StepRules(
            self.name,
            self.attempts,
            self.max_age,
            self.backoff,
            self.dead_on,
            undoable=self.undo is not None,
            optional=self.optional,
        )


@dataclass(frozen=True, slots=True)
class SagaAnswer:
    """The answer to a start. `json` NOTHING: id, state and accepted_at."""

    status: int = 202
    headers: tuple[tuple[str, Template], ...] = ()
    json: Tree = NOTHING


@dataclass(frozen=True, slots=True)
class SagaConfig:
    """One saga. `id`: the pointer into the input, None: the idempotency key, else a new UUID.

    `keep`: seconds for which an ended one is remembered.
    """

    name: str
    steps: tuple[SagaStep, ...]
    timeout: float = 300.0
    id: tuple[str, ...] | None = None
    pivot: str | None = None
    undo: UndoRules = UndoRules()
    answer: SagaAnswer = SagaAnswer()
    result: ResultConfig | None = None
    keep: float = 14 * 24 * 3600.0
    numbers: dict[str, int] = field(init=False, repr=False, compare=False, hash=False)
    """The place of each step, by name."""

    def __post_init__(self) -> None:
        numbers = {step.name: at for at, step in enumerate(self.steps)}
        if len(numbers) != len(self.steps) or not numbers:
            raise ValueError("steps need names of their own, and there must be one")
        object.__setattr__(self, "numbers", numbers)

    @property
    def rules(self) -> SagaRules:
        """For the state machine."""
        pivot = -1 if self.pivot is None else self.numbers[self.pivot]
        steps = tuple(step.rules for step in self.steps)
        return SagaRules(steps, self.timeout, pivot, self.undo)

    @property
    def requests(self) -> Iterator[tuple[SagaStep, SagaRequest]]:
        """Every request that it may send."""
        for step in self.steps:
            yield step, step.request
            if step.undo is not None:
                yield step, step.undo

    def wanted(self, step: str) -> set[tuple[str, ...]]:
        """The pointers into this step's answer that any request reads."""
        return {
            one.pointer
            for _, request in self.requests
            for one in request.references
            if one.word == "steps" and one.step == step and not one.key
        }


Sagas = dict[str, SagaConfig]


def is_given(document: Any) -> bool:
    """Whether this is a document, which may be null."""
    return not isinstance(document, Nothing)
