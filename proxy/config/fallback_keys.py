"""The keys of a fallback: when it applies, and what the client gets."""

import json
import re
from dataclasses import dataclass, replace
from math import isinf
from typing import Any

from proxy.config.cursor import Cursor, Reported, read_all
from proxy.config.document import Scalar, is_null
from proxy.config.kinds import (
    ENVIRONMENT,
    Boolean,
    Integer,
    JsonSchema,
    Kind,
    Leaf,
    Text,
    words_schema,
)
from proxy.config.names import WRITTEN_HEADER, UpstreamName, check_header_value
from proxy.config.policy_kinds import STATUS, family_meant
from proxy.config.record import Field, Given, ListOf, PairsOf, Record, Values
from proxy.config.suggestions import did_you_mean
from proxy.grpc_status import NO_GRPC, WORDS, code_of, to_http_answer
from proxy.policies.fallback import (
    STATUS_WORDS,
    FallbackConfig,
    FallbackResponse,
    expand,
    groups,
    reasons,
)


class Reason(Leaf[str]):
    """A reason of the proxy's answers, a group of reasons, or a status."""

    wants = "a reason such as circuit-open, or a status"

    def parse(self, text: str) -> str:
        try:
            expand((text,))
        except ValueError as error:
            hint = did_you_mean(text, _words())
            if text.lower() not in STATUS_WORDS:
                hint = family_meant(text) or hint
            raise ValueError(f"{text!r} is not a status{hint}" if hint else str(error)) from None
        return text

    def schema(self) -> JsonSchema:
        ranges = {"type": "string", "pattern": "^[2-5][0-9]{2}(-[2-5][0-9]{2})?$"}
        return {"anyOf": [{"enum": _words()}, STATUS, ranges, ENVIRONMENT]}


def _words() -> list[str]:
    return sorted({*reasons(), *groups(), *STATUS_WORDS})


class Reasons(Kind[Any]):
    """A list of reasons and statuses; the value is the list and the two sets that it means."""

    _list = ListOf(Reason(), "reasons and statuses", minimum=1)

    def read(self, at: Cursor, base: Any = None) -> Any:
        terms = self._list.read(at)
        return terms, *expand(terms)

    def dump(self, value: Any, reveal: bool) -> list[Any]:
        return [int(term) if term.isdigit() else term for term in value[0]]

    def schema(self) -> JsonSchema:
        return self._list.schema()


_JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]+)?([eE][-+]?[0-9]{1,3})?")
_JSON_WORDS = {"true": True, "false": False}


class Json(Kind[Any]):
    """Any data. A plain scalar that is valid JSON is that value, else text (``no``, ``007``)."""

    def read(self, at: Cursor, base: Any = None) -> Any:
        items, members = at.items(), at.members()
        if items is not None:
            return read_all(items, self.read)
        if members is not None:
            values = read_all((value for _, value in members.values()), self.read)
            return dict(zip(members, values, strict=True))
        found = at.text()
        assert found is not None  # a node is a list, a mapping or a scalar
        text, quoted = found
        if isinstance(at.node, Scalar) and at.node.quoted:
            quoted = True
        if quoted:
            return text
        if is_null(Scalar(at.mark, text, False)):
            return None
        if text in _JSON_WORDS:
            return _JSON_WORDS[text]
        if not _JSON_NUMBER.fullmatch(text):
            return text
        number = json.loads(text)
        if isinf(number):
            raise at.error(f"{text} is beyond the numbers of JSON; in quotes it is a text")
        return number

    def dump(self, value: Any, reveal: bool) -> Any:
        return value

    def schema(self) -> JsonSchema:
        return {}


class _Nothing:
    """Marks a missing JSON body, because null is a value."""


NOTHING = _Nothing()


class GrpcStatus(Leaf[int]):
    """The name of a gRPC status, such as ``unavailable``."""

    wants = "the name of a gRPC status such as unavailable"

    def parse(self, text: str) -> int:
        code = code_of(text.lower().replace("_", "-"))
        if code is None:
            number = int(text) if text.isascii() and text.isdigit() and len(text) < 3 else -1
            known = number in range(len(WORDS))
            hint = f"; did you mean {WORDS[number]}?" if known else did_you_mean(text, WORDS)
            raise ValueError(f"must be {self.wants}, not {text!r}{hint}")
        return code

    def dump(self, value: int, reveal: bool) -> str:
        return WORDS[value]

    def schema(self) -> JsonSchema:
        return {"anyOf": [words_schema(WORDS), ENVIRONMENT]}


@dataclass(frozen=True, slots=True)
class _GrpcAnswer:
    """What a gRPC caller gets."""

    status: int
    message: str = ""


GRPC_ANSWER = Record(
    _GrpcAnswer,
    {
        "status": Field(GrpcStatus(), "The status, such as unavailable.", required=True),
        "message": Field(Text("a message", blank=True), "The message; a sentence for people."),
    },
    sparse=True,
    definition="grpc_answer",
)


