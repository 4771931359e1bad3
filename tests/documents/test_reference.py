"""docs/configuration.md says what the code does."""

import pytest

from documents.reference import DOCUMENT, render, rows
from proxy.config import effective, load


def test_the_page_is_as_the_code_would_write_it() -> None:
    page = DOCUMENT.read_text(encoding="utf-8")
    assert page == render(page), "run: python -m tests.documents.reference"


def _paths(value: object, path: str = "") -> list[str]:
    if not isinstance(value, dict) or not value:
        return [path]
    return [
        found
        for key, below in value.items()
        for found in _paths(below, f"{path}.{key}" if path else str(key))
    ]


def test_no_key_is_missing() -> None:
    told = set(rows())
    shown = effective(load(None, {}).config)
    policy = shown["policies"]["default"]
    outbox = policy["outbox"] | {"answer": {"status": 202}, "result": {"upstream": ""}}
    shown["policies"] = {"NAME": policy | {"fallback": {"when": []}, "outbox": outbox}}
    upstream = shown["upstreams"]["app"] | {"tls": {"ca": ""}}
    upstream |= {"outlier_detection": {"mode": ""}, "health_check": {"path": ""}}
    shown["upstreams"] = {"NAME": upstream}
    del shown["routes"], shown["sagas"], shown["outbox_tables"]
    assert shown.pop("store") == "none"
    listeners = shown["listeners"]
    for listener in listeners.values():
        listener["tls"] = {"cert": "", "key": ""}
    missing = set(_paths(shown)) - told
    assert not missing


@pytest.mark.parametrize(
    "path", ["routes[].match.prefix", "policies.NAME.fallback.response.json", "service"]
)
def test_what_has_no_default_is_told_too(path: str) -> None:
    assert path in rows()
