"""The keys of the store, and of what keeps promises in it."""

import re
from typing import Any

from proxy.config.cursor import Cursor, Reported
from proxy.config.kinds import (
    ENVIRONMENT,
    Boolean,
    Choice,
    Duration,
    Integer,
    JsonSchema,
    Leaf,
    Size,
    Text,
)
from proxy.config.names import HEADER_NAME, METHOD, check_header_name
from proxy.config.postgres_url import SCHEMES, check_postgres_url, without_password
from proxy.config.record import Field, Given, ListOf, Record
from proxy.config.store_model import StoreConfig, StoreEngine, StoreSync, StoreUrl
from proxy.config.suggestions import did_you_mean
from proxy.policies.idempotency import (
    CLIENT_CERTIFICATE,
    HEADER_SCOPE,
    FingerprintConfig,
    IdempotencyConfig,
    IdempotencyMode,
    OnUnknown,
)

LEAST_BYTES = 1 << 20
"""Of `max_bytes`: an empty store has a tenth of this."""


class StoreUrlKind(Leaf[StoreUrl]):
    wants = "sqlite:/path/to/store.db, postgresql://USER@HOST/DATABASE or memory"

    def parse(self, text: str) -> StoreUrl:
        scheme, _, rest = text.partition(":")
        if scheme == "memory" and not rest:
            return StoreUrl(StoreEngine.MEMORY, "memory:")
        if scheme == "sqlite" and rest:
            path = "/" + rest.lstrip("/") if rest.startswith("//") else rest
            if "\0" in path or path.endswith("/"):
                raise ValueError(f"{text!r} does not name a file")
            return StoreUrl(StoreEngine.SQLITE, f"sqlite:{path}")
        if scheme in SCHEMES:
            return StoreUrl(StoreEngine.POSTGRESQL, check_postgres_url(text))
        hint = did_you_mean(scheme, ("sqlite", "memory", "postgresql"))
        raise ValueError(f"must be {self.wants}, not {without_password(text)!r}{hint}")

    def dump(self, value: StoreUrl, reveal: bool) -> Any:
        return value.text if reveal else value.shown

    def schema(self) -> JsonSchema:
        pattern = {
            "type": "string",
            "pattern": r"^(memory:?|sqlite:.+|postgres(ql)?://.+)$",
        }
        return {"anyOf": [pattern, ENVIRONMENT]}


def _check_schema(text: str) -> str:
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", text) or text.startswith("pg_"):
        raise ValueError(
            f"{text!r} is not a schema's name: letters a to z, digits and _, not pg_ at the start"
        )
    return text


def _check_store(value: StoreConfig, given: Given, at: Cursor) -> None:
    if value.url.engine is StoreEngine.POSTGRESQL:
        for key in ("sync", "persistent", "max_bytes"):
            if key in given:
                given[key].warning("has no effect: the store is a PostgreSQL server's")
        return
    for key in ("schema", "connections", "timeout"):
        if key in given:
            given[key].warning("has no effect: it is for a store on PostgreSQL")
    if value.max_bytes < LEAST_BYTES:
        given["max_bytes"].error("must be at least 1MiB")
    elif value.record_bytes > value.max_bytes // 16:
        (given.get("record_bytes") or given.get("max_bytes") or at).error(
            "record_bytes must be at most a sixteenth of max_bytes"
        )
    if value.url.engine is StoreEngine.MEMORY:
        for key in ("sync", "persistent"):
            if key in given:
                given[key].warning("has no effect: the store is in memory")


