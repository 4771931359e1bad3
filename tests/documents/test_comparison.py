"""docs/comparison.md names keys that exist."""

import re

from documents.blocks import ROOT

PAGE = (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and "this proxy" not in line]


def test_every_row_has_a_cell_for_each_column() -> None:
    assert len(ROWS) > 15
    assert {row.count("|") for row in ROWS} == {7}


def test_every_key_is_one_of_the_configuration() -> None:
    keys = {key for row in ROWS for key in re.findall(r"\(`([a-z_.]+)`\)", row)}
    assert len(keys) > 10
    known = set(re.findall(r"^\| `(?:routes\[\]\.)?([a-z_.]+)`", REFERENCE, re.MULTILINE))
    missing = {
        key for key in keys if not any(one == key or one.startswith(f"{key}.") for one in known)
    }
    assert not missing
