"""The keys of an outbox: what is accepted, what the caller gets, how it is delivered."""

from typing import Final

from proxy.config.cursor import Cursor
from proxy.config.fallback_keys import Reasons
from proxy.config.kinds import ENVIRONMENT, Choice, Duration, Integer, JsonSchema, Leaf, Text
from proxy.config.names import (
    HEADER_NAME,
    PATH,
    WRITTEN_HEADER,
    UpstreamName,
    check_header_name,
    check_header_value,
)
from proxy.config.policy_kinds import BACKOFF_KEYS, STATUS_LIST, check_max
from proxy.config.record import Field, Given, ListOf, Optional, PairsOf, Record, SetOf, Values
from proxy.config.suggestions import did_you_mean
from proxy.config.template_kinds import TemplateJson, TemplateText
from proxy.policies.backoff import BackoffConfig
from proxy.policies.outbox import (
    CREDENTIALS,
    NEVER_KEPT,
    AnswerConfig,
    OnDead,
    OutboxConfig,
    OutboxMode,
    ResultConfig,
)
from proxy.templates import BODY, ID, parse_pointer

_NO_ORDER: Final = "none"
_BY_HEADER: Final = "header:"
_BY_BODY: Final = "body:"


class OrderBy(Leaf[str]):
    wants = "none, header:NAME, or body:/pointer such as body:/orderId"

    def parse(self, text: str) -> str:
        if text == _NO_ORDER:
            return text
        if text.startswith(_BY_HEADER) and text != _BY_HEADER:
            return _BY_HEADER + check_header_name(text.removeprefix(_BY_HEADER)).lower()
        if text.startswith(_BY_BODY):
            parse_pointer(text.removeprefix(_BY_BODY))
            return text
        raise ValueError(f"must be {self.wants}, not {text!r}{did_you_mean(text, (_NO_ORDER,))}")

    def schema(self) -> JsonSchema:
        forms = {"type": "string", "pattern": "^(header:.+|body:/.*)$"}
        return {"anyOf": [{"const": _NO_ORDER}, forms, ENVIRONMENT]}


def _check_kept(text: str) -> str:
    name = text.lower()
    check_header_name(name.removesuffix("*") or "x")
    if name in NEVER_KEPT:
        what = "credentials are" if name in CREDENTIALS else "this field is"
        raise ValueError(f"{text!r} is never stored: {what} not data of the request")
    return name


def _check_credential(text: str) -> str:
    name = text.lower()
    if name not in CREDENTIALS:
        hint = did_you_mean(name, CREDENTIALS)
        raise ValueError(f"must be authorization or cookie, not {text!r}{hint}")
    return name


def _settle_answer(values: Values, given: Given, at: Cursor) -> None:
    if values["status"] in (204, 205, 304) and values["json"] is not None:
        at.error(f"an answer with status {values['status']} cannot have a body")


def answer_keys(words: tuple[str, ...]) -> Record[AnswerConfig]:
    """The keys of an answer whose templates may begin with these words."""
    return Record(
        AnswerConfig,
        {
            "status": Field(Integer(200, 299), "The status."),
            "headers": Field(
                PairsOf(
                    WRITTEN_HEADER,
                    TemplateText("a header value", words, check_header_value),
                    any_case=True,
                ),
                "Header fields; values may be templates.",
            ),
            "json": Field(
                TemplateJson(words),
                "The body as data, with templates. Default: id, state and accepted_at.",
            ),
        },
        settle=_settle_answer,
        sparse=True,
        definition="outbox_answer",
    )


ANSWER = answer_keys((ID, BODY))

RESULT = Record(
    ResultConfig,
    {
        "upstream": Field(UpstreamName(), "Where it is told.", required=True),
        "path": Field(PATH, "The path of the POST."),
    },
    sparse=True,
    definition="outbox_result",
)


class _Waits(Record[BackoffConfig]):
    """A retry's keys with longer waits."""

    @property
    def _defaults(self) -> Values:
        return self._values_of(OutboxConfig().backoff)


OUTBOX_BACKOFF = _Waits(BackoffConfig, BACKOFF_KEYS, check=check_max, definition="outbox_backoff")

DEAD_ON = Field(
    STATUS_LIST,
    "Statuses after which no other try is made. An answer with Retry-After, and 425, are never "
    "dead; 3xx always.",
)

OUTBOX = Record(
    OutboxConfig,
    {
        "mode": Field(
            Choice(OutboxMode),
            "always: accept every request; prefer: those that ask with Prefer: respond-async; "
            "on-failure: those whose ordinary exchange failed. GET, HEAD, OPTIONS, TRACE, CONNECT, "
            "upgrades and gRPC take no part.",
        ),
        "when": Field(
            Reasons(),
            "on-failure: the reasons of the proxy's answers, and statuses, after which it is "
            "accepted instead.",
            ("terms", "reasons", "outcomes"),
        ),
        "answer": Field(ANSWER, "What the caller gets; ${id} and ${body./pointer} are templates."),
        "order_by": Field(
            OrderBy(),
            "Entries with the same value are delivered one at a time, in the order of acceptance; "
            "without the value an entry has no order.",
        ),
        "on_dead": Field(
            Choice(OnDead), "block: a dead entry is parked, and its lane waits for an operator."
        ),
        "attempts": Field(Integer(0), "Tries until it is dead; 0: until max_age."),
        "max_age": Field(Duration(), "From the acceptance, or from not_before, until it is dead."),
        "backoff": Field(OUTBOX_BACKOFF, "The waits between tries."),
        "dead_on": DEAD_ON,
        "concurrency": Field(Integer(1, 10_000), "Tries at once."),
        "max_pending": Field(
            Integer(1), "Entries that are not finished; beyond it 503 outbox-full."
        ),
        "not_before": Field(
            HEADER_NAME,
            "The caller's header with the earliest time of delivery: a date, or seconds from now; "
            "at most max_age ahead.",
        ),
        "keep_headers": Field(
            ListOf(Text("a header name, or a prefix such as x-*", _check_kept), "header names"),
            "The fields that are stored; a name that contains key, token, secret, auth or session "
            "must be given in full.",
        ),
        "without": Field(
            SetOf(Text("authorization or cookie", _check_credential), "header names"),
            "Credentials that the receiver does not need: a request with one is accepted, and "
            "delivered without it. Else it is refused, because credentials are never stored.",
        ),
        "result": Field(Optional(RESULT), "Where it is told that an entry was delivered or died."),
        "keep_done": Field(Duration(zero=True), "How long a delivered entry is remembered."),
        "keep_dead": Field(Duration(zero=True), "How long a dead entry is kept."),
    },
    definition="outbox",
)
