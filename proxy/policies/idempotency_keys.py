"""Reads idempotency keys, and makes the digests that identify records and compare requests.

Only digests are stored: a key may be a customer's number.

A fingerprint has up to three parts. A body that is read before the claim has no start.

    the head, 16 bytes │ the start: its length, 8, and digest, 32 │ digest of the whole body, 32
                       └── of a longer body ──────────────────────┴── once all of it is known
"""

import json
import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final, TypeAlias

_BARE: Final = re.compile(rb"[\x21-\x7e]{1,255}")
_QUOTED: Final = re.compile(rb'"((?:[\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_ESCAPED: Final = re.compile(rb'\\(["\\])')

HEAD_BYTES: Final = 16
_LENGTH_BYTES: Final = 8
_DIGEST_BYTES: Final = 32
_START_BYTES: Final = _LENGTH_BYTES + _DIGEST_BYTES

Digest: TypeAlias = Any
"""A hash object: typeshed's name for it is private."""


class KeyInvalid(ValueError):
    """The text is a sentence about the key that does not contain it."""


def parse_key(values: Sequence[bytes]) -> bytes | None:
    """The key of these fields; None: they have none. Raises KeyInvalid.

    A structured-field String (RFC 8941 section 3.3.3) or the same without quotes: 1 to 255 visible
    ASCII characters.
    """
    keys = {_parse(value.strip()) for value in values}
    if len(keys) > 1:
        raise KeyInvalid("The request has two idempotency keys that differ.")
    return keys.pop() if keys else None


def _parse(value: bytes) -> bytes:
    if value[:1] == b'"':
        quoted = _QUOTED.fullmatch(value)
        if quoted is None:
            raise KeyInvalid("The idempotency key is not a quoted string of visible ASCII.")
        value = _ESCAPED.sub(rb"\1", quoted[1])
    if not _BARE.fullmatch(value):
        raise KeyInvalid("An idempotency key has 1 to 255 visible ASCII characters.")
    return value


def key_digest(key: bytes) -> bytes:
    return sha256(b"key:" + key).digest()


def scope_digest(parts: Sequence[bytes | None]) -> bytes:
    """Of a route with a scope. None: the request has no such part, which is a value of its own."""
    if not parts:
        return b""
    digest = sha256()
    for part in parts:
        digest.update(b"-" if part is None else b"+%d:" % len(part) + part)
    return digest.digest()


def head_digest(method: str, target: str, fields: Sequence[Sequence[bytes]]) -> bytes:
    """The first part of a fingerprint. `fields`: for each named field its values, in order."""
    digest = sha256()
    for text in (method.encode(), target.encode("latin-1", "replace")):
        digest.update(b"%d:" % len(text) + text)
    for values in fields:
        digest.update(b"%d;" % len(values))
        for value in values:
            digest.update(b"%d:" % len(value) + value)
    return digest.digest()[:HEAD_BYTES]


def begin_body(content: bytes, limit: int) -> tuple[bytes, Digest]:
    """Of a body of more than `limit` bytes that begins with `content`: the start, which is that of
    its first `limit` bytes, and a digest to be fed with the rest as it passes.
    """
    digest = sha256(content[:limit])
    start = limit.to_bytes(_LENGTH_BYTES, "big") + digest.digest()
    digest.update(content[limit:])
    return start, digest


def body_digest(body: bytes, ignore: Sequence[str]) -> bytes:
    """The last part of a fingerprint. `ignore`: JSON pointers (RFC 6901) into the body."""
    if ignore:
        body = _without(body, ignore)
    return sha256(body).digest()


def same_request(one: bytes, other: bytes) -> bool:
    """Whether two fingerprints can be of one request: only parts that both have are compared."""
    if one[:HEAD_BYTES] != other[:HEAD_BYTES]:
        return False
    start, body = _parts_of_body(one)
    other_start, other_body = _parts_of_body(other)
    if body and other_body:
        return body == other_body
    if start[:_LENGTH_BYTES] != other_start[:_LENGTH_BYTES]:
        return True  # `retry.body_limit` was another one
    return start == other_start


def _parts_of_body(fingerprint: bytes) -> tuple[bytes, bytes]:
    """The start and the digest of the whole, b"" for what is missing."""
    rest = fingerprint[HEAD_BYTES:]
    has_start = len(rest) % _DIGEST_BYTES == _LENGTH_BYTES
    split = _START_BYTES if has_start else 0
    return rest[:split], rest[split:]


def _without(body: bytes, ignore: Sequence[str]) -> bytes:
    """A JSON body without these parts, in one spelling; any other body as it is."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return body
    for pointer in ignore:
        _remove(document, [_unescaped(part) for part in pointer[1:].split("/")])
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _unescaped(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")


def _remove(document: Any, parts: list[str]) -> None:
    *way, last = parts
    for part in way:
        document = _member(document, part)
    if isinstance(document, dict):
        document.pop(last, None)
    elif isinstance(document, list) and last.isdecimal() and int(last) < len(document):
        document[int(last)] = None  # the others keep their places


def _member(document: Any, part: str) -> Any:
    if isinstance(document, dict):
        return document.get(part)
    if isinstance(document, list) and part.isdecimal() and int(part) < len(document):
        return document[int(part)]
    return None
