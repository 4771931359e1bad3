"""Generates the table of docs/kubernetes.md from the settings.

python -m tests.documents.sidecar_settings      writes it
"""

from pathlib import Path

from proxy.kubernetes.settings import SETTINGS, Setting

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "kubernetes.md"

MARK = "<!-- From here on the page is written by tests/documents/sidecar_settings.py. -->\n"


def render(page: str) -> str:
    """The page with a new table; the text above the mark is kept."""
    introduction, mark, _ = page.partition(MARK)
    assert mark, f"{DOCUMENT} has lost its mark"
    head = "\n| annotation | option | value | default | |\n|---|---|---|---|---|\n"
    return "".join([introduction, mark, head, *(f"{_row(setting)}\n" for setting in SETTINGS)])


def _row(setting: Setting) -> str:
    takes = setting.takes.replace("|", "`, `")
    option = f"--{setting.name}" if "true" not in takes else f"--[no-]{setting.name}"
    cells = (
        f"`{setting.annotation}`",
        f"`{option}`",
        f"`{takes}`",
        f"`{setting.default}`",
        setting.doc.replace("|", "\\|"),
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    DOCUMENT.write_text(render(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
