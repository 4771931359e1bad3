"""Mappings of a case, read so that no key can be overlooked."""

from collections.abc import Mapping
from typing import Any


class CaseError(AssertionError):
    """A case that does not hold, or that says something the runner does not understand."""


class Fields:
    """A mapping whose keys are taken one by one; `finish` fails when one is left."""

    def __init__(self, where: str, data: Any) -> None:
        if not isinstance(data, Mapping):
            raise CaseError(f"{where}: a mapping is wanted, not {data!r}")
        self.where = where
        self._left = dict(data)

    def __contains__(self, key: object) -> bool:
        return key in self._left

    def take(self, key: str, default: Any = None) -> Any:
        return self._left.pop(key, default)

    def need(self, key: str) -> Any:
        if key not in self._left:
            raise CaseError(f"{self.where}: {key!r} is missing")
        return self._left.pop(key)

    def any_of(self, *keys: str, default: Any = None) -> Any:
        """The value of the first of these keys that is there."""
        for key in keys:
            if key in self._left:
                return self._left.pop(key)
        return default

    def rest(self) -> dict[Any, Any]:
        """Everything that is left, taken at once."""
        left, self._left = self._left, {}
        return left

    def finish(self) -> None:
        if self._left:
            raise CaseError(f"{self.where}: unknown {', '.join(map(repr, self._left))}")


def close(actual: float, expected: float) -> bool:
    """Equal as far as a single-precision float can tell."""
    return abs(actual - expected) <= max(1e-9, 1e-6 * abs(expected))


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def check(what: str, actual: Any, expected: Any) -> None:
    """Raise CaseError unless both are the same value, numbers within rounding."""
    numbers = all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in (actual, expected)
    )
    if not (close(actual, expected) if numbers else actual == expected):
        raise CaseError(f"{what}: expected {expected!r}, got {actual!r}")
