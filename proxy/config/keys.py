"""The keys of the file's root, and what is derived from the description of all keys."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any
from urllib.parse import unquote

from proxy.config.advice import Vocabulary
from proxy.config.kinds import JsonSchema, Kind, Text
from proxy.config.model import APP_UPSTREAM, Config, UpstreamConfig
from proxy.config.names import check_service
from proxy.config.policy_keys import POLICY
from proxy.config.record import Field, Optional, Record
from proxy.config.route_keys import HEADER_RULES, MATCH, ROUTE, Policies, Routes
from proxy.config.saga_keys import SAGA, STEP, SagasKind
from proxy.config.server_keys import (
    ACCESS_LOG,
    ADMIN,
    DRAIN,
    EGRESS,
    LIMITS,
    LISTENERS,
    LOG,
    TRACING,
)
from proxy.config.store_keys import STORE
from proxy.config.table_keys import TABLE, TABLES
from proxy.config.upstream_keys import UPSTREAM, Upstreams

APP_PORT_VARIABLE = "RESILIENCE_PROXY_APP_PORT"

# In this order: routes name sagas and policies, sagas name policies, and all name upstreams.
CONFIG = Record(
    Config,
    {
        "service": Field(
            Text("a name", check_service),
            "This service's name in traces, metrics and Proxy-Status; $OTEL_SERVICE_NAME, else "
            "the host's name, by default.",
        ),
        "listeners": Field(LISTENERS, "The addresses that the proxy listens on."),
        "admin": Field(ADMIN, "Health, metrics, status and the page."),
        "limits": Field(LIMITS, "Limits of each listener."),
        "drain": Field(DRAIN, "How the proxy shuts down."),
        "access_log": Field(ACCESS_LOG, "One line per request, on standard output."),
        "log": Field(LOG, "The proxy's own log, on standard error."),
        "tracing": Field(TRACING, "Trace headers and spans."),
        "upstreams": Field(Upstreams(), "Named groups of endpoints."),
        "policies": Field(
            Policies(),
            "Named policies. default applies to every outbound route that names no other; keys "
            "that a policy leaves out come from default. inbound applies to every inbound route "
            "that names no other; keys that it leaves out have their own values, which are "
            "safe for the service behind, and take nothing from default.",
        ),
        "sagas": Field(
            SagasKind(),
            "Named sagas: several steps at several services, done in order or undone in reverse.",
        ),
        "routes": Field(Routes(), "In order; the first match takes the request."),
        "egress": Field(EGRESS, "What can be reached without an upstream."),
        "store": Field(
            Optional(STORE), "What promises are kept in; needed by idempotency. See durability.md."
        ),
        "outbox_tables": Field(
            TABLES,
            "Named tables of the service's own PostgreSQL, whose rows are delivered.",
        ),
    },
)


@cache
def sections() -> Mapping[str, str]:
    """The section of each key that is in one section only, or in one of a policy's.

    The outbox repeats keys of other policies, which a user means rather.
    """
    policy = list(_places(POLICY, ""))
    others = {key for key, section in policy if not section.startswith("outbox")}
    policy = [
        (key, section)
        for key, section in policy
        if key not in others or not section.startswith("outbox")
    ]
    places = list(_places(CONFIG, ""))
    for name, record in (("routes[]", ROUTE), ("upstreams", UPSTREAM)):
        places.extend(_places(record, name))
    of_policies = {key for key, _ in policy}
    found = [*policy, *((key, section) for key, section in places if key not in of_policies)]
    count = Counter(key for key, _ in found)
    return {key: section for key, section in found if section and count[key] == 1}


@cache
def vocabulary() -> Vocabulary:
    """All keys, for hints."""
    return Vocabulary(sections(), POLICY.keys.keys(), ROUTE.keys.keys(), MATCH.keys.keys())


def _places(record: Record[Any], section: str) -> Iterator[tuple[str, str]]:
    for key, field in record.keys.items():
        yield key, section
        below = _record_of(field.kind)
        if below is not None:
            yield from _places(below, f"{section}.{key}" if section else key)


def _record_of(kind: Kind[Any]) -> Record[Any] | None:
    inner = kind.kind if isinstance(kind, Optional) else kind
    return inner if isinstance(inner, Record) else None


def default_service(environ: Mapping[str, str]) -> str:
    """``OTEL_SERVICE_NAME``, else ``service.name`` of ``OTEL_RESOURCE_ATTRIBUTES``, else the host's
    name; invalid characters become underscores.
    """
    attributes = environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",")
    pairs = (attribute.partition("=") for attribute in attributes)
    of_resource = {key.strip(): unquote(value.strip()) for key, _, value in pairs}
    name = (
        environ.get("OTEL_SERVICE_NAME")
        or of_resource.get("service.name")
        or os.uname().nodename
        or "resilience-proxy"
    )
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "_" for c in name)[:128]


def default_app(environ: Mapping[str, str]) -> UpstreamConfig:
    """The default upstream ``app``: on ``RESILIENCE_PROXY_APP_PORT``, else 8080. Raises
    ValueError.
    """
    port = environ.get(APP_PORT_VARIABLE)
    if not port:
        return APP_UPSTREAM
    if not port.isascii() or not port.isdigit() or not 1 <= int(port[:6]) <= 65535:
        raise ValueError(f"{APP_PORT_VARIABLE} is {port!r}, which is not a port")
    (endpoint,) = APP_UPSTREAM.endpoints
    return replace(APP_UPSTREAM, endpoints=(replace(endpoint, port=int(port)),))


def effective(config: Config, *, reveal: bool = False) -> dict[str, Any]:
    """The whole configuration as plain data in the file's spelling, with every default.

    The values of header and query fields that the file sets or matches may be credentials: they
    are replaced unless `reveal`.
    """
    return CONFIG.dump(config, reveal)


SECTIONS = frozenset({"upstreams", "policies", "routes"})
"""The keys whose entries a user names, as many as there are."""


def without_sections(config: Config) -> Config:
    """The same without entries in `SECTIONS`."""
    return replace(config, upstreams={}, policies={}, routes=())


def entries(
    config: Config, section: str, *, reveal: bool = False
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The entries of one of `SECTIONS`, by name, as in `effective`, each made when it is asked for.

    They need not be made all at once: a file may have thousands.
    """
    match section:
        case "upstreams":
            return zip(
                config.upstreams, UPSTREAM.dump_all(config.upstreams.values(), reveal), strict=True
            )
        case "policies":
            return zip(
                config.policies, POLICY.dump_all(config.policies.values(), reveal), strict=True
            )
        case "routes":
            names = (route.name for route in config.routes)
            return zip(names, Routes.item.dump_all(config.routes, reveal), strict=True)
    raise ValueError(section)


def json_schema() -> JsonSchema:
    """JSON Schema (draft 2020-12) of the file, for editors.

    It describes single keys: only `check` sees rules that involve several keys or names.
    """
    definitions: dict[str, JsonSchema] = {
        "environment": {
            "description": "Taken from the environment: ${NAME} or ${NAME:-default}.",
            "type": "string",
            "pattern": r"\$\{",
        }
    }
    for record in (CONFIG, ROUTE, UPSTREAM, POLICY, HEADER_RULES, SAGA, STEP, TABLE):
        _define(record, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:resilience-proxy:configuration",
        "title": "Resilience Proxy",
        **CONFIG.object_schema(),
        "type": ["object", "null"],
        "patternProperties": {"^x-": {"description": "Ignored; for anchors."}},
        "$defs": definitions,
    }


def _define(record: Record[Any], definitions: dict[str, JsonSchema]) -> None:
    if record.definition:
        definitions[record.definition] = record.object_schema()
    for field in record.keys.values():
        below = _record_of(field.kind)
        if below is not None:
            _define(below, definitions)