def _build_response(
    status: int | None,
    headers: tuple[tuple[str, str], ...],
    json_body: Any,
    body: str | None,
    grpc: _GrpcAnswer | None,
) -> FallbackResponse:
    if status is None:
        status = 200 if grpc is None else to_http_answer(grpc.status)
    typed = any(name.lower() == "content-type" for name, _ in headers)
    content, content_type = b"", None
    if json_body is not NOTHING:
        text = json.dumps(json_body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        content, content_type = text.encode(), "application/json"
    elif body is not None:
        content, content_type = body.encode(), "text/plain; charset=utf-8"
    if content_type and not typed:
        headers = (*headers, ("content-type", content_type))
    if grpc is None:
        return FallbackResponse(status, headers, content)
    return FallbackResponse(status, headers, content, grpc.status, grpc.message)


class Response(Record[FallbackResponse]):
    """A fixed answer: it replaces an inherited one, and is never merged with it."""

    def read(self, at: Cursor, base: FallbackResponse | None = None) -> FallbackResponse:
        given = at.entries(self.keys)
        members = at.members() or {}
        if "json" in members:  # even if it is null, which is JSON
            given["json"] = members["json"][1]
        nothing = {"json_body": NOTHING, "body": None, "grpc": None}
        return self.fill(given, at, None, status=None, headers=(), **nothing)

    def dump(self, value: FallbackResponse, reveal: bool) -> dict[str, Any]:
        dumped: dict[str, Any] = {"status": value.status, "headers": dict(value.headers)}
        if value.body:
            dumped["body"] = value.body.decode()
        if value.grpc != NO_GRPC:
            answer = _GrpcAnswer(value.grpc, value.message)
            dumped["grpc"] = GRPC_ANSWER.dump(answer, reveal)
        return dumped


def _settle_response(values: Values, given: Given, at: Cursor) -> None:
    if "json" in given and "body" in given:
        given["body"].error("give either 'json' or 'body'")
    has_body = values["json_body"] is not NOTHING or values["body"]
    if has_body and values["status"] in (204, 205, 304):
        at.error(f"an answer with status {values['status']} cannot have a body")


class Fallback(Record[FallbackConfig]):
    """Its key `grpc` is short for that of `response`: no attribute, and never written back."""

    def fill(
        self, given: Given, at: Cursor, base: FallbackConfig | None = None, **fixed: Any
    ) -> FallbackConfig:
        return super().fill(given, at, base, grpc=None, **fixed)

    def _member(self, value: Any, field: Field) -> Any:
        return None if field.attributes == ("grpc",) else super()._member(value, field)


def _add_grpc(values: Values, given: Given) -> None:
    """The response with what gRPC callers get; without one, other callers get its status alone."""
    grpc: _GrpcAnswer = values["grpc"]
    response: FallbackResponse | None = values["response"]
    if response is None:
        response = FallbackResponse(to_http_answer(grpc.status))
    elif "response" in given and response.grpc != NO_GRPC:
        given["grpc"].error("'response' has it already")
    values["response"] = replace(response, grpc=grpc.status, message=grpc.message)


def _settle_fallback(values: Values, given: Given, at: Cursor) -> None:
    if "grpc" in given:
        if "upstream" in given:
            given["upstream"].error("give either 'grpc' or 'upstream'")
        else:
            values["upstream"] = None
            _add_grpc(values, given)
    del values["grpc"]
    if "response" in given and "upstream" in given:
        given["upstream"].error("give either 'response' or 'upstream'")
    elif "response" in given:
        values["upstream"] = None
    elif "upstream" in given:
        values["response"] = None
    if values["outbox"] and values["response"] is None and values["upstream"] is not None:
        given.get("outbox", given.get("upstream", at)).error(
            "'outbox' needs a 'response'; what another upstream took is not delivered again"
        )
    if values["response"] is None and values["upstream"] is None:
        at.error("needs a 'response' or an 'upstream'")
    if "terms" not in values:
        at.error("'when' is missing")
        raise Reported


_RESPONSE_KEYS = {
    "status": Field(Integer(200, 599), "The status; default 200, or that of `grpc`."),
    "headers": Field(
        PairsOf(
            WRITTEN_HEADER, Text("a header value", check_header_value, blank=True), any_case=True
        ),
        "Header fields of the answer.",
    ),
    "json": Field(Json(), "The body as data; content-type is application/json.", ("json_body",)),
    "body": Field(
        Text("the body as text", blank=True), "The body as text; content-type is text/plain."
    ),
    "grpc": Field(
        GRPC_ANSWER, "For gRPC callers, who cannot read a body; other callers get its HTTP status."
    ),
}

RESPONSE = Response(_build_response, _RESPONSE_KEYS, settle=_settle_response)

FALLBACK = Fallback(
    FallbackConfig,
    {
        "when": Field(
            Reasons(),
            "Reasons of the proxy's answers, timeout for all its timeouts, statuses, or those of "
            "gRPC (grpc-unavailable).",
            ("terms", "reasons", "outcomes"),
        ),
        "response": Field(
            RESPONSE,
            "A fixed answer; it replaces an inherited one as a whole.",
        ),
        "grpc": Field(
            GRPC_ANSWER, "Short for the grpc of `response`; alone it is the whole response."
        ),
        "upstream": Field(UpstreamName(), "Instead of a response: one attempt at this upstream."),
        "outbox": Field(
            Boolean(),
            "Accept the request and deliver it later, as `outbox` says; the response is given only "
            "if that is stored. Needs a store.",
        ),
    },
    settle=_settle_fallback,
    sparse=True,
    definition="fallback",
)
