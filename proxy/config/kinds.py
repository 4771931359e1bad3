"""Kinds of values in the file: how each is read, written back, and described to editors.

A kind is one object with all three operations, so that reader, `/config` and JSON Schema cannot
differ. The kinds of single values are here and in `names.py`; lists, mappings and records are in
`record.py`; `keys.py` assigns kinds to keys.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Generic, TypeAlias, TypeVar

from proxy import units
from proxy.config.advice import OFF_WORDS, ON_WORDS
from proxy.config.cursor import Cursor
from proxy.config.environment import other_syntax
from proxy.config.hidden import HIDDEN
from proxy.config.suggestions import did_you_mean

T = TypeVar("T")
E = TypeVar("E", bound=Enum)
JsonSchema: TypeAlias = dict[str, Any]

ENVIRONMENT: JsonSchema = {"$ref": "#/$defs/environment"}
"""A text that contains ``${NAME}``: its value is known only when the file is loaded."""


class Kind(ABC, Generic[T]):
    """`base` is the value without one in the file; records merge into it, others ignore it."""

    @abstractmethod
    def read(self, at: Cursor, base: T | None = None) -> T:
        """The value. Raises Reported after a problem without a usable value."""

    @abstractmethod
    def dump(self, value: T, reveal: bool) -> Any:
        """Plain data in the file's spelling; `reveal` False hides possible secrets."""

    @abstractmethod
    def schema(self) -> JsonSchema: ...


class Leaf(Kind[T]):
    """A kind that is written as one text. `wants` completes the sentence "must be ...".

    In quotes, everything is a text. `bare`: this is the wrong type. `counts`: it is the wrong type
    of a number. Elsewhere ("503", "0.2", "0") it means the same. `blank`: an empty text is a value.
    """

    wants: str
    bare = False
    counts = False
    blank = False

    @abstractmethod
    def parse(self, text: str) -> T:
        """The value. Raises ValueError with a sentence about the text."""

    def take(self, text: str) -> T:
        """The same, and an empty text is an error."""
        if not self.blank and not text.strip():
            raise ValueError(f"is empty; it must be {self.wants}")
        return self.parse(text)

    def read(self, at: Cursor, base: T | None = None) -> T:
        return self.read_checked(at)

    def read_checked(self, at: Cursor) -> T:
        found = at.text()
        if found is None:
            raise at.error(f"must be {self.wants}")
        text, quoted = found
        if not quoted and at.absent():
            raise at.error(f"has no value; it must be {self.wants}")
        if quoted and self.bare and text.strip():
            raise at.error(f"must be {self.wants}; remove the quotes")
        try:
            value = self.take(text)
        except ValueError as error:
            raise at.error(other_syntax(text) or str(error)) from None
        if quoted and self.counts and text.isdigit():
            raise at.error(f"{text!r} in quotes is a text; remove the quotes")
        return value

    def dump(self, value: T, reveal: bool) -> Any:
        return value


class Duration(Leaf[float]):
    wants = "a duration such as 250ms or 5s"

    def __init__(self, *, zero: bool = False) -> None:
        self._zero = zero

    def parse(self, text: str) -> float:
        seconds = units.parse_duration(text)
        if not seconds and not self._zero:
            raise ValueError("must be more than 0s")
        return seconds

    def dump(self, value: float, reveal: bool) -> str:
        return units.format_duration(value)

    def schema(self) -> JsonSchema:
        pattern = r"^[0-9]+(\.[0-9]+)?(us|ms|s|m|h|d)$"
        return _any_of({"type": "string", "pattern": pattern}, *_bare_zero(self._zero))


class Size(Leaf[int]):
    wants = "a size such as 64KiB or 1MiB"

    def __init__(self, *, zero: bool = False) -> None:
        self._zero = zero

    def parse(self, text: str) -> int:
        size = units.parse_size(text)
        if not size and not self._zero:
            raise ValueError("must be more than 0B")
        return size

    def dump(self, value: int, reveal: bool) -> Any:
        return units.format_size(value)

    def schema(self) -> JsonSchema:
        pattern = r"^[0-9]+(\.[0-9]+)?(B|KiB|MiB|GiB)$"
        return _any_of({"type": "string", "pattern": pattern}, *_bare_zero(self._zero))


class Ratio(Leaf[float]):
    wants = "a ratio such as 20% or 0.2"

    def __init__(self, *, zero: bool = True) -> None:
        self._zero = zero

    def parse(self, text: str) -> float:
        ratio = units.parse_ratio(text)
        if not ratio and not self._zero:
            raise ValueError("must be more than 0%")
        return ratio

    def dump(self, value: float, reveal: bool) -> str:
        return units.format_ratio(value)

    def schema(self) -> JsonSchema:
        share: JsonSchema = {"type": "number", "maximum": 1}
        share |= {"minimum": 0} if self._zero else {"exclusiveMinimum": 0}
        return _any_of({"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?%?$"}, share)


