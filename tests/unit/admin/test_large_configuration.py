"""`/config` of a file with many routes: what they share is written once, not once for each."""

import json
import sys
from types import FrameType
from typing import Any

import pytest

from proxy.admin import views
from proxy.admin.documents import pieces
from proxy.config import Loaded, effective, load_text

ROUTES = 50
MOST_CALLS = 1_200
"""Calls of Python functions for a route more. Its text has more than 80 keys, each with its source:
with some 5,000 calls, the document of 5,000 routes takes half a minute."""


def loaded(routes: int, settings: str = "timeouts: {request: 2s}") -> Loaded:
    lines = (
        f"  - {{name: r{n}, match: {{prefix: /r{n}}}, upstream: u, policy: gold, {settings}}}"
        for n in range(routes)
    )
    text = "\n".join(
        [
            "policies: {gold: {retry: {attempts: 4}}}",
            "upstreams: {u: {endpoints: ['http://127.0.0.1:9']}}",
            "routes:",
            *lines,
        ]
    )
    return load_text(text, "f.yaml", {})


def document(of: Loaded) -> str:
    return "".join(pieces(views.configuration(of.config, of.sources)))


def calls(of: Loaded) -> int:
    count = 0

    def called(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        document(of)
    finally:
        sys.setprofile(before)
    return count


def test_a_route_more_costs_little() -> None:
    few, many = loaded(ROUTES), loaded(3 * ROUTES)
    assert (calls(many) - calls(few)) / (2 * ROUTES) < MOST_CALLS


@pytest.mark.parametrize("settings", ["timeouts: {request: 2s}", "retry: {attempts: 3}"])
def test_it_is_the_effective_configuration_and_the_source_of_each_key(settings: str) -> None:
    of = loaded(3, settings)
    shown = json.loads(document(of))
    sources = shown.pop("sources")
    assert shown == effective(of.config)
    key = settings.partition(":")[0] + "." + settings.partition("{")[2].partition(":")[0]
    for number in range(3):
        assert sources[f"routes[{number}].{key}"] == f"f.yaml:{number + 4} (route r{number})"
        assert sources[f"routes[{number}].match.prefix"] == f"f.yaml:{number + 4}"
        assert sources[f"routes[{number}].bulkhead.max_queue"] == "built-in default"
    if not settings.startswith("retry"):
        assert sources["routes[1].retry.attempts"] == "f.yaml:1 (policy gold)"
