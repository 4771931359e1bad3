"""Idempotency keys: the settings, and what becomes of a record after each answer.

A key's record is claimed before the request goes on, and finished with what came of it:

    remembered   the upstream decided: a repeat gets the same answer
    released     nothing was done: a repeat is new
    unknown      something may have been done: a repeat is refused, or executed

(draft-ietf-httpapi-idempotency-key-header-07)
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final


class IdempotencyMode(Enum):
    """OPTIONAL: requests with a key take part. REQUIRED: a request without one is refused."""

    OFF = "off"
    OPTIONAL = "optional"
    REQUIRED = "required"


class OnUnknown(Enum):
    """What a repeat of a request with an unknown result gets: 409, or another execution."""

    CONFLICT = "conflict"
    EXECUTE = "execute"


CLIENT_CERTIFICATE: Final = "client-certificate"
HEADER_SCOPE: Final = "header:"


@dataclass(frozen=True, slots=True)
class FingerprintConfig:
    """What makes two requests the same, beside method, path, query and body.

    `headers` in lower case; `ignore`: JSON pointers into the body.
    """

    headers: tuple[str, ...] = ("content-type",)
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IdempotencyConfig:
    """`headers` in lower case. `scope`: ``header:NAME`` (lower case) or CLIENT_CERTIFICATE. `wait`
    0: not at all."""

    mode: IdempotencyMode = IdempotencyMode.OFF
    headers: tuple[str, ...] = ("idempotency-key", "x-idempotency-key")
    methods: tuple[str, ...] = ("POST", "PATCH")
    scope: tuple[str, ...] = ()
    keep: float = 86400.0
    lease: float = 30.0
    wait: float = 0.0
    on_unknown: OnUnknown = OnUnknown.CONFLICT
    fingerprint: FingerprintConfig = FingerprintConfig()
    response_limit: int = 64 * 1024
    mint: bool = False

    @property
    def on(self) -> bool:
        return self.mode is not IdempotencyMode.OFF


class Fate(Enum):
    """What becomes of a record."""

    REMEMBERED = "remembered"
    RELEASED = "released"
    UNKNOWN = "unknown"


_RELEASED: Final = frozenset((401, 403, 407, 421, 425, 429, 503))
_UNKNOWN: Final = frozenset((408, 502, 504))


def fate_of(status: int) -> Fate:
    """By the final status of the upstream's complete response."""
    if status in _RELEASED:
        return Fate.RELEASED
    if status in _UNKNOWN:
        return Fate.UNKNOWN
    return Fate.REMEMBERED
