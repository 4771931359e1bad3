"""Tables of text for commands."""

from collections.abc import Iterable
from typing import Any


def columns(titles: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    """Columns as wide as their longest text; a title with ``>`` stands above numbers.

    A row stays one line (`printable`).
    """
    lines = [
        [title.lstrip(">") for title in titles],
        *([printable(str(cell)) for cell in row] for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligns = [">" if title.startswith(">") else "<" for title in titles]
    return "\n".join(
        "  ".join(
            f"{cell:{align}{width}}"
            for cell, align, width in zip(line, aligns, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def printable(text: str) -> str:
    """One line, without control characters that a terminal obeys."""
    if text.isprintable():
        return text
    return "".join([one if one.isprintable() else " " for one in text])
