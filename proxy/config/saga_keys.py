"""The keys of sagas: their steps, requests and templates."""

import re
from typing import Any

from proxy.config.cursor import Cursor, Reported
from proxy.config.kinds import (
    Boolean,
    Duration,
    Integer,
    JsonSchema,
    Kind,
    Leaf,
    Text,
)
from proxy.config.names import (
    METHOD,
    NAME,
    PolicyName,
    UpstreamName,
)
from proxy.config.outbox_keys import OUTBOX_BACKOFF, RESULT
from proxy.config.policy_kinds import STATUS_LIST
from proxy.config.record import Field, Given, NamedRecords, Optional, Record, Values
from proxy.config.request_templates import PathTemplate, header_templates
from proxy.config.saga_checks import check_saga
from proxy.config.saga_model import (
    SagaAnswer,
    SagaConfig,
    SagaRequest,
    SagaStep,
    is_given,
)
from proxy.config.template_kinds import TemplateJson
from proxy.policies.saga_rules import UndoRules
from proxy.templates import ID, INPUT, STEPS, parse_pointer

_STEP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_IN_STEPS = (ID, INPUT, STEPS)
_IN_ANSWER = (ID, INPUT)


def _check_step_name(text: str) -> str:
    if not _STEP_NAME.fullmatch(text):
        raise ValueError(
            f"{text!r} is not usable as a step's name: letters, digits, '_' and '-', at most 64, "
            "a letter or digit first"
        )
    return text


class _Document(TemplateJson):
    """Data that may be missing, which null is not."""

    def dump(self, value: Any, reveal: bool) -> Any:
        return super().dump(value, reveal) if is_given(value) else None


class SagaId(Leaf[tuple[str, ...]]):
    """``body:/orderId``: where a saga's id is in its input."""

    wants = "body: and a JSON pointer such as body:/orderId"

    def parse(self, text: str) -> tuple[str, ...]:
        if not text.startswith("body:"):
            raise ValueError(f"must be {self.wants}, not {text!r}")
        return parse_pointer(text.removeprefix("body:"))

    def dump(self, value: tuple[str, ...], reveal: bool) -> str:
        tokens = (token.replace("~", "~0").replace("/", "~1") for token in value)
        return "body:/" + "/".join(tokens)

    def schema(self) -> JsonSchema:
        return {"type": "string", "pattern": r"^body:/|\$\{"}


class _RequestRecord(Record[SagaRequest]):
    """Without `json` there is no body."""

    def dump(self, value: SagaRequest, reveal: bool) -> dict[str, Any]:
        dumped = super().dump(value, reveal)
        if not is_given(value.json):
            dumped.pop("json", None)
        return dumped


def _settle_request(values: Values, given: Given, at: Cursor) -> None:
    names = {name.lower() for name, _ in values["headers"]}
    if names & {"idempotency-key", "x-idempotency-key"}:
        given["headers"].error("Idempotency-Key is the saga's: the same on every try of a step")


REQUEST = _RequestRecord(
    SagaRequest,
    {
        "method": Field(METHOD, "The method; default POST."),
        "upstream": Field(UpstreamName(), "Where it is sent.", required=True),
        "path": Field(
            PathTemplate("/api/reserve", _IN_STEPS),
            "Path and query; the values of templates are percent-encoded.",
            required=True,
        ),
        "headers": Field(header_templates(_IN_STEPS), "Header fields to send."),
        "json": Field(_Document(_IN_STEPS), "The body as data; default: no body."),
    },
    settle=_settle_request,
    sparse=True,
    definition="saga_request",
)


def _settle_step(values: Values, given: Given, at: Cursor) -> None:
    if "result" in given and not values["optional"]:
        given["result"].warning("has no effect: only a step with optional: true may fail")


class _StepRecord(Record[SagaStep]):
    def dump(self, value: SagaStep, reveal: bool) -> dict[str, Any]:
        dumped = super().dump(value, reveal)
        if not is_given(value.result):
            dumped.pop("result", None)
        return dumped


