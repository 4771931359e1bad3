"""Configurations inside Kubernetes manifests, with the manifest's line numbers.

A ConfigMap is read like a directory: its ``*.yaml`` entries by name. Each is returned as a text in
which everything before it is blank, so that its lines and columns are those of the manifest.
"""

import re
from typing import Any, NamedTuple

from proxy.config.document import Unreadable
from proxy.config.problems import Mark, Problems

_LIKELY = re.compile(r'\bkind"?\s*:\s*"?(ConfigMap|List)\b')
USUAL_NAME = "proxy.yaml"


class ConfigMap(NamedTuple):
    """`texts` by the names of its entries that end in .yaml or .yml, sorted."""

    mark: Mark
    texts: dict[str, str]


def config_maps(text: str, problems: Problems, file: int) -> list[ConfigMap]:
    """Every ConfigMap of a stream of manifests; empty for another text.

    If ConfigMaps have an entry named ``proxy.yaml``, only those are returned. Raises Unreadable
    for a manifest that is not valid YAML.
    """
    if not _LIKELY.search(text):
        return []
    import yaml

    try:
        roots = [root for root in yaml.compose_all(text, yaml.SafeLoader) if root is not None]
    except yaml.MarkedYAMLError as error:
        place = error.problem_mark or error.context_mark
        mark = Mark(place.line + 1, place.column + 1, file) if place else Mark(1, 1, file)
        problems.error(mark, (), f"not valid YAML: {error.problem}")
        raise Unreadable from None
    except (yaml.YAMLError, ValueError, RecursionError):
        return []  # the reader of configurations reports it
    found = [_config_map(node, text, file) for root in roots for node in _objects(root)]
    usual = [one for one in found if USUAL_NAME in one.texts]
    return usual or found


def _objects(node: Any) -> list[Any]:
    kind = _value(_member(node, "kind"))
    if kind == "List":
        items = getattr(_member(node, "items"), "value", [])
        return [found for item in items for found in _objects(item)]
    return [node] if kind == "ConfigMap" else []


def _config_map(node: Any, text: str, file: int) -> ConfigMap:
    data = _member(node, "data")
    entries = data.value if data is not None and isinstance(data.value, list) else []
    texts = {
        _value(key): _with_place(value, text)
        for key, value in entries
        if _value(key).endswith((".yaml", ".yml")) and isinstance(value.value, str)
    }
    mark = Mark(node.start_mark.line + 1, node.start_mark.column + 1, file)
    return ConfigMap(mark, dict(sorted(texts.items())))


def _member(node: Any, key: str) -> Any:
    """The value node at a key of a mapping node, or None."""
    if isinstance(node.value, list):
        for entry in node.value:
            if isinstance(entry, tuple) and _value(entry[0]) == key:
                return entry[1]
    return None


def _value(node: Any) -> str:
    value: object = getattr(node, "value", "")
    return value if isinstance(value, str) else ""


def _with_place(node: Any, text: str) -> str:
    start: int = node.start_mark.line
    if node.style != "|":  # folded or quoted: only its beginning has a place
        return "\n" * start + str(node.value)
    end: int = node.end_mark.line + bool(node.end_mark.column)
    lines = text.split("\n")[start + 1 : end]
    for index, line in enumerate(lines):
        if line.strip() == "---":  # indented, it would be a text
            lines[index] = ""
        elif line.strip():
            break
    return "\n" * (start + 1) + "\n".join(lines) + "\n"