STORE = Record(
    StoreConfig,
    {
        "url": Field(
            StoreUrlKind(),
            "sqlite:/path/to/store.db, a file that one process uses; "
            "postgresql://USER@HOST/DATABASE, shared by replicas; memory, gone when the process "
            "ends.",
            required=True,
        ),
        "sync": Field(
            Choice(StoreSync),
            "full: what is promised is on the disk; normal: it survives the process, but the last "
            "commits may be lost with the machine.",
        ),
        "persistent": Field(
            Boolean(), "true says that the file's directory outlives the pod, such as a volume."
        ),
        "max_bytes": Field(
            Size(), "The most that is kept; then new promises are refused (store-full)."
        ),
        "record_bytes": Field(Size(), "The most of one stored request or response."),
        "schema": Field(
            Text("a schema's name", _check_schema),
            "PostgreSQL: where the tables are; made if it is missing and the role may.",
        ),
        "connections": Field(
            Integer(1, 16), "PostgreSQL: the connections of each replica; each commits a batch."
        ),
        "timeout": Field(
            Duration(), "PostgreSQL: how long a connection attempt and a statement may take."
        ),
    },
    check=_check_store,
    definition="store",
)


class ScopeKind(Leaf[str]):
    wants = "header:NAME or client-certificate"

    def parse(self, text: str) -> str:
        if text == CLIENT_CERTIFICATE:
            return text
        if text.startswith(HEADER_SCOPE):
            return HEADER_SCOPE + check_header_name(text.removeprefix(HEADER_SCOPE))
        hint = did_you_mean(text, (CLIENT_CERTIFICATE,))
        raise ValueError(f"must be {self.wants}, not {text!r}{hint}")

    def schema(self) -> JsonSchema:
        pattern = {"type": "string", "pattern": f"^({CLIENT_CERTIFICATE}|{HEADER_SCOPE}.+)$"}
        return {"anyOf": [pattern, ENVIRONMENT]}


_POINTER = re.compile(r"(/([^~/]|~[01])*)+")


def _check_pointer(text: str) -> str:
    if not _POINTER.fullmatch(text):
        raise ValueError(f"{text!r} is not a JSON pointer such as /meta/sentAt (RFC 6901)")
    return text


FINGERPRINT = Record(
    FingerprintConfig,
    {
        "headers": Field(
            ListOf(HEADER_NAME, "names of headers"),
            "Fields that make two requests with one key different.",
        ),
        "ignore": Field(
            ListOf(Text("a JSON pointer", _check_pointer), "JSON pointers"),
            "Parts of a JSON body that do not, such as /sentAt.",
        ),
    },
    definition="fingerprint",
)


def _check_idempotency(value: IdempotencyConfig, given: Given, at: Cursor) -> None:
    if value.on and value.keep < value.lease:
        (given.get("keep") or given.get("lease") or at).error("keep must be at least lease")
        raise Reported


IDEMPOTENCY = Record(
    IdempotencyConfig,
    {
        "mode": Field(
            Choice(IdempotencyMode),
            "off; optional: requests with a key take part; required: a request without one is "
            "refused. Needs a store.",
        ),
        "headers": Field(
            ListOf(HEADER_NAME, "names of headers", minimum=1),
            "Where a request has its key; two that differ are refused.",
        ),
        "methods": Field(
            ListOf(METHOD, "methods", minimum=1), "Requests of other methods take no part."
        ),
        "scope": Field(
            ListOf(ScopeKind(), "header:NAME and client-certificate"),
            "What else tells equal keys apart, such as header:x-tenant-id: without it two callers "
            "with one key get each other's answers.",
        ),
        "keep": Field(Duration(), "How long an answer is remembered."),
        "lease": Field(
            Duration(),
            "A request whose proxy does not renew its claim for this time has an unknown result.",
        ),
        "wait": Field(
            Duration(zero=True), "How long a repeat waits while the first is being answered."
        ),
        "on_unknown": Field(
            Choice(OnUnknown),
            "A repeat of a request with an unknown result: conflict, or execute it again.",
        ),
        "fingerprint": Field(
            FINGERPRINT, "What makes two requests with one key the same, beside the body."
        ),
        "response_limit": Field(
            Size(), "A larger response is not kept: a repeat gets 409 idempotency-unreplayable."
        ),
        "mint": Field(
            Boolean(), "Give an outbound request without a key one, the same for its attempts."
        ),
    },
    check=_check_idempotency,
    definition="idempotency",
)
