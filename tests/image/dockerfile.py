"""A Dockerfile, taken apart: instructions by stage, as far as this one uses the format."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Instruction:
    """``COPY a b`` is the word COPY and the rest as it is written, continued lines joined."""

    word: str
    rest: str

    def command(self) -> list[str] | None:
        """The command in JSON (exec form) at the end, or None where a shell would run it."""
        found = re.search(r"\[.*\]$", self.rest)
        command: list[str] | None = json.loads(found[0]) if found else None
        return command

    def pairs(self) -> dict[str, str]:
        """Of ENV, LABEL and ARG."""
        return dict(pair.split("=", 1) for pair in shlex.split(self.rest) if "=" in pair)


@dataclass(slots=True)
class Stage:
    """`base` is the image after FROM, arguments filled in."""

    base: str
    name: str
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, word: str) -> list[Instruction]:
        return [one for one in self.instructions if one.word == word]

    def only(self, word: str) -> Instruction:
        (one,) = self.all(word)
        return one

    def environment(self) -> dict[str, str]:
        return {name: text for one in self.all("ENV") for name, text in one.pairs().items()}


def instructions(text: str) -> Iterator[Instruction]:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        word, _, rest = line.partition(" ")
        yield Instruction(word, rest.strip())


def stages(file: Path) -> list[Stage]:
    """The stages in their order."""
    arguments: dict[str, str] = {}
    found: list[Stage] = []
    for one in instructions(file.read_text(encoding="utf-8")):
        if one.word == "FROM":
            base, _, name = one.rest.partition(" AS ")
            found.append(Stage(_filled(base, arguments), name))
        elif found:
            found[-1].instructions.append(one)
        else:
            assert one.word == "ARG", f"{one.word} before FROM"
            arguments |= {k: _filled(v, arguments) for k, v in one.pairs().items()}
    return found


def _filled(text: str, arguments: dict[str, str]) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], text)
