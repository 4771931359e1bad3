"""The findings of `check` as text, as JSON, and as annotations of GitHub Actions."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.config.loading import Loaded
from proxy.config.problems import ConfigError, Problem, Severity, format_path

TEXT, JSON, GITHUB = "text", "json", "github"


@dataclass(frozen=True, slots=True)
class Judged:
    """The result of reading one configuration. `name`: its files as given."""

    name: str
    found: Loaded | ConfigError

    @property
    def valid(self) -> bool:
        return isinstance(self.found, Loaded)

    @property
    def problems(self) -> tuple[Problem, ...]:
        return self.found.warnings if isinstance(self.found, Loaded) else self.found.problems


def as_json(judged: Sequence[Judged]) -> str:
    """One document: each configuration's validity and problems."""
    document = {
        "valid": all(one.valid for one in judged),
        "configurations": [
            {"file": one.name, "valid": one.valid, "problems": list(map(_object, one.problems))}
            for one in judged
        ],
    }
    return json.dumps(document, indent=2)


def _object(problem: Problem) -> dict[str, Any]:
    return {
        "file": problem.filename,
        "line": problem.mark.line,
        "column": problem.mark.column,
        "severity": problem.severity.value,
        "path": format_path(problem.path),
        "message": problem.message,
    }


def as_github(judged: Iterable[Judged]) -> str:
    """A workflow command for each problem, which GitHub shows at its line."""
    return "\n".join(_annotation(problem) for one in judged for problem in one.problems)


def _annotation(problem: Problem) -> str:
    kind = "error" if problem.severity is Severity.ERROR else "warning"
    place = f"file={_property(problem.filename)}"
    if problem.mark.line:
        place += f",line={problem.mark.line},col={problem.mark.column}"
    where = f"{format_path(problem.path)}: " if problem.path else ""
    return f"::{kind} {place}::{_data(where + problem.message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