class Integer(Leaf[int]):
    bare = True

    def __init__(self, minimum: int, maximum: int = 2**31 - 1) -> None:
        self._minimum, self._maximum = minimum, maximum
        self.wants = "a whole number"

    def parse(self, text: str) -> int:
        digits = text[1:] if text[:1] in ("-", "+") else text
        if not (digits.isascii() and digits.isdigit()):
            raise ValueError(f"{text!r} is not a whole number")
        value = int(text) if len(digits) <= 12 else int(text[:12])
        if value < self._minimum:
            raise ValueError(f"must be at least {self._minimum}, not {text}")
        if value > self._maximum:
            raise ValueError(f"must be at most {self._maximum}, not {text}")
        return value

    def schema(self) -> JsonSchema:
        return _any_of({"type": "integer", "minimum": self._minimum, "maximum": self._maximum})


class Number(Leaf[float]):
    wants = "a number"
    bare = True

    def __init__(self, minimum: float) -> None:
        self._minimum = minimum

    def parse(self, text: str) -> float:
        whole, _, fraction = text.removeprefix("-").partition(".")
        if not (f"{whole}{fraction}".isascii() and whole.isdigit() and len(text) <= 18
                and (fraction.isdigit() or "." not in text)):  # fmt: skip
            raise ValueError(f"{text!r} is not a number")
        if float(text) < self._minimum:
            raise ValueError(f"must be at least {self._minimum:g}, not {text}")
        return float(text)

    def dump(self, value: float, reveal: bool) -> float | int:
        return int(value) if value == int(value) else value

    def schema(self) -> JsonSchema:
        return _any_of({"type": "number", "minimum": self._minimum})


class Boolean(Leaf[bool]):
    """Only ``true`` and ``false``: other YAML 1.1 booleans are texts here."""

    wants = "true or false"
    bare = True

    def parse(self, text: str) -> bool:
        if text.lower() not in ("true", "false"):
            meant = "true" if text.lower() in ON_WORDS else "false"
            hint = f"; did you mean {meant}?" if text.lower() in ON_WORDS | OFF_WORDS else ""
            raise ValueError(f"must be true or false, not {text!r}{hint}")
        return text.lower() == "true"

    def schema(self) -> JsonSchema:
        return _any_of({"type": "boolean"})


class Choice(Leaf[E]):
    """One of an enumeration's values, literally: ``off`` is the word, not false."""

    def __init__(self, enum: type[E]) -> None:
        self._enum = enum
        self.words = [member.value for member in enum]
        self.wants = "one of " + ", ".join(self.words)

    def parse(self, text: str) -> E:
        if text == "false" and "off" in self.words:
            text = "off"  # as a YAML 1.1 writer spells it
        if text not in self.words:
            hint = did_you_mean(text, self.words)
            if text in OFF_WORDS and "observe" in self.words:
                hint = "; observe lets everything pass"
            elif text in ON_WORDS and "enforce" in self.words:
                hint = "; did you mean 'enforce'?"
            raise ValueError(f"must be {self.wants}, not {text!r}{hint}")
        return self._enum(text)

    def dump(self, value: E, reveal: bool) -> Any:
        return value.value

    def schema(self) -> JsonSchema:
        return _any_of(words_schema(self.words))


class Text(Leaf[str]):
    """Any text that `check` returns, changed or not; it raises ValueError for a bad one."""

    def __init__(
        self,
        wants: str,
        check: Callable[[str], str] = str,
        *,
        blank: bool = False,
        secret: bool = False,
        pattern: str | None = None,
    ) -> None:
        self.wants = wants
        self.blank = blank
        self._check = check
        self._secret = secret
        self._pattern = pattern

    def parse(self, text: str) -> str:
        return self._check(text)

    def dump(self, value: str, reveal: bool) -> str:
        return HIDDEN if self._secret and not reveal else value

    def schema(self) -> JsonSchema:
        if self._pattern:
            return _any_of({"type": "string", "pattern": self._pattern})
        least = {} if self.blank else {"minLength": 1}
        return {"type": ["string", "number", "boolean"], **least}


def words_schema(words: Sequence[str]) -> JsonSchema:
    """An enumeration; a YAML 1.1 editor may write ``off`` as false."""
    return {"enum": [*words, *([False] if "off" in words else [])]}


def _bare_zero(allowed: bool) -> list[JsonSchema]:
    """Zero is the only number without a unit."""
    return [{"const": 0}, {"const": "0"}] if allowed else []


def _any_of(*schemas: JsonSchema) -> JsonSchema:
    return {"anyOf": [*schemas, ENVIRONMENT]}
