"""What identifies a row to its receivers, on every try and after every crash.

Derived from the row's place alone, never from the process: a try after a crash has the same key, so
a receiver that knows keys does its work once.
"""

import re
from hashlib import sha256
from typing import Final
from uuid import UUID

_LONGEST: Final = 128
_OTHER: Final = re.compile(r"[^A-Za-z0-9._:-]")


def row_key(database: str, schema: str, table: str, row_id: str) -> str:
    """The Idempotency-Key of a row, such as ``shop.public.outbox_events:42``.

    Database and table are part of it, because rows of two services may have the same id. It is also
    usable as a saga's id: at most 128 of A-Z a-z 0-9 . _ ~ : -
    """
    parts = (_safe(database), _safe(schema), _safe(table))
    key = f"{'.'.join(parts)}:{_safe(row_id)}"
    return key if len(key) <= _LONGEST else sha256(key.encode()).hexdigest()


def _safe(text: str) -> str:
    """The text with all other characters as ``~`` and their bytes in hex: never ambiguous."""
    return _OTHER.sub(lambda found: "".join(f"~{byte:02x}" for byte in found[0].encode()), text)


def request_id(key: str) -> str:
    """The X-Request-Id of all tries of a row: a UUID made of its key."""
    return str(UUID(bytes=sha256(key.encode()).digest()[:16], version=5))
