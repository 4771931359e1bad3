"""The kind of a key that requests are hashed by: where a request has it."""

import re
from collections.abc import Mapping
from typing import Any, Final

from proxy.config.cursor import Cursor, Reported
from proxy.config.kinds import ENVIRONMENT, Boolean, JsonSchema, Kind, Text
from proxy.config.names import HEADER_NAME
from proxy.config.suggestions import did_you_mean
from proxy.http.hash_key import HashKey, HashSource

_COOKIE_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_CLIENT: Final = HashSource.CLIENT.value
_FLAG: Final = Boolean()


def _check_cookie(text: str) -> str:
    if not _COOKIE_NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not the name of a cookie")
    return text


def _check_parameter(text: str) -> str:
    if not text or len(text) > 256:
        raise ValueError("the name of a query parameter has 1 to 256 characters")
    return text


_NAMES: Final = {
    HashSource.HEADER.value: HEADER_NAME,
    HashSource.COOKIE.value: Text("a cookie's name", _check_cookie),
    HashSource.QUERY.value: Text("a query parameter's name", _check_parameter),
}


def _mapping_of(text: str) -> str:
    """Advice for a key written as rate limits have theirs: ``header:user-id``."""
    source, colon, name = text.partition(":")
    named = colon and source in _NAMES and name.strip()
    return f"; did you mean {{{source}: {name.strip()}}}?" if named else ""


def _several(given: Mapping[str, Cursor]) -> str:
    """What a mapping has that several files have made, each with a key of its own."""
    if len({cursor.mark.file for cursor in given.values()}) == 1:
        return ""
    other = min(given, key=lambda key: given[key].mark.file)
    return f", not {' and '.join(given)}; {other}: null removes that of the other file"


class HashKeyKind(Kind[HashKey]):
    """``{header: NAME}``, ``{cookie: NAME}``, ``{query: NAME}`` or ``client``.

    ``{client: true}`` is the last one, written as the others are.
    """

    wants = "{header: NAME}, {cookie: NAME}, {query: NAME} or client"

    def read(self, at: Cursor, base: HashKey | None = None) -> HashKey:
        found = at.text()
        if found is not None:
            if found[0] != _CLIENT:
                hint = _mapping_of(found[0]) or did_you_mean(found[0], (_CLIENT,))
                raise at.error(f"must be {self.wants}, not {found[0]!r}{hint}")
            return HashKey(HashSource.CLIENT)
        if at.members() is None:
            raise at.error(f"must be one of {self.wants}")
        keys = (*_NAMES, _CLIENT)
        given = at.entries(keys)
        if (at.members() or {}).keys() - set(keys):
            raise Reported
        if len(given) != 1:
            raise at.error(f"must be {self.wants}{_several(given) if given else ''}")
        ((source, cursor),) = given.items()
        if source == _CLIENT:
            if not _FLAG.read(cursor):
                raise cursor.error(f"false names no key: must be {self.wants}")
            return HashKey(HashSource.CLIENT)
        name = _NAMES[source].read(cursor)
        return HashKey(HashSource(source), (name.lower() if source == "header" else name).encode())

    def dump(self, value: HashKey, reveal: bool) -> Any:
        return {value.source.value: value.name} if value.name else _CLIENT

    def schema(self) -> JsonSchema:
        named = {
            "type": "object",
            "additionalProperties": False,
            "minProperties": 1,
            "maxProperties": 1,
            "properties": {
                **{key: kind.schema() for key, kind in _NAMES.items()},
                _CLIENT: {"const": True},
            },
        }
        return {"anyOf": [{"const": _CLIENT}, named, ENVIRONMENT]}
