"""The documents and the code are in plain words: see CONTRIBUTING, 'Style'."""

import re
from pathlib import Path

import pytest

from documents.blocks import DOCUMENTS, ROOT

BANNED = {
    r"\b(at|from) the begin\b": "at the start",
    r"\banew\b": "again",
    r"\bin the place of\b": "instead of",
    r"\bbut for\b": "except",
    r"\b(whoever|somebody|nobody)\b": "name the actor: the client, the operator",
    r"\bwho (has|asks|waits|gets|gives|comes|wants)\b": "name the actor",
    r"(?<!there )\bis no (?!longer\b|more\b|less\b|other\b|loss\b|such\b)\w+": "is not a",
    r"\b(not|nothing) to be had\b": "cannot be",
    r"\bas good as\b": "counts as",
    r"\b(lest|heed|likewise)\b": "so that not; obey; as",
    r"\bunder way\b": "in flight",
}
"""Words that make a newcomer stumble, as regular expressions, and what to say."""

MOST_WORDS_OF_README = 1500

SOURCES = [
    file
    for suffix in ("py", "js", "html", "css", "yaml")
    for file in sorted((ROOT / "proxy").rglob(f"*.{suffix}"))
    if "vendor" not in file.parts
]


def findings(text: str) -> list[str]:
    """The banned words of a text, each with its line and what to say instead."""
    return [
        f"{text.count(chr(10), 0, found.start()) + 1}: {found[0]!r}: {instead}"
        for pattern, instead in BANNED.items()
        for found in re.finditer(pattern, text, re.IGNORECASE)
    ]


@pytest.mark.parametrize(
    "file", [*DOCUMENTS, *SOURCES], ids=lambda file: str(file.relative_to(ROOT))
)
def test_no_banned_words(file: Path) -> None:
    assert not findings(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Read it anew.\nIt is no number.", ["1: 'anew'", "2: 'is no number'"]),
        ("It is no longer open. There is no route. A number of no more than 5.", []),
        ("Whoever asks", ["1: 'Whoever'"]),
    ],
)
def test_what_is_found(text: str, found: list[str]) -> None:
    assert [one.partition("': ")[0] + "'" for one in findings(text)] == found


def test_the_readme_is_short() -> None:
    words = (ROOT / "README.md").read_text(encoding="utf-8").split()
    assert len(words) <= MOST_WORDS_OF_README
