"""A count in quotes is a text, and a text that is empty names nothing: both are mistakes."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from proxy.config import ConfigError, load_text
from proxy.config.problems import format_path

EVERYTHING = Path(__file__).with_name("everything.yaml").read_text()
PLAIN_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")

DATA = re.compile(r"\.(json|body)(\.|\[|$)")
"""Data of the user's own: every text is allowed."""

SAID_AS_TEXT = {
    "outbox_tables.orders.outbox.dead_on[0]",
    "policies.gold.circuit_breaker.failures[1]",
    "policies.gold.fallback.when[1]",
    "policies.gold.retry.body_limit",
    "policies.gold.retry.on[0]",
    "upstreams.spare.health_check.expect[0]",
}
"""Numbers in place of which a text may stand (503 and 5xx, 0 and 64KiB): quotes mean nothing."""

MAY_BE_EMPTY = re.compile(
    r"match\.(headers|query)\.[\w-]+$|headers\.(request\.|response\.)?set\.|response\.headers\."
    r"|answer\.headers\.|\.to\.headers\.|grpc\.message$"
)
"""A field or parameter without a value, and a message that says nothing."""


def scalars(node: yaml.Node, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str, yaml.Node]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from scalars(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from scalars(value, (*path, index))
    else:
        yield format_path(path), node


def rewritten(change: Callable[[str, yaml.Node], str | None]) -> tuple[str, list[str]]:
    """The file that uses every key with some values replaced, and the paths of those."""
    text, paths = EVERYTHING, []
    for path, node in reversed(list(scalars(yaml.compose(EVERYTHING)))):
        new = change(path, node)
        if new is not None:
            text = text[: node.start_mark.index] + new + text[node.end_mark.index :]
            paths.append(path)
    return text, paths


def complained(text: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        load_text(text, "f.yaml", {})
    return {format_path(problem.path): problem.message for problem in caught.value.problems}


def test_counts_in_quotes_are_errors_and_other_numbers_mean_the_same():
    def quote(path: str, node: yaml.Node) -> str | None:
        number = node.style is None and PLAIN_NUMBER.fullmatch(node.value)
        of_match = re.search(r"match\.(headers|query)|headers\.\w+\.set|states\.", path)
        return f'"{node.value}"' if number and not of_match and not DATA.search(path) else None

    text, paths = rewritten(quote)
    found = complained(text)
    assert len(paths) > 30
    assert all("quotes" in found.get(path, "quotes") for path in paths)
    assert {path for path in paths if path not in found} == SAID_AS_TEXT


@pytest.mark.parametrize("empty", ["''", "' '"])
def test_every_empty_value_is_an_error(empty):
    def clear(path: str, node: yaml.Node) -> str | None:
        return None if MAY_BE_EMPTY.search(path) or DATA.search(path) else empty

    text, paths = rewritten(clear)
    found = complained(text)
    assert len(paths) > 200
    assert [path for path in paths if path not in found] == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "policies: {default: {circuit_breaker: {window: {size: '5'}}}}",
            "1:55: policies.default.circuit_breaker.window.size: '5' in quotes is a text; remove "
            "the quotes",
        ),
        (
            "policies: {default: {outbox: {keep_headers: ['']}}}",
            "1:46: policies.default.outbox.keep_headers[0]: is empty; it must be a header name, "
            "or a prefix such as x-*",
        ),
        ("policies: {default: {retry: {attempts: ''}}}", "is empty; it must be a whole number"),
        ("routes: [{name: a, match: {regex: ''}}]", "is empty; it must be a regular expression"),
        ("routes: [{name: a, match: {query: {'': '1'}}}]", "is empty; it must be a parameter's"),
        ("routes: [{name: a, match: {headers: {x-a: {regex: ''}}}}]", "is empty"),
    ],
)
def test_what_is_said(errors, text, problem):
    (found,) = errors(text)
    assert problem in found


@pytest.mark.parametrize(
    "text",
    [
        "routes: [{name: a, match: {headers: {x-a: ''}, query: {dry: ''}}}]",
        "routes: [{name: '7', match: {headers: {x-a: '7'}, query: {q: '1'}}, respond: {body: ''}}]",
        "policies: {default: {retry: {on: ['500-503', '503'], budget: {ratio: '20%'}}}}",
        "policies: {default: {retry: {backoff: {jitter: '0.2'}, budget: {ratio: '0.2'}}}}",
        "policies: {default: {hedge: {delay: '0'}}}",
        "limits: {body_bytes: '0'}",
        "access_log: {requests: '0.1'}",
        "upstreams: {a: {endpoints: ['http://a:1'], health_check: {grpc: ''}}}\n"
        "routes: [{name: a, upstream: a}]",
    ],
)
def test_texts_that_look_like_it_are_allowed(errors, text):
    assert errors(text) == []


def test_quotes_around_a_reference_mean_nothing(config):
    text = "policies: {default: {circuit_breaker: {window: {size: '${N}'}}, retry: {on: ['${S}']}}}"
    policy = config(text, N="5", S="503").policies["default"]
    assert policy.circuit_breaker.window.size == 5
    assert policy.retry.on.terms == ("503",)