STEP = _StepRecord(
    SagaStep,
    {
        "name": Field(
            Text("a name", _check_step_name), "Unique in the saga; label of metrics.", required=True
        ),
        "request": Field(REQUEST, "The request that does the step.", required=True),
        "policy": Field(
            PolicyName(),
            "The policy of each try: timeouts, breaker, bulkhead, and retries within the try.",
        ),
        "attempts": Field(Integer(0), "Maximum tries; 0: until max_age."),
        "max_age": Field(Duration(), "The time from the first try after which it has failed."),
        "backoff": Field(OUTBOX_BACKOFF, "The waits between tries."),
        "dead_on": Field(
            STATUS_LIST, "Statuses after which another try has no use; never with Retry-After."
        ),
        "undo": Field(REQUEST, "The request that undoes it; default: there is nothing to undo."),
        "optional": Field(Boolean(), "true: if it fails, the saga goes on."),
        "result": Field(
            _Document(()), "Its answer for later steps if it has failed and is optional."
        ),
    },
    settle=_settle_step,
    sparse=True,
    definition="saga_step",
)


class Steps(Kind[tuple[SagaStep, ...]]):
    """Steps in their order, with unique names."""

    def read(self, at: Cursor, base: tuple[SagaStep, ...] | None = None) -> tuple[SagaStep, ...]:
        cursors = at.with_templates().items()
        if cursors is None:
            raise at.error("must be a list of steps; each begins with '- name:'")
        steps: dict[str, SagaStep] = {}
        whole = True
        for cursor in cursors:
            try:
                step = STEP.read(cursor)
            except Reported:
                whole = False
                continue
            if step.name in steps:
                cursor.child("name").error(f"there is already a step named {step.name!r}")
                whole = False
            steps[step.name] = step
        if whole and not steps:
            raise at.error("a saga needs at least one step")
        if not whole:
            raise Reported
        return tuple(steps.values())

    def dump(self, value: tuple[SagaStep, ...], reveal: bool) -> list[Any]:
        return [STEP.dump(step, reveal) for step in value]

    def schema(self) -> JsonSchema:
        return {"type": "array", "minItems": 1, "items": STEP.schema()}


UNDO = Record(
    UndoRules,
    {
        "attempts": Field(Integer(0), "Maximum tries of each undo; 0: until max_age."),
        "max_age": Field(
            Duration(), "The time from an undo's first try after which the saga is stuck."
        ),
        "backoff": Field(OUTBOX_BACKOFF, "The waits between tries."),
    },
)


class _AnswerRecord(Record[SagaAnswer]):
    def read(self, at: Cursor, base: SagaAnswer | None = None) -> SagaAnswer:
        return super().read(at.with_templates(), base)

    def dump(self, value: SagaAnswer, reveal: bool) -> dict[str, Any]:
        dumped = super().dump(value, reveal)
        if not is_given(value.json):
            dumped.pop("json", None)
        return dumped


ANSWER = _AnswerRecord(
    SagaAnswer,
    {
        "status": Field(Integer(200, 299), "The status; default 202."),
        "headers": Field(header_templates(_IN_ANSWER), "Header fields of the answer."),
        "json": Field(
            _Document(_IN_ANSWER),
            "The body as data, with ${id} and ${input./pointer}; default: id, state and "
            "accepted_at.",
        ),
    },
    sparse=True,
    definition="saga_answer",
)

SAGA = Record(
    SagaConfig,
    {
        "timeout": Field(
            Duration(), "The time after which it is undone, unless it is past its pivot."
        ),
        "id": Field(
            SagaId(),
            "Where its id is in the input; default: the idempotency key, else a new UUID.",
        ),
        "steps": Field(Steps(), "What is done, in this order.", required=True),
        "pivot": Field(
            Text("the name of a step"),
            "The step after which nothing is undone: later steps are tried until they work.",
        ),
        "undo": Field(UNDO, "How long each undo is tried."),
        "answer": Field(ANSWER, "The answer to the request that starts it."),
        "result": Field(
            Optional(RESULT), "Where it is told how it ended, by the outbox; default: nowhere."
        ),
        "keep": Field(Duration(), "How long it is remembered after its end."),
    },
    check=check_saga,
    definition="saga",
)


class SagasKind(NamedRecords[SagaConfig]):
    """Sagas by name."""

    def __init__(self) -> None:
        super().__init__(NAME, SAGA)

    def _announce(self, at: Cursor, names: tuple[str, ...]) -> None:
        at.reading.sagas = names
