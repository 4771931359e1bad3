"""Generates the table of docs/inject.md from the settings.

python -m tests.documents.settings       writes it
"""

from collections.abc import Iterator
from pathlib import Path

from proxy import __version__
from proxy.kubernetes.settings import SETTINGS

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "inject.md"
HEAD = "| `resilience-proxy/…` | value | default | |\n|---|---|---|---|\n"


def render(page: str) -> str:
    """The page with a new table."""
    before, head, after = page.partition(HEAD)
    assert head, f"{DOCUMENT} has lost the head of its table"
    rest = after[after.index("\n## ") :]
    return before + head + "".join(_rows()) + rest


def _rows() -> Iterator[str]:
    for setting in SETTINGS:
        values = setting.takes.replace("|", "` or `")
        default = setting.default.replace(__version__, "VERSION")
        yield f"| `{setting.name}` | `{values}` | `{default}` | {setting.doc} |\n"


if __name__ == "__main__":
    DOCUMENT.write_text(render(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
