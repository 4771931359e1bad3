"""Checks of sagas: names of steps, values that a template may not have, and the store."""

from collections.abc import Mapping

from proxy.config.cursor import Cursor
from proxy.config.model import Config
from proxy.config.problems import Mark, Path, Problems
from proxy.config.record import Given
from proxy.config.saga_model import SagaConfig, SagaRequest, SagaStep, is_given
from proxy.config.suggestions import did_you_mean
from proxy.templates import STEPS, Reference


def check_saga(saga: SagaConfig, given: Given, at: Cursor) -> None:
    """Report references that cannot have a value, and warn of those that may have none."""
    if saga.pivot is not None:
        _check_pivot(saga, given["pivot"])
    for step, place in zip(saga.steps, given["steps"].items() or (), strict=True):
        _check_request(saga, step, place.child("request"))
        if step.undo is not None:
            _check_undo(saga, step, step.undo, place.child("undo"))


def _check_pivot(saga: SagaConfig, at: Cursor) -> None:
    pivot = saga.pivot or ""
    if pivot not in saga.numbers:
        at.error(f"there is no step {pivot!r}{did_you_mean(pivot, saga.numbers)}")
    elif saga.steps[saga.numbers[pivot]].optional:
        at.error(f"{pivot!r} is optional: whether it works decides nothing")


def _of_steps(request: SagaRequest) -> list[Reference]:
    return [one for one in request.references if one.word == STEPS]


def _known(saga: SagaConfig, one: Reference, at: Cursor) -> int | None:
    """The step's number; an unknown one is reported."""
    number = saga.numbers.get(one.step)
    if number is None:
        hint = did_you_mean(one.step, saga.numbers)
        at.error(f"${{{one.text}}}: there is no step {one.step!r}{hint}")
    return number


def _check_request(saga: SagaConfig, step: SagaStep, at: Cursor) -> None:
    own = saga.numbers[step.name]
    for one in _of_steps(step.request):
        number = _known(saga, one, at)
        if number is None or one.key:
            continue
        if number >= own:
            at.error(
                f"${{{one.text}}} never has a value here: {one.step!r} comes "
                f"{'later' if number > own else 'from this request'}"
            )
        elif saga.steps[number].optional and not is_given(saga.steps[number].result):
            at.warning(
                f"${{{one.text}}} has no value if {one.step!r} fails, which is optional: give it a "
                "'result'"
            )


def _check_undo(saga: SagaConfig, step: SagaStep, undo: SagaRequest, at: Cursor) -> None:
    own = saga.numbers[step.name]
    if saga.pivot in saga.numbers and own > saga.numbers[saga.pivot]:
        at.warning(f"is never used: after the pivot {saga.pivot!r} nothing is undone")
        return
    for one in _of_steps(undo):
        number = _known(saga, one, at)
        if number is None or one.key or number < own:
            continue
        if number > own:
            at.warning(
                f"${{{one.text}}} has no value if the saga did not come as far as {one.step!r}: it "
                "would then be stuck"
            )
        else:
            at.warning(
                f"${{{one.text}}} is the answer of the step itself: if that answer never comes, "
                f"the saga is stuck; ${{steps.{step.name}.key}}, its Idempotency-Key, is always "
                "known"
            )


def check_sagas_have_store(config: Config, given: Mapping[Path, Mark], problems: Problems) -> None:
    """Sagas are kept in a store, and lost with the pod if that is not persistent."""
    if not config.sagas:
        return
    path: Path = ("sagas",)
    if config.store is None:
        message = "need a store: write store: {url: sqlite:/path/to/store.db}"
        problems.error(given[path], path, message)
    elif config.store.dies_with_pod:
        problems.warning(given[path], path, "are lost with the pod (store.persistent is false)")
