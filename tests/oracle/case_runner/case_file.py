"""Case files, and which runner takes which."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from case_runner import backoff, circuit_breaker, retry_after
from case_runner.fields import CaseError, Fields

Runner: TypeAlias = Callable[[Fields, Mapping[str, Any]], None]

_RUNNERS: dict[str, Runner] = {
    "circuit_breaker": circuit_breaker.run,
    "retry_after": retry_after.run,
    "backoff": backoff.run,
}
_FILE_KEYS = {"version", "about", "vocabulary", "defaults", "mapping", "rule", "note", "cases"}
_REMARKS = ("origin", "note", "about")


@dataclass(frozen=True)
class Case:
    """One case; `problem` stands for a file or entry that could not be understood."""

    id: str
    runner: Runner | None
    data: Any
    defaults: Mapping[str, Any]
    problem: str = ""

    def run(self) -> None:
        """Raises CaseError when the case does not hold."""
        if self.problem or self.runner is None:
            raise CaseError(f"{self.id}: {self.problem}")
        fields = Fields(self.id, self.data)
        fields.take("id")
        for remark in _REMARKS:
            fields.take(remark)
        self.runner(fields, self.defaults)
        fields.finish()


def load(file: Path) -> list[Case]:
    """The cases of a file; a file that cannot be used is one case, which fails."""
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
        return _cases(file, data)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, CaseError) as error:
        return [Case(file.name, None, None, {}, str(error))]


def _cases(file: Path, data: Any) -> list[Case]:
    runner = next((run for kind, run in _RUNNERS.items() if file.name.startswith(kind)), None)
    if runner is None:
        kinds = ", ".join(_RUNNERS)
        raise CaseError(f"the name of a case file begins with one of {kinds}")
    if not isinstance(data, dict) or not isinstance(data.get("cases"), list) or not data["cases"]:
        raise CaseError("a case file is a mapping with a list of cases")
    if data.get("version", 1) != 1:
        raise CaseError(f"version {data['version']!r} is not known")
    if unknown := set(data) - _FILE_KEYS:
        raise CaseError(f"unknown {', '.join(sorted(map(repr, unknown)))}")
    return [
        Case(f"{file.stem}:{_name(entry, number)}", runner, entry, data.get("defaults") or {})
        for number, entry in enumerate(data["cases"])
    ]


def _name(entry: Any, number: int) -> str:
    return str(entry.get("id", number)) if isinstance(entry, dict) else str(number)
