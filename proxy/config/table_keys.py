"""The keys of `outbox_tables`: a table of the service's own, whose rows are delivered."""

from typing import Final

from proxy.config.cursor import Cursor
from proxy.config.kinds import (
    ENVIRONMENT,
    Choice,
    Duration,
    Integer,
    JsonSchema,
    Leaf,
    Text,
    words_schema,
)
from proxy.config.names import (
    METHOD,
    NAME,
    PolicyName,
    SagaName,
    UpstreamName,
)
from proxy.config.outbox_keys import DEAD_ON, OUTBOX_BACKOFF
from proxy.config.postgres_url import check_postgres_url, without_password
from proxy.config.record import Field, Given, NamedRecords, Optional, Record, Values
from proxy.config.request_templates import PathTemplate, header_templates
from proxy.config.suggestions import did_you_mean
from proxy.config.table_checks import check_table
from proxy.config.table_model import (
    BY_KEY,
    TableColumns,
    TableConfig,
    TableName,
    TableStates,
    TableTarget,
)
from proxy.policies.outbox import OnDead, OutboxConfig
from proxy.templates import BODY, ID

_LONGEST_NAME: Final = 63
"""Bytes of an identifier; PostgreSQL would cut a longer one off."""
_WORDS: Final = (ID, BODY)


def check_identifier(text: str) -> str:
    """A name of PostgreSQL's, to be compared exactly. Raises ValueError."""
    if not text or "\0" in text or not text.isprintable():
        raise ValueError(f"{text!r} is not a name")
    if len(text.encode()) > _LONGEST_NAME:
        raise ValueError(f"{text!r} is longer than {_LONGEST_NAME} bytes")
    return text


def _check_column(text: str) -> str:
    if text.startswith('"'):
        raise ValueError(f"{text}: write the name without quotes; upper and lower case count")
    return check_identifier(text)


def _check_state(text: str) -> str:
    if not text or not text.isprintable() or "\\" in text:
        raise ValueError(f"{text!r} cannot be a value of the status column")
    return text


class _TableNameKind(Leaf[TableName]):
    wants = "the name of a table, or SCHEMA.TABLE"

    def parse(self, text: str) -> TableName:
        schema, dot, name = text.rpartition(".")
        if "." in schema or (dot and not schema):
            raise ValueError(f"must be {self.wants}, not {text!r}; the database is in the url")
        return TableName(_check_column(name), _check_column(schema) if dot else "")

    def dump(self, value: TableName, reveal: bool) -> str:
        return str(value)

    def schema(self) -> JsonSchema:
        return {"anyOf": [{"type": "string", "pattern": r"^([^.]+\.)?[^.]+$"}, ENVIRONMENT]}


class PostgresUrl(Text):
    """The URL of a PostgreSQL database; its password is hidden."""

    def __init__(self) -> None:
        super().__init__("a URL such as postgresql://USER@HOST:5432/DATABASE", check_postgres_url)

    def dump(self, value: str, reveal: bool) -> str:
        return value if reveal else without_password(value)


_COLUMN: Final = Text("the name of a column", _check_column)
_STATE: Final = Text("a value of the status column", _check_state)


def _column(doc: str, *, required: bool = False) -> Field:
    return Field(_COLUMN, doc, required=required)


COLUMNS = Record(
    TableColumns,
    {
        "id": _column("Unique; the idempotency key is made of it.", required=True),
        "key": _column("Rows with the same value are delivered in their order (order_by: key)."),
        "type": _column("Sent as X-Outbox-Type."),
        "body": _column("json, jsonb, text or bytea: what is delivered.", required=True),
        "status": _column("A text or an enum with the values of `states`.", required=True),
        "created": _column("The order of rows with one key, and their age; default: by id."),
        "attempts": _column("A whole number: tries that were made."),
        "error": _column("A text: why the last try failed."),
        "done": _column("A time: when the row was finished, delivered or dead."),
        "claimed": _column("A time: when a proxy took the row, or last said that it has it."),
        "due": _column("A time before which a row is not tried; the proxy writes it on `failed`."),
    },
    definition="outbox_table_columns",
)

