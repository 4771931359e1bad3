"""Looking into objects that may be anything: what is not as Kubernetes has it is said in words."""

from typing import Any

from proxy.kubernetes.sidecar import Object


class Malformed(Exception):
    """An object is not what its kind says it is; the text names the field."""


def mapping_of(parent: Object, key: str) -> Object:
    """The mapping at `key`; an empty one, not yet part of `parent`, where there is none."""
    value = parent.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Malformed(f"{key} is no mapping")
    return value


def items_of(parent: Object, key: str, *, required: bool = False) -> list[Object]:
    """The mappings listed at `key`; an empty list, not yet part of `parent`, where there are none.

    `required`: at least one.
    """
    value = parent.get(key)
    if value is None:
        value = []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise Malformed(f"{key} is no list of mappings")
    if required and not value:
        raise Malformed(f"{key} is missing or empty")
    return value


def text_map_of(parent: Object, key: str) -> dict[str, str]:
    """Labels or annotations: names with texts."""
    value = mapping_of(parent, key)
    for name, text in value.items():
        if not isinstance(text, str):
            raise Malformed(f"{key}.{name} is no text: put it in quotes")
    return value


def text_of(parent: Object, key: str) -> str:
    value: Any = parent.get(key)
    return value if isinstance(value, str) else ""


def copied(value: Any) -> Any:
    """A copy of plain data, as JSON has it; a tenth of what `copy.deepcopy` costs."""
    if isinstance(value, dict):
        return {key: copied(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [copied(inner) for inner in value]
    return value
