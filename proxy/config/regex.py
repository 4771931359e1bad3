"""Regular expressions in linear time: RE2's (docs/adr/0037).

Python's own engine backtracks: 40 bytes of a path could block every request for seconds. RE2's time
is proportional to the text, for every expression. It supports no look-around and no back
references. It is imported when a file has an expression.
"""

import re
from typing import Any, Final

MAX_TEXT: Final = 16 * 1024
"""Bytes. A longer text never matches: it is not examined."""
MAX_STEPS: Final = 500
"""Maximum steps of a compiled expression; the time per text grows with them."""
_MAX_MEMORY: Final = 1024 * 1024
"""Maximum bytes of one expression, including its match cache."""
_LONGEST_PREFIX: Final = 64

_ADVICE: Final = (
    (re.compile(r"\(\?<?[=!]"), "look-around"),
    (re.compile(r"\\[1-9]|\(\?P="), "back references"),
    (re.compile(r"\(\?>|[*+?}]\+"), "atomic groups and possessive repeats"),
    (re.compile(r"\(\?\("), "conditions"),
    (re.compile(r"\(\?#"), "comments"),
    (re.compile(r"\\Z"), r"\Z (\z is the end, and the whole text is compared anyway)"),
)


class Regex:
    """A compiled expression. Raises ValueError, whose text says what is wrong.

    `prefix`: the known beginning of every text that it matches.
    """

    __slots__ = ("_fullmatch", "pattern", "prefix")

    def __init__(self, pattern: str) -> None:
        import re2

        options = re2.Options()
        options.max_mem = _MAX_MEMORY
        options.never_capture = True
        options.log_errors = False
        try:
            compiled = re2.compile(pattern.encode(), options)
        except re2.error as error:
            raise ValueError(_explained(pattern, error)) from None
        if compiled.programsize > MAX_STEPS:
            raise ValueError(
                f"is too large: it compiles to {compiled.programsize} steps, {MAX_STEPS} are "
                "allowed; use smaller counts, such as [a-z]+ instead of [a-z]{1,500}"
            )
        self.pattern = pattern
        self.prefix = _common_prefix(compiled)
        self._fullmatch = compiled.fullmatch

    def matches(self, text: str) -> bool:
        """Whether the expression covers the whole text."""
        encoded = text.encode("utf-8", "surrogatepass")
        return len(encoded) <= MAX_TEXT and self._fullmatch(encoded) is not None


def _common_prefix(compiled: Any) -> str:
    """The beginning of every text that matches; empty if none is certain.

    All matching texts sort between two texts, so they begin with the prefix of both.
    """
    import re2

    try:
        first, last = compiled.possiblematchrange(_LONGEST_PREFIX)
    except re2.error:  # RE2 has no range, for example for .*
        return ""
    length = 0
    for one, other in zip(first, last, strict=False):
        if one != other or one > 127:
            break
        length += 1
    return str(first[:length], "ascii")


def _explained(pattern: str, error: Exception) -> str:
    """RE2's message, or the part of the expression that RE2 does not support."""
    for unknown, name in _ADVICE:
        for found in unknown.finditer(pattern):
            if not _escaped(pattern, found.start()):
                return (
                    f"is not a regular expression of RE2, which matches in linear time: RE2 has no "
                    f"{name}; {found[0]!r} is at character {found.start() + 1}"
                )
    told = error.args[0] if error.args else str(error)
    text = told.decode("utf-8", "replace") if isinstance(told, bytes) else str(told)
    return f"is not a regular expression: {text}"


def _escaped(pattern: str, index: int) -> bool:
    """Whether a backslash escapes the character."""
    before = pattern[:index]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1
