"""The charts' pages tell every value, and explain what checkov finds."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from helm.chart_readme import WRITTEN, explained, render, rows
from helm.checkov import README, complaints

TEXT = """\
# About the file.

# What it is called.
name: ""
# Two lines
# of text.
outer:
  # Inner.
  inner: {a: 1, b: [x]}
  bare: 2
labels: {x: "1"}
"""


@pytest.mark.parametrize("readme", WRITTEN, ids=lambda readme: readme.parent.name)
def test_the_page_is_as_it_would_be_written(readme: Path) -> None:
    text = readme.read_text(encoding="utf-8")
    assert text == render(readme), "run: python -m tests.helm.chart_readme"


def test_rows() -> None:
    assert [tuple(row) for row in rows(TEXT)] == [
        ("name", "", "What it is called."),
        ("outer", None, "Two lines of text."),
        ("outer.inner", {"a": 1, "b": ["x"]}, "Inner."),
    ]


@pytest.mark.parametrize("readme", WRITTEN, ids=lambda readme: readme.parent.name)
def test_no_value_is_without_a_description(readme: Path) -> None:
    """Each leaf is told, or lies in a mapping that is told as a whole."""
    text = readme.with_name("values.yaml").read_text(encoding="utf-8")
    told = {row.key for row in rows(text) if row.default is not None}

    def untold(value: Any, path: str) -> list[str]:
        if path in told:
            return []
        if not isinstance(value, dict):
            return [path]
        dot = f"{path}." if path else ""
        return [leaf for key, below in value.items() for leaf in untold(below, f"{dot}{key}")]

    assert not untold(yaml.safe_load(text), "")


def finding(number: str) -> dict[str, str]:
    return {"check_id": number, "check_name": "n", "file_path": "/f", "resource": "r"}


def test_what_checkov_finds_has_to_be_explained() -> None:
    reasons = explained(README)
    assert len(reasons) >= 3
    assert all(reasons.values())
    known = [finding(number) for number in reasons]
    assert not list(complaints(known, reasons))
    assert list(complaints([*known, finding("CKV_K8S_1")], reasons)) == ["f: r: CKV_K8S_1 n"]
    (gone,) = complaints(known[1:], reasons)
    assert known[0]["check_id"] in gone
