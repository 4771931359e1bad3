"""Generates docs/configuration.md from the JSON Schema and the defaults.

    python -m tests.documents.reference      writes the page

One table for each section of the file. A key's type comes from its schema, its default from the
effective configuration of an empty file, so neither can differ from what the proxy does.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy.config import effective, json_schema, load
from proxy.config.model import BUILT_IN_POLICIES
from proxy.config.policy_keys import POLICY
from proxy.config.store_keys import STORE
from proxy.config.store_model import StoreConfig, StoreEngine, StoreUrl

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"

Schema = Mapping[str, Any]

MARK = "<!-- From here on the page is written by tests/documents/reference.py. -->\n"

_SECTIONS = {
    "": "The file's root",
    "listeners": "",
    "admin": "",
    "limits": "Of each listener.",
    "drain": "",
    "access_log": "",
    "log": "",
    "tracing": "",
    "egress": "",
    "store": "`none` by default: nothing is promised. [durability.md](durability.md)",
    "upstreams.NAME": (
        "`upstreams` is a mapping of names that you choose. `app` exists even if it is not "
        "written: the service itself, `http://127.0.0.1:8080`, or on the port that "
        "`$RESILIENCE_PROXY_APP_PORT` names."
    ),
    "policies.NAME": (
        "`policies` is a mapping of named policies. `default` applies to every outbound route that "
        "names no other; keys that a policy leaves out come from `default`.\n\n"
        "`inbound` applies to every inbound route that names no other, written or not. It takes "
        "nothing from `default`: its built-in values never hurt the proxy's own service, and a "
        "file changes them key by key. They differ from the table in these keys: {inbound}. An "
        "inbound route that needs more names a policy, such as `policy: default`."
    ),
    "sagas.NAME": "`sagas` is a mapping of names that you choose. [sagas.md](sagas.md)",
    "sagas.NAME.steps[]": "The steps of a saga, in their order.",
    "outbox_tables.NAME": (
        "`outbox_tables` is a mapping of names that you choose. "
        "[durability.md](durability.md#a-table-of-the-services-own)"
    ),
    "routes[]": (
        "A list; the first route that matches takes the request. In addition to these keys a route "
        "can have any key of a policy, which overrides its policy for this route."
    ),
}
"""In the page's order; the text above each section's table."""

_WORDS = {
    "hosts": "list of hosts",
    "trust": "`all`, `none` or list of networks",
    "on": "outcomes",
    "failures": "outcomes",
    "match.headers": "mapping of text matches",
    "match.query": "mapping of text matches",
    "set": "mapping of names to values",
    "response.headers": "mapping of names to values",
    "json": "anything",
    "when": "list of reasons and statuses",
    "remove": "list of names",
    "endpoints": "list of URLs",
    "hash": "`{header: NAME}`, `{cookie: NAME}`, `{query: NAME}` or `client`",
    "split_by": "as `hash` of an upstream",
    "expect": "list of statuses",
    "allow": "list of authorities",
    "connect_ports": "list of ports",
    "methods": "list of methods",
    "retry.methods": "`idempotent`, `any` or list of methods",
    "columns.key": "text",
    "to.headers": "mapping of names to values",
    "cert": "file",
    "key": "file",
    "ca": "file",
    "client_ca": "file",
}
"""Types that say more than their schema: by key, or by the last two keys."""

_WHOLE = {"hash", "split_by"}
"""Keys that have one row, although a mapping is one of their forms."""


@dataclass(frozen=True, slots=True)
class Row:
    """One key: its path below the section, its type and default in words, its description."""

    path: str
    type: str
    default: str
    doc: str


def render(page: str) -> str:
    """The page with new tables; the text above the mark is kept."""
    introduction, mark, _ = page.partition(MARK)
    assert mark, f"{DOCUMENT} has lost its mark"
    schema = json_schema()
    shown = effective(load(None, {}).config)
    sections = dict(_sections(schema, shown))
    assert sections.keys() == _SECTIONS.keys(), "a section of the file is not described here"
    parts = [introduction, mark]
    for name, text in _SECTIONS.items():
        title = f"`{name}`" if name else text
        parts.append(f"\n## {title}\n")
        if name and text:
            parts.append(f"\n{text.replace('{inbound}', _inbound())}\n")
        parts.append("\n| key | type | default | |\n|---|---|---|---|\n")
        parts.extend(
            f"| `{row.path}` | {row.type} | {row.default} | {row.doc} |\n" for row in sections[name]
        )
    return "".join(parts)


def rows() -> list[str]:
    """The full path of every key on the page."""
    found = _sections(json_schema(), effective(load(None, {}).config))
    return [f"{name}.{row.path}" if name else row.path for name, table in found for row in table]


def _inbound() -> str:
    """The built-in values of the policy `inbound` that differ from the default ones."""
    usual, inbound = (
        dict(POLICY.leaves(BUILT_IN_POLICIES[name])) for name in ("default", "inbound")
    )
    told = {".".join(path): value for path, value in inbound.items() if value != usual[path]}
    assert told
    return ", ".join(f"`{key}` {_in_words(value)}" for key, value in told.items())


def _in_words(value: Any) -> str:
    return f"`[{', '.join(value)}]`" if isinstance(value, list) else f"`{value}`"


def _sections(schema: Schema, shown: Mapping[str, Any]) -> Iterator[tuple[str, list[Row]]]:
    definitions = schema["$defs"]
    root: list[Row] = []
    for key, field in schema["properties"].items():
        below = _object_of(field, definitions)
        if key == "upstreams":
            yield "upstreams.NAME", _below(definitions["upstream"], definitions, {})
        elif key == "policies":
            policy = shown["policies"]["default"]
            yield "policies.NAME", _below(definitions["policy"], definitions, policy)
        elif key == "store":
            example = STORE.dump(StoreConfig(StoreUrl(StoreEngine.MEMORY, "memory:")), False)
            yield "store", _below(definitions["store"], definitions, example)
        elif key == "sagas":
            saga = definitions["saga"]
            own = {name: at for name, at in saga["properties"].items() if name != "steps"}
            yield "sagas.NAME", _below({**saga, "properties": own}, definitions, {})
            yield "sagas.NAME.steps[]", _below(definitions["saga_step"], definitions, {})
        elif key == "outbox_tables":
            yield "outbox_tables.NAME", _below(definitions["outbox_table"], definitions, {})
        elif key == "routes":
            policy_keys = definitions["policy"]["properties"]
            route = _array_of(field)["items"]
            own = {name: at for name, at in route["properties"].items() if name not in policy_keys}
            yield "routes[]", _below({**route, "properties": own}, definitions, {})
        elif below is not None:
            yield key, _below(below, definitions, shown[key])
        else:
            told = _type(key, field, definitions), _default(key, field, {}), _doc(field)
            root.append(Row(key, *told))
    yield "", root


def _below(at: Schema, definitions: Schema, shown: Any, prefix: str = "") -> list[Row]:
    found = []
    required = at.get("required", ())
    for key, field in at["properties"].items():
        path = f"{prefix}{key}"
        here = shown.get(key) if isinstance(shown, Mapping) else None
        below = None if key in _WHOLE else _object_of(field, definitions)
        if below is not None:
            found += _below(below, definitions, here, f"{path}.")
            continue
        default = "required" if key in required else _default(key, field, shown)
        found.append(Row(path, _type(path, field, definitions), default, _doc(field)))
    return found


def _alternatives(field: Schema) -> list[Schema]:
    return list(field.get("anyOf", [field]))


def _resolved(at: Schema, definitions: Schema) -> Schema:
    target = at.get("$ref")
    return definitions[target.rpartition("/")[2]] if target else at


def _object_of(field: Schema, definitions: Schema) -> Schema | None:
    """The schema of a mapping with fixed keys, if that is what the key holds."""
    for one in _alternatives(field):
        at = _resolved(one, definitions)
        if "properties" in at:
            return at
        if "anyOf" in at:
            return _object_of(at, definitions)
    return None


def _array_of(field: Schema) -> Schema:
    return next(one for one in _alternatives(field) if one.get("type") == "array")


def _type(path: str, field: Schema, definitions: Schema) -> str:
    keys = path.split(".")
    said = _WORDS.get(".".join(keys[-2:])) or _WORDS.get(keys[-1])
    if said:
        return said
    names = [_type_of(one, definitions) for one in _alternatives(field)]
    kept = list(dict.fromkeys(name for name in names if name))
    if "ratio" in kept and "number" in kept:
        kept.remove("number")
    return " or ".join(kept)


def _type_of(at: Schema, definitions: Schema) -> str:
    if "$ref" in at or at.get("type") == "null":
        return ""
    if "enum" in at:
        return ", ".join(f"`{word}`" for word in at["enum"] if isinstance(word, str))
    if "anyOf" in at:
        return _type("", at, definitions)
    if "const" in at:
        return "`none`" if at["const"] == "none" else ""
    kind: Any = at.get("type", "anything")
    if kind == "array":
        return f"list of {_type('', at['items'], definitions)}"
    if kind == "string":
        return _text(at.get("pattern", ""))
    if isinstance(kind, list):  # bare text that YAML reads as another type
        return "text"
    words = {"integer": "whole number", "boolean": "`true`, `false`"}
    return words.get(kind) or str(kind)


def _text(pattern: str) -> str:
    if pattern.endswith("(us|ms|s|m|h|d)$"):
        return "duration"
    if "KiB" in pattern or "Ki" in pattern:
        return "size"
    if pattern.endswith("%?$"):
        return "ratio"
    if pattern == "^.+:[0-9]{1,5}$":
        return "`HOST:PORT`"
    return "text"


def _default(key: str, field: Schema, shown: Any) -> str:
    value = shown[key] if isinstance(shown, Mapping) and key in shown else field.get("default")
    if value is None or value in ({}, []):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list):
        return f"`[{', '.join(str(item) for item in value)}]`"
    return f"`{value}`"


def _doc(field: Schema) -> str:
    return str(field.get("description", "")).replace("|", "\\|")


if __name__ == "__main__":
    DOCUMENT.write_text(render(DOCUMENT.read_text()))
