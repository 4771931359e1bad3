"""The keys of a fallback: when it applies, and what the client gets."""

import json
import re
from typing import Any

from proxy.config.cursor import Cursor, Reported
from proxy.config.document import Scalar, is_null
from proxy.config.kinds import ENVIRONMENT, Integer, JsonSchema, Kind, Leaf, Text
from proxy.config.names import WRITTEN_HEADER, UpstreamName, check_header_value
from proxy.config.policy_kinds import STATUS
from proxy.config.record import Field, Given, ListOf, PairsOf, Record, Values
from proxy.config.suggestions import did_you_mean
from proxy.policies.fallback import (
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
            raise ValueError(f"{text!r} is not a status{hint}" if hint else str(error)) from None
        return text

    def schema(self) -> JsonSchema:
        ranges = {"type": "string", "pattern": "^[2-5][0-9]{2}(-[2-5][0-9]{2})?$"}
        return {"anyOf": [{"enum": _words()}, STATUS, ranges, ENVIRONMENT]}


def _words() -> list[str]:
    return sorted({*reasons(), *groups(), "gateway-error", "5xx"})


class Reasons(Kind[Any]):
    """A list of reasons; the value is the list and the two sets that it means."""

    _list = ListOf(Reason(), "reasons and statuses", minimum=1)

    def read(self, at: Cursor, base: Any = None) -> Any:
        terms = self._list.read(at)
        return terms, *map(frozenset, expand(terms))

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
            return [self.read(item) for item in items]
        if members is not None:
            return {key: self.read(value) for key, (_, value) in members.items()}
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
        return json.loads(text) if _JSON_NUMBER.fullmatch(text) else text

    def dump(self, value: Any, reveal: bool) -> Any:
        return value

    def schema(self) -> JsonSchema:
        return {}


class _Nothing:
    """Marks a missing JSON body, because null is a value."""


NOTHING = _Nothing()


def _build_response(
    status: int, headers: tuple[tuple[str, str], ...], json_body: Any, body: str | None
) -> FallbackResponse:
    typed = any(name.lower() == "content-type" for name, _ in headers)
    content, content_type = b"", None
    if json_body is not NOTHING:
        text = json.dumps(json_body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        content, content_type = text.encode(), "application/json"
    elif body is not None:
        content, content_type = body.encode(), "text/plain; charset=utf-8"
    if content_type and not typed:
        headers = (*headers, ("content-type", content_type))
    return FallbackResponse(status, headers, content)


class Response(Record[FallbackResponse]):
    """A fixed answer: it replaces an inherited one, and is never merged with it."""

    def read(self, at: Cursor, base: FallbackResponse | None = None) -> FallbackResponse:
        given = at.entries(self.keys)
        members = at.members() or {}
        if "json" in members:  # even if it is null, which is JSON
            given["json"] = members["json"][1]
        return self.fill(given, at, None, status=200, headers=(), json_body=NOTHING, body=None)

    def dump(self, value: FallbackResponse, reveal: bool) -> dict[str, Any]:
        dumped = {"status": value.status, "headers": dict(value.headers)}
        return dumped | ({"body": value.body.decode()} if value.body else {})


def _settle_response(values: Values, given: Given, at: Cursor) -> None:
    if "json" in given and "body" in given:
        given["body"].error("give either 'json' or 'body'")
    has_body = values["json_body"] is not NOTHING or values["body"]
    if has_body and values["status"] in (204, 205, 304):
        at.error(f"an answer with status {values['status']} cannot have a body")


def _settle_fallback(values: Values, given: Given, at: Cursor) -> None:
    if "response" in given and "upstream" in given:
        given["upstream"].error("give either 'response' or 'upstream'")
    elif "response" in given:
        values["upstream"] = None
    elif "upstream" in given:
        values["response"] = None
    if values["response"] is None and values["upstream"] is None:
        at.error("needs a 'response' or an 'upstream'")
    if "terms" not in values:
        at.error("'when' is missing")
        raise Reported


_RESPONSE_KEYS = {
    "status": Field(Integer(200, 599), "The status; default 200."),
    "headers": Field(
        PairsOf(WRITTEN_HEADER, Text("a header value", check_header_value)),
        "Header fields of the answer.",
    ),
    "json": Field(Json(), "The body as data; content-type is application/json.", ("json_body",)),
    "body": Field(Text("the body as text"), "The body as text; content-type is text/plain."),
}

FALLBACK = Record(
    FallbackConfig,
    {
        "when": Field(
            Reasons(),
            "Reasons of the proxy's answers, timeout for all its timeouts, or statuses.",
            ("terms", "reasons", "statuses"),
        ),
        "response": Field(
            Response(_build_response, _RESPONSE_KEYS, settle=_settle_response),
            "A fixed answer; it replaces an inherited one as a whole.",
        ),
        "upstream": Field(UpstreamName(), "Instead of a response: one attempt at this upstream."),
    },
    settle=_settle_fallback,
    sparse=True,
    definition="fallback",
)
