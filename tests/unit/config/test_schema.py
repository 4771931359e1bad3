"""The JSON Schema: what is valid passes, most of what is not does not, and every key is told."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from proxy.config import effective, json_schema, load
from proxy.config.document import Mapping, Node, Scalar, Sequence, is_null, parse
from proxy.config.problems import Problems

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
SCHEMA = json_schema()
VALIDATOR = Draft202012Validator(SCHEMA)


def as_an_editor_sees(node: Node) -> Any:
    """YAML 1.2's core schema, which editors use."""
    if isinstance(node, Mapping):
        return {key: as_an_editor_sees(value) for key, (_, value) in node.entries.items()}
    if isinstance(node, Sequence):
        return [as_an_editor_sees(item) for item in node.items]
    assert isinstance(node, Scalar)
    if node.quoted:
        return node.text
    if is_null(node):
        return None
    try:
        return json.loads(node.text)
    except ValueError:
        return node.text


def problems_of(text: str) -> list[str]:
    data = as_an_editor_sees(parse(text, Problems("f")))
    return [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(data)]


def test_it_is_a_schema():
    Draft202012Validator.check_schema(SCHEMA)
    json.dumps(SCHEMA)


@pytest.mark.parametrize(
    "file",
    [HERE / "reference.yaml", HERE / "everything.yaml", ROOT / "config/proxy.yaml"],
    ids=lambda file: file.name,
)
def test_valid_files_pass(file):
    assert problems_of(file.read_text()) == []


@pytest.mark.parametrize("file", [HERE / "everything.yaml", None])
def test_the_effective_configuration_passes(file):
    shown = effective(load(file, {}).config)
    assert list(VALIDATOR.iter_errors(shown)) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "drain:",
        "drain: {delay: '${D:-5s}'}",
        "policies: {default: {retry: {attempts: '${N:-3}'}, circuit_breaker: {mode: '${M}'}}}",
        "routes: [{name: a, retry: , fallback: }]",
        "limits: {body_bytes: 0}",
    ],
)
def test_so_does_what_the_loader_takes(text):
    assert problems_of(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "nodes: 1",
        "drain: {delay: 5}",
        "drain: {delay: soon}",
        "drain: [a]",
        "limits: {connections: 0}",
        "limits: {body_bytes: 64}",
        "policies: {default: {retry: {max_attempts: 3}}}",
        "policies: {gold: {circuit_breaker: {mode: on}}}",
        "policies: {default: {retry: {on: [time-out]}}}",
        "policies: {default: {retry: {backoff: {jitter: some}}}}",
        "policies: {default: {circuit_breaker: {failure_rate: 60}}}",
        "upstreams: {a: {load_balancing: random}}",
        "upstreams: {a: {endpoints: [a:80]}}",
        "routes: [{listener: inbound}]",
        "routes: [{name: a, match: {prefix: api}}]",
        "routes: [{name: a, match: {headers: {a: {exact: b}}}}]",
        "routes: [{name: a, fallback: {when: [foo], response: {}}}]",
        "egress: {connect_ports: [0]}",
    ],
)
def test_mistakes_do_not_pass(text):
    assert problems_of(text)


def test_every_key_is_described_and_every_reference_leads_somewhere():
    undescribed = [path for path, node in _keys(SCHEMA) if not node.get("description")]
    assert undescribed == []
    for name in _references(SCHEMA):
        assert name.removeprefix("#/$defs/") in SCHEMA["$defs"]


def test_defaults_are_shown_in_the_files_spelling():
    definitions = SCHEMA["$defs"]
    assert definitions["timeouts"]["properties"]["attempt"]["default"] == "5s"
    assert definitions["retry"]["properties"]["attempts"]["default"] == 3
    assert definitions["budget"]["properties"]["ratio"]["default"] == "20%"
    assert definitions["circuit_breaker"]["properties"]["mode"]["default"] == "enforce"


def _keys(node: Any, path: str = "") -> list[tuple[str, dict[str, Any]]]:
    found = []
    if isinstance(node, dict):
        for key, value in node.get("properties", {}).items():
            if not path.endswith("anyOf"):  # {regex: ...} and {present: ...} explain themselves
                found.append((f"{path}/{key}", value))
        for key, value in node.items():
            found += _keys(value, f"{path}/{key}")
    elif isinstance(node, list):
        for item in node:
            found += _keys(item, path)
    return found


def _references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if "$ref" in node else set()
        return own.union(*map(_references, node.values()))
    return set().union(*map(_references, node)) if isinstance(node, list) else set()
