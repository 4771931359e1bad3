"""The fenced code blocks of a Markdown file."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """One block: `language` as the fence names it, `line` where its text begins."""

    file: Path
    line: int
    language: str
    text: str

    @property
    def id(self) -> str:
        return f"{self.file.name}:{self.line}"


@dataclass(frozen=True, slots=True)
class Command:
    """A line after ``$ `` in a console block, and the output that is shown under it."""

    text: str
    output: str


def blocks(file: Path, language: str | None = None) -> list[Block]:
    """The blocks of a file in order; only those in `language`, if it is given."""
    text = file.read_text(encoding="utf-8")
    found = [
        Block(file, text.count("\n", 0, match.start(2)) + 1, match[1], match[2])
        for match in _FENCE.finditer(text)
    ]
    return [block for block in found if language in (None, block.language)]


def commands(block: Block) -> list[Command]:
    """The commands of a console block, each with the output that is shown under it."""
    found: list[Command] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:], ""))
        else:
            assert found, f"{block.id}: output before the first command"
            found[-1] = Command(found[-1].text, f"{found[-1].output}{line}\n")
    return found


def pattern(shown: str) -> re.Pattern[str]:
    """Shown output as a pattern: ``...`` matches anything, blanks at a line's end do not count."""
    lines = "\n".join(line.rstrip() for line in shown.splitlines())
    parts = (re.escape(part) for part in lines.split("..."))
    return re.compile(".*?".join(parts) + r"\s*", re.DOTALL)
