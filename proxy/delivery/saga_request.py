"""Between a saga's definition and its tries: the request to send, and what its answer meant."""

from collections.abc import Collection
from typing import Any, Final

from proxy.config.saga_model import SagaRequest, is_given
from proxy.delivery.saga_record import NOT_KEPT, Accepted
from proxy.delivery.stored_request import StoredRequest, TryResult
from proxy.outcome import OutcomeSet
from proxy.policies.saga import Saga, Send
from proxy.policies.saga_rules import Effect, Phase, Told, judge_answer
from proxy.policies.saga_steps import StepState
from proxy.templates import Scope, Unusable, at_pointer, read_document, render_json

Pointers = Collection[tuple[str, ...]]
_PARTS: Final = "parts"
_WHOLE: Final = "whole"
_INJECTED: Final = "fault-injected"
"""Its status counts like an upstream's: what a fault tests is what happens."""


def key_of(saga_id: str, step: str, phase: Phase) -> str:
    """The Idempotency-Key of every try of a step's phase."""
    return f"{saga_id}/{step}/{phase.value}"


def scope_of(accepted: Accepted, saga: Saga) -> Scope:
    """The documents that templates read."""
    answers: dict[str, Any] = {}
    for definition, step in zip(accepted.saga.steps, saga.steps, strict=True):
        if step.do.state is StepState.DONE:
            if step.values:
                answers[definition.name] = step.values.get(_WHOLE, step.values.get(_PARTS))
        elif step.passed() and is_given(definition.result):
            answers[definition.name] = definition.result
    names = [step.name for step in accepted.saga.steps]
    return Scope(
        accepted.id,
        input=accepted.input,
        steps=answers,
        keys={name: key_of(accepted.id, name, Phase.DO) for name in names},
    )


def request_of(accepted: Accepted, send: Send) -> SagaRequest:
    """The definition's request."""
    step = accepted.saga.steps[send.step]
    if send.phase is Phase.DO:
        return step.request
    assert step.undo is not None  # only such a step is undone
    return step.undo


def render_request(
    accepted: Accepted,
    saga: Saga,
    send: Send,
    present: SagaRequest | None,
    *,
    token: str,
    address: tuple[str, str],
) -> StoredRequest:
    """The request of a step.

    `present`: the same request in the configuration of today, for header values that are not kept.
    `token`: the store's name of the saga, for logs. `address`: Host and scheme. Raises Unusable.
    """
    host, scheme = address
    request = request_of(accepted, send)
    scope = scope_of(accepted, saga)
    key = key_of(accepted.id, accepted.saga.steps[send.step].name, send.phase)
    body = render_json(request.json, scope) if is_given(request.json) else b""
    fields = _fields(request, present, scope)
    held = {name.encode(): [value.encode("latin-1")] for name, value in accepted.held.items()}
    return StoredRequest(
        request.method,
        request.path.path(scope),
        [(b"Idempotency-Key", key.encode()), *fields],
        body,
        host=host,
        scheme=scheme,
        held=held,
        saga=token,
        step=f"{accepted.saga.steps[send.step].name}/{send.phase.value}",
        number=saga.steps[send.step].progress(send.phase).attempts + 1,
    )


def _fields(
    request: SagaRequest, present: SagaRequest | None, scope: Scope
) -> list[tuple[bytes, bytes]]:
    """The fields of a step's request: those of its definition, and for JSON what they leave out."""
    fields = []
    names = {name.lower() for name, _ in request.headers}
    if is_given(request.json) and "content-type" not in names:
        fields.append((b"Content-Type", b"application/json"))
    if "accept" not in names:
        fields.append((b"Accept", b"application/json"))
    today = {} if present is None else {name.lower(): value for name, value in present.headers}
    for name, value in request.headers:
        if not value.parts:
            value = today.get(name.lower(), NOT_KEPT)
            if not value.parts:
                raise Unusable(f"the header {name} is not in the present configuration")
        fields.append((name.encode("latin-1"), value.header(scope)))
    return fields


def told_of(
    phase: Phase, result: TryResult, dead_on: OutcomeSet, wanted: Pointers, most: int
) -> Told:
    """What a try means for its saga. `most`: the bytes of a body that were wanted."""
    if result.postponed:
        wait = result.retry_after or 0.0
        return Told(Effect.NONE, reason=result.reason, spends=False, retry_after=wait)
    if result.reason and result.reason != _INJECTED:
        effect = Effect.UNKNOWN if result.sent else Effect.NONE
        return Told(effect, result.status, result.reason)
    values: dict[str, Any] = {}
    if wanted and 200 <= result.status < 300:
        if not result.complete and len(result.body) < most:
            return Told(Effect.UNKNOWN, result.status, "upstream-truncated")
        values = values_of(result.body, wanted) if result.complete else {}
    return judge_answer(
        phase,
        result.status,
        dead_on,
        retry_after=result.retry_after,
        undecided=result.unknown,
        seen=result.seen,
        values=values,
    )


def values_of(body: bytes, wanted: Pointers) -> dict[str, Any]:
    """Of an answer, the parts that templates read; nothing if it is not JSON."""
    try:
        document = read_document(body)
    except Unusable:
        return {}
    if () in wanted:
        return {_WHOLE: document}
    parts: dict[str, Any] = {}
    taken: set[tuple[str, ...]] = set()
    for pointer in sorted(wanted, key=len):
        if any(pointer[: len(one)] == one for one in taken):
            continue  # a part of one that is here
        try:
            value = at_pointer(document, pointer)
        except Unusable:
            continue
        below = parts
        for token in pointer[:-1]:
            below = below.setdefault(token, {})
        below[pointer[-1]] = value
        taken.add(pointer)
    return {_PARTS: parts} if parts else {}
