"""What is committed of a saga: its definition, its input and the trace that it belongs to.

This part never changes after the start, so a saga that runs keeps its definition over reloads and
releases. The changing part, the journal, is `policies.saga.Saga.dump`.

A template is kept as ``{"$t": [text, {"ref": text}, …]}``, an object of data as ``{"$d": {…}}``.
Values of header fields that may be credentials are not kept: they are taken from the configuration
when a request is sent.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from proxy.config.model import Listener
from proxy.config.saga_model import (
    NOTHING,
    SagaConfig,
    SagaRequest,
    SagaStep,
    is_given,
)
from proxy.outcome import OutcomeSet
from proxy.policies.backoff import BackoffConfig, Jitter, JitterKind
from proxy.policies.outbox import ResultConfig
from proxy.policies.saga_rules import UndoRules
from proxy.templates import Template, Tree, parse_reference

NOT_KEPT: Final = Template(())
"""The value of a header field that is not kept."""
_CREDENTIAL: Final = re.compile(r"key|token|secret|auth|session|cookie|password", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The part of a saga that never changes.

    `listener`: where it was started. `held`: the trace's fields and X-Request-Id of its start.
    """

    id: str
    saga: SagaConfig
    input: Any
    held: Mapping[str, str]
    listener: Listener = Listener.INBOUND


def pack(accepted: Accepted) -> bytes:
    """As bytes for the store."""
    saga = accepted.saga
    kept = {
        "id": accepted.id,
        "saga": {
            "name": saga.name,
            "timeout": saga.timeout,
            "pivot": saga.pivot,
            "undo": [saga.undo.attempts, saga.undo.max_age, _backoff(saga.undo.backoff)],
            "result": None if saga.result is None else [saga.result.upstream, saga.result.path],
            "keep": saga.keep,
            "steps": [_step(step) for step in saga.steps],
        },
        "input": accepted.input,
        "held": accepted.held,
        "listener": accepted.listener.value,
    }
    return json.dumps(kept, ensure_ascii=True, separators=(",", ":")).encode()


def unpack(kept: bytes) -> Accepted:
    """The opposite of `pack`."""
    found = json.loads(kept)
    saga = found["saga"]
    attempts, max_age, backoff = saga["undo"]
    target = saga["result"]
    config = SagaConfig(
        saga["name"],
        tuple(_read_step(step) for step in saga["steps"]),
        timeout=saga["timeout"],
        pivot=saga["pivot"],
        undo=UndoRules(attempts, max_age, _read_backoff(backoff)),
        result=None if target is None else ResultConfig(*target),
        keep=saga["keep"],
    )
    return Accepted(found["id"], config, found["input"], found["held"], Listener(found["listener"]))


def _step(step: SagaStep) -> dict[str, Any]:
    return {
        "name": step.name,
        "request": _request(step.request),
        "policy": step.policy,
        "attempts": step.attempts,
        "max_age": step.max_age,
        "backoff": _backoff(step.backoff),
        "dead_on": list(step.dead_on.terms),
        "undo": None if step.undo is None else _request(step.undo),
        "optional": step.optional,
        **({"result": _tree(step.result)} if is_given(step.result) else {}),
    }


def _read_step(kept: Mapping[str, Any]) -> SagaStep:
    undo = kept["undo"]
    return SagaStep(
        kept["name"],
        _read_request(kept["request"]),
        policy=kept["policy"],
        attempts=kept["attempts"],
        max_age=kept["max_age"],
        backoff=_read_backoff(kept["backoff"]),
        dead_on=OutcomeSet(kept["dead_on"]),
        undo=None if undo is None else _read_request(undo),
        optional=kept["optional"],
        result=_read_tree(kept["result"]) if "result" in kept else NOTHING,
    )


def _request(request: SagaRequest) -> dict[str, Any]:
    headers = [
        [name, None if _CREDENTIAL.search(name) else _template(value)]
        for name, value in request.headers
    ]
    return {
        "method": request.method,
        "upstream": request.upstream,
        "path": _template(request.path),
        "headers": headers,
        **({"json": _tree(request.json)} if is_given(request.json) else {}),
    }


def _read_request(kept: Mapping[str, Any]) -> SagaRequest:
    headers = tuple(
        (name, NOT_KEPT if value is None else _read_template(value))
        for name, value in kept["headers"]
    )
    return SagaRequest(
        kept["upstream"],
        _read_template(kept["path"]),
        method=kept["method"],
        headers=headers,
        json=_read_tree(kept["json"]) if "json" in kept else NOTHING,
    )


def _backoff(backoff: BackoffConfig) -> list[Any]:
    jitter = backoff.jitter
    return [backoff.initial, backoff.multiplier, backoff.max, jitter.kind.value, jitter.ratio]


def _read_backoff(kept: list[Any]) -> BackoffConfig:
    initial, multiplier, longest, kind, ratio = kept
    return BackoffConfig(initial, multiplier, longest, Jitter(JitterKind(kind), ratio))


def _template(template: Template) -> list[Any]:
    return [part if isinstance(part, str) else {"ref": part.text} for part in template.parts]


def _read_template(kept: list[Any]) -> Template:
    parts = []
    for part in kept:
        read = part if isinstance(part, str) else parse_reference(part["ref"])
        assert read is not None  # it was one when it was kept
        parts.append(read)
    return Template(tuple(parts))


def _tree(tree: Tree) -> Any:
    if isinstance(tree, Template):
        return {"$t": _template(tree)}
    if isinstance(tree, dict):
        return {"$d": {key: _tree(value) for key, value in tree.items()}}
    if isinstance(tree, list | tuple):
        return [_tree(value) for value in tree]
    return tree


def _read_tree(kept: Any) -> Tree:
    if isinstance(kept, dict):
        if "$t" in kept:
            return _read_template(kept["$t"])
        return {key: _read_tree(value) for key, value in kept["$d"].items()}
    if isinstance(kept, list):
        return [_read_tree(value) for value in kept]
    return kept
