"""URLs of PostgreSQL servers: checked when they are read, shown without their password."""

import re
from typing import Final
from urllib.parse import urlsplit

SCHEMES: Final = ("postgresql", "postgres")
_IN_AUTHORITY: Final = re.compile(r"(?<=:)[^@/]*(?=@)")
_IN_QUERY: Final = re.compile(r"(?<=[?&]password=)[^&]*")
_HIDDEN: Final = "***"


def check_postgres_url(text: str) -> str:
    """The URL unchanged. Raises ValueError, with no part of it in the message."""
    scheme, separator, rest = text.partition("://")
    if scheme not in SCHEMES or not separator:
        raise ValueError("must be a URL such as postgresql://USER@HOST:5432/DATABASE")
    if any(character <= " " or character == "\x7f" for character in text):
        raise ValueError("must not have spaces or control characters; percent-encode them")
    try:
        parts = urlsplit(text)
        usable = parts.port != 0  # reading it checks it
    except ValueError:
        usable = False
    if not usable and "," not in rest.partition("/")[0]:
        raise ValueError("has a host or port that cannot be; a port is a number to 65535")
    if not rest.partition("?")[0].partition("/")[2]:
        raise ValueError("names no database; write postgresql://USER@HOST:5432/DATABASE")
    return text


def without_password(text: str) -> str:
    """The URL as it may be shown."""
    scheme, separator, rest = text.partition("://")
    authority, slash, path = rest.partition("/")
    shown = _IN_AUTHORITY.sub(_HIDDEN, authority, count=1)
    return scheme + separator + shown + slash + _IN_QUERY.sub(_HIDDEN, path)
