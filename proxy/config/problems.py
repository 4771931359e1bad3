"""Problems of the files: collects all of them, each with its place."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, TypeAlias

Path: TypeAlias = tuple[str | int, ...]
"""Keys and list indices from the root of the file to a value."""

_PLAIN_KEY = re.compile(r"[\w-]+", re.ASCII)


class Mark(NamedTuple):
    """A place in a file: line and column count from 1.

    `file`: index of the file among those read together. Line 0: a flag or an environment
    variable, which has a name and no lines.
    """

    line: int
    column: int
    file: int = 0


Marks: TypeAlias = Mapping[Path, Mark]
"""Where each key that the files have is written."""


class Severity(Enum):
    """An error keeps the file from being used; a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem. `path` is empty if it concerns the whole file."""

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
    """The file cannot be used. `problems` has its errors and warnings in order of place."""

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

    `filenames` are the files that `Mark.file` counts. A problem found twice, through an alias,
    counts once.
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
        """Whether one of these root keys has a problem."""
        return any(
            problem.path[:1] == (section,) for problem in self._found for section in sections
        )

    def raise_errors(self) -> None:
        """Raise ConfigError with all problems if one is an error."""
        if any(problem.severity is Severity.ERROR for problem in self._found):
            raise ConfigError(self.sorted())

    def sorted(self) -> tuple[Problem, ...]:
        return tuple(sorted(self._found, key=lambda problem: (problem.mark.file, problem.mark)))
