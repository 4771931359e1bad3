"""URLs of PostgreSQL servers: checked when they are read, shown without their password."""

import re
from typing import Final
from urllib.parse import unquote_plus, urlsplit

from proxy.config.hidden import HIDDEN

SCHEMES: Final = ("postgresql", "postgres")
_PASSWORD: Final = re.compile(r":.*")


def check_postgres_url(text: str) -> str:
    """The URL unchanged. Raises ValueError, with no part of it in the message."""
    scheme, separator, rest = text.partition("://")
    if scheme not in SCHEMES or not separator:
        raise ValueError("must be a URL such as postgresql://USER@HOST:5432/DATABASE")
    if any(character <= " " or character == "\x7f" for character in text):
        raise ValueError("must not have spaces or control characters; percent-encode them")
    authority, _, path = rest.partition("/")
    if "#" in text or authority.count("@") > 1 or "@" in path:
        raise ValueError("has a '#' or '@' in a user, password or value; write %23 or %40")
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
    """The URL as it may be shown, also one that cannot be used."""
    scheme, separator, rest = text.partition("://")
    start, question, query = rest.partition("?")
    user, at, place = start.rpartition("@")
    pairs = "&".join(map(_shown_pair, query.split("&")))
    return scheme + separator + _PASSWORD.sub(f":{HIDDEN}", user) + at + place + question + pairs


def _shown_pair(pair: str) -> str:
    """`password`, and `sslpassword` of a key."""
    name, equals, _ = pair.partition("=")
    secret = equals and "password" in unquote_plus(name).lower()
    return f"{name}={HIDDEN}" if secret else pair
