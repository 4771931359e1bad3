"""Replaces ``${NAME}`` and ``${NAME:-default}`` inside values.

As in a shell, the default also replaces a variable that is set but empty. ``$${`` is a literal
``${``; any other dollar sign is literal, so regular expressions need no escaping.
"""

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

T = TypeVar("T")

_REFERENCE = re.compile(r"\$(\$\{)|\$\{([^}]*)(\}?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_OTHER_SYNTAX = re.compile(
    r"[\w.:/-]*(\$(?:([A-Za-z_]\w*)|\(([A-Za-z_]\w*)\)))(?::\$?\w+)?", re.ASCII
)


def substitute(text: str, environ: Mapping[str, str]) -> str:
    """The text with every reference replaced. Raises ValueError that names each missing one."""
    return "".join(pieces(text, environ, _never)) if "${" in text else text


def pieces(text: str, environ: Mapping[str, str], own: Callable[[str], T | None]) -> list[str | T]:
    """The text in parts, with the environment inserted.

    `own` gets what stands in ``${...}`` and returns the part that it means, None for a name of the
    environment; it raises ValueError for a malformed one. Raises ValueError like `substitute`.
    """
    parts: list[str | T] = []
    unset: list[str] = []
    end = 0
    for found in _REFERENCE.finditer(text):
        parts.append(text[end : found.start()])
        end = found.end()
        if found[1]:
            parts.append(found[1])
            continue
        part = own(found[2]) if found[3] else None
        parts.append(_value_of(found, environ, unset) if part is None else part)
    parts.append(text[end:])
    if unset:
        names = " and ".join(dict.fromkeys(unset))
        raise ValueError(
            f"{names} is not set in the environment; ${{{unset[0]}:-default}} gives a default"
        )
    return parts


def _never(_: str) -> str | None:
    return None


def _value_of(found: re.Match[str], environ: Mapping[str, str], unset: list[str]) -> str:
    name, default_given, default = found[2].partition(":-")
    if not found[3] or not _NAME.fullmatch(name):
        raise ValueError(f"{found[0]} is malformed; write ${{NAME}} or ${{NAME:-default}}")
    value = environ.get(name)
    if value and not _is_text(value):
        raise ValueError(f"{name} is not UTF-8 in the environment")
    if default_given:
        return value or default
    if value is None:
        unset.append(name)
        return ""
    return value


def _is_text(value: str) -> bool:
    """Python keeps bytes of the environment that are not UTF-8 as halves of characters."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def other_syntax(text: str) -> str:
    """Advice for an invalid value that is a reference as ``$NAME`` or ``$(NAME)``, else ""."""
    found = _OTHER_SYNTAX.fullmatch(text)
    return f"{found[1]} is not replaced; write ${{{found[2] or found[3]}}}" if found else ""
