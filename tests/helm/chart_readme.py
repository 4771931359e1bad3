"""Generates the tables of values in the charts' READMEs from values.yaml.

    python -m tests.helm.chart_readme      writes them

A key's description is the comment right above it. A key without one belongs to the next key above
that has one, and is part of its default.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

CHARTS = Path(__file__).resolve().parents[2] / "helm"
WRITTEN = tuple(CHARTS / name / "README.md" for name in ("order-service", "resilience-proxy"))

MARK = "<!-- From here on the page is written by tests/helm/chart_readme.py. -->\n"
LONGEST = 60
"""Maximum characters of a default; for longer ones the table refers to values.yaml."""


class Row(NamedTuple):
    """One value: `default` is None for a heading, whose keys have their own rows."""

    key: str
    default: Any
    doc: str


def rows(text: str) -> list[Row]:
    """The values of a values.yaml, in its order."""
    node = yaml.compose(text, yaml.SafeLoader)
    return list(_rows(node, yaml.safe_load(text), text.splitlines(), ""))


def _rows(node: yaml.Node, value: Any, lines: list[str], prefix: str) -> Iterator[Row]:
    if not isinstance(node, yaml.MappingNode):
        return
    for key, below in node.value:
        begins_line = not lines[key.start_mark.line][: key.start_mark.column].strip()
        doc = _comment(lines, key.start_mark.line) if begins_line else ""
        path, inside = f"{prefix}{key.value}", value[key.value]
        rows_below = list(_rows(below, inside, lines, f"{path}."))
        if doc:
            yield Row(path, None if rows_below else inside, doc)
        yield from rows_below


def _comment(lines: list[str], line: int) -> str:
    """The comment directly above a line, joined to one line."""
    found: list[str] = []
    for above in reversed(lines[:line]):
        if not above.lstrip().startswith("# "):
            break
        found.insert(0, above.strip().removeprefix("# "))
    return " ".join(found)


def _default(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) and value else json.dumps(value)
    return f"`{text}`" if len(text) <= LONGEST and "\n" not in text else "see values.yaml"


def render(readme: Path) -> str:
    """The page with a new table; the text above the mark is kept."""
    introduction, mark, _ = readme.read_text(encoding="utf-8").partition(MARK)
    assert mark, f"{readme} has lost its mark"
    values = readme.with_name("values.yaml").read_text(encoding="utf-8")
    table = [
        f"| `{row.key}` | {_default(row.default)} | {row.doc.replace('|', chr(92) + '|')} |\n"
        for row in rows(values)
    ]
    head = "\n| value | default | |\n|---|---|---|\n"
    return "".join([introduction, mark, head, *table])


def explained(readme: Path) -> dict[str, str]:
    """Checks of checkov that do not pass, with the page's reasons."""
    text = readme.read_text(encoding="utf-8")
    return dict(re.findall(r"^\| `(CKV\w+)` [^|]*\| ([^|]+) \|$", text, re.MULTILINE))


if __name__ == "__main__":
    for each in WRITTEN:
        each.write_text(render(each), encoding="utf-8")