STATES = Record(
    TableStates,
    {
        "pending": Field(_STATE, "To be delivered: what the service inserts."),
        "delivering": Field(_STATE, "A proxy has it."),
        "done": Field(_STATE, "Delivered."),
        "failed": Field(_STATE, "A try has failed, and another one follows."),
        "dead": Field(_STATE, "No other try follows."),
    },
    definition="outbox_table_states",
)


_OF_UPSTREAM: Final = ("method", "path", "headers", "policy")


def _settle_target(values: Values, given: Given, at: Cursor) -> None:
    if ("saga" in given) == ("upstream" in given):
        raise at.error("needs a saga, or an upstream and a path: {saga: NAME}")
    for key in _OF_UPSTREAM if "saga" in given else ():
        if key in given:
            given[key].error("is for an upstream; a saga has requests of its own")
    if "upstream" in given and "path" not in given:
        at.error("'path' is missing")
    names = {name.lower() for name, _ in values["headers"]}
    if names & {"idempotency-key", "x-idempotency-key"}:
        given["headers"].error("Idempotency-Key is made of the row's id: the same on every try")


class _TargetRecord(Record[TableTarget]):
    def read(self, at: Cursor, base: TableTarget | None = None) -> TableTarget:
        return super().read(at.with_templates(), base)


TARGET = _TargetRecord(
    TableTarget,
    {
        "saga": Field(Optional(SagaName()), "The saga that a row starts; its input is the body."),
        "upstream": Field(Optional(UpstreamName()), "Where a row is sent."),
        "method": Field(METHOD, "The method; default POST."),
        "path": Field(
            PathTemplate("/events", _WORDS),
            "Path and query; ${id} and ${body./pointer} are templates, percent-encoded.",
        ),
        "headers": Field(
            header_templates(_WORDS),
            "Header fields to send; Content-Type is application/json unless it is here.",
        ),
        "policy": Field(
            PolicyName(),
            "The policy of each try: timeouts, breaker, bulkhead, and retries within the try.",
        ),
    },
    settle=_settle_target,
    sparse=True,
    definition="outbox_table_target",
)


class _Order(Leaf[str]):
    wants = "none or key"

    def parse(self, text: str) -> str:
        if text not in ("none", BY_KEY):
            hint = did_you_mean(text, ("none", BY_KEY))
            raise ValueError(f"must be {self.wants} (columns.key), not {text!r}{hint}")
        return text

    def schema(self) -> JsonSchema:
        return {"anyOf": [words_schema(("none", BY_KEY)), ENVIRONMENT]}


OUTBOX = Record(
    OutboxConfig,
    {
        "order_by": Field(
            _Order(),
            "key: rows with the same value of columns.key one at a time, in their order; a row "
            "without a value has no order.",
        ),
        "on_dead": Field(Choice(OnDead), "block: rows behind a dead one with their key wait."),
        "attempts": Field(Integer(0), "Tries until it is dead; 0: until max_age."),
        "max_age": Field(Duration(), "From `created` until it is dead."),
        "backoff": Field(OUTBOX_BACKOFF, "The waits between tries."),
        "dead_on": DEAD_ON,
        "concurrency": Field(Integer(1, 10_000), "Tries at once."),
    },
    definition="outbox_table_outbox",
)

TABLE = Record(
    TableConfig,
    {
        "url": Field(PostgresUrl(), "postgresql://USER@HOST/DATABASE; default: store.url."),
        "table": Field(_TableNameKind(), "The table, or SCHEMA.TABLE.", required=True),
        "columns": Field(COLUMNS, "Its columns; names are compared exactly.", required=True),
        "states": Field(STATES, "The values of its status column."),
        "poll": Field(Duration(), "The time between two looks for new rows."),
        "notify": Field(
            Optional(Text("the name of a channel", check_identifier)),
            "The channel (NOTIFY) whose notifications make it look at once.",
        ),
        "batch": Field(Integer(1, 10_000), "The most rows that this proxy has taken at a time."),
        "reclaim": Field(
            Duration(),
            "After this time without a sign of its proxy a row that is `delivering` is taken back.",
        ),
        "to": Field(TARGET, "Where a row is delivered.", required=True),
        "outbox": Field(OUTBOX, "How it is delivered."),
    },
    check=check_table,
    definition="outbox_table",
)

TABLES: Final = NamedRecords(NAME, TABLE)
"""Tables by name."""
