"""Strict validation of manifests against the schemas of Kubernetes itself.

kubernetes-validate has the schemas; it reads all of them anew for every object, which would take
most of a minute here, so that its files are read once for each version.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import referencing

OLDEST = "1.29"
"""The first version with native sidecars."""

_SCHEMAS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"


def versions() -> tuple[str, str]:
    """The oldest version with native sidecars and the newest one, as the schemas have them."""
    known = sorted(
        (tuple(map(int, found[1].split("."))), found[1])
        for directory in _SCHEMAS.iterdir()
        if (found := re.fullmatch(r"v([\d.]+)-local-strict", directory.name))
    )
    oldest = next(text for _, text in known if text.startswith(f"{OLDEST}."))
    return oldest, known[-1][1]


def problems(manifest: dict[str, Any], version: str) -> Iterator[str]:
    """Each with the place where it is. What has no schema is one as well."""
    file = _file(manifest, version)
    if not file.exists():
        yield f"no {manifest['kind']} of {manifest['apiVersion']} in Kubernetes {version}"
        return
    for error in _validator(file).iter_errors(manifest):
        where = ".".join(str(part) for part in error.absolute_path)
        yield f"{manifest['kind']} {manifest['metadata'].get('name')}: {where}: {error.message}"


def _file(manifest: dict[str, Any], version: str) -> Path:
    group, _, number = manifest["apiVersion"].rpartition("/")
    of_group = f"{group.partition('.')[0]}-{number}" if group else number
    name = f"{manifest['kind'].lower()}-{of_group}.json"
    return _SCHEMAS / f"v{version}-local-strict" / name


@cache
def _validator(file: Path) -> jsonschema.Draft202012Validator:
    schema = json.loads(file.read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator(schema, registry=_registry(file.parent))


@cache
def _registry(directory: Path) -> "referencing.Registry[Any]":
    definitions = json.loads((directory / "_definitions.json").read_text(encoding="utf-8"))
    resource = referencing.Resource.from_contents(definitions)
    return resource @ referencing.Registry()
