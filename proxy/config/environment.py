"""Replaces ``${NAME}`` and ``${NAME:-default}`` inside values.

As in a shell, the default also replaces a variable that is set but empty. ``$${`` is a literal
``${``; any other dollar sign is literal, so regular expressions need no escaping.
"""

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$(\$\{)|\$\{([^}]*)(\}?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_OTHER_SYNTAX = re.compile(
    r"[\w.:/-]*(\$(?:([A-Za-z_]\w*)|\(([A-Za-z_]\w*)\)))(?::\$?\w+)?", re.ASCII
)


def substitute(text: str, environ: Mapping[str, str]) -> str:
    """The text with every reference replaced. Raises ValueError that names each missing one."""
    if "${" not in text:
        return text
    unset: list[str] = []

    def value_of(found: re.Match[str]) -> str:
        if found[1]:
            return found[1]
        name, default_given, default = found[2].partition(":-")
        if not found[3] or not _NAME.fullmatch(name):
            raise ValueError(f"{found[0]} is malformed; write ${{NAME}} or ${{NAME:-default}}")
        value = environ.get(name)
        if default_given:
            return value or default
        if value is None:
            unset.append(name)
            return ""
        return value

    replaced = _REFERENCE.sub(value_of, text)
    if unset:
        names = " and ".join(dict.fromkeys(unset))
        raise ValueError(
            f"{names} is not set in the environment; ${{{unset[0]}:-default}} gives a default"
        )
    return replaced


def other_syntax(text: str) -> str:
    """Advice for an invalid value that is a reference as ``$NAME`` or ``$(NAME)``, else ""."""
    found = _OTHER_SYNTAX.fullmatch(text)
    return f"{found[1]} is not replaced; write ${{{found[2] or found[3]}}}" if found else ""
