"""What is wrong with the files: every problem at its place, all of them at once."""

import re
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, TypeAlias

Path: TypeAlias = tuple[str | int, ...]
"""Keys and list indices from the root of the file to a value."""

_PLAIN_KEY = re.compile(r"[\w-]+", re.ASCII)


class Mark(NamedTuple):
    """A place in a file: line and column count from 1.

    `file`: which of the files that are read together. Line 0: a flag or a variable of the
    environment, which has a name and no lines.
    """

    line: int
    column: int
    file: int = 0


class Severity(Enum):
    """An error keeps the file from being used; a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong. `path` is empty where the whole file is meant."""

    filename: str
    mark: Mark
    path: Path
    message: str
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        warning = "warning: " if self.severity is Severity.WARNING else ""
        where = f"{format_path(self.path)}: " if self.path else ""
        place = f":{self.mark.line}:{self.mark.column}" if self.mark.line else ""
        return f"{self.filename}{place}: {warning}{where}{self.message}"


class ConfigError(Exception):
    """The file cannot be used. `problems` has its errors and its warnings, by their place."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def format_path(path: Path) -> str:
    """``routes[2].retry.attempts``; a key with other characters is quoted: ``headers["a b"]``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN_KEY.fullmatch(step):
            text += f".{step}" if text else step
        else:
            quoted = step.encode("unicode_escape").decode("ascii").replace('"', '\\"')
            text += f'["{quoted}"]'
    return text


class Problems:
    """Collects the problems of files that are read together.

    `filenames` are those that `Mark.file` counts. A problem found twice, through an alias, counts
    once.
    """

    def __init__(self, *filenames: str) -> None:
        self.filenames = list(filenames)
        self._found: dict[Problem, None] = {}

    def error(self, mark: Mark, path: Path, message: str) -> None:
        self._found[Problem(self.filenames[mark.file], mark, path, message)] = None

    def warning(self, mark: Mark, path: Path, message: str) -> None:
        problem = Problem(self.filenames[mark.file], mark, path, message, Severity.WARNING)
        self._found[problem] = None

    def any_below(self, *sections: str) -> bool:
        """Whether there is a problem in one of these keys of the root."""
        return any(
            problem.path[:1] == (section,) for problem in self._found for section in sections
        )

    def raise_errors(self) -> None:
        """Raise ConfigError with all that was found, if an error is among it."""
        if any(problem.severity is Severity.ERROR for problem in self._found):
            raise ConfigError(self.sorted())

    def sorted(self) -> tuple[Problem, ...]:
        return tuple(sorted(self._found, key=lambda problem: (problem.mark.file, problem.mark)))
