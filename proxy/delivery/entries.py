"""What the outbox stores of a request, and what it remembers of its tries."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from proxy.config.model import Listener
from proxy.delivery.stored_request import StoredRequest, TryResult

OUTCOMES: Final = 20
"""How many of an entry's last tries are remembered."""
_DETAIL: Final = 300
"""Characters of a failure's sentence that are remembered."""

ID_FIELD: Final = b"X-Outbox-Id"
ATTEMPT_FIELD: Final = b"X-Outbox-Attempt"
KEY_FIELD: Final = "Idempotency-Key"
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"))


class StoredHead:
    """The head of an accepted request.

    `key`: the caller's idempotency key as (name, value), None if it gave none: then the entry's id
    is the key. `held`: the trace's fields and X-Request-Id, by lower-case name. `accepted`: Unix
    seconds as its caller was told, 0 for others; the store's own clock says when it was stored.
    """

    __slots__ = (
        "accepted",
        "client",
        "fields",
        "held",
        "host",
        "key",
        "listener",
        "method",
        "scheme",
        "target",
    )

    def __init__(
        self,
        method: str,
        target: str,
        *,
        host: str = "",
        scheme: str = "http",
        listener: Listener = Listener.OUTBOUND,
        fields: Sequence[tuple[str, str]] = (),
        key: tuple[str, str] | None = None,
        held: dict[str, str] | None = None,
        client: str = "",
        accepted: float = 0.0,
    ) -> None:
        self.method = method
        self.target = target
        self.host = host
        self.scheme = scheme
        self.listener = listener
        self.fields = fields
        self.key = key
        self.held = held or {}
        self.client = client
        self.accepted = accepted

    def pack(self) -> bytes:
        """For the store."""
        packed: dict[str, Any] = {"m": self.method, "t": self.target, "l": self.listener.value}
        if self.host:
            packed["h"] = self.host
        if self.scheme != "http":
            packed["s"] = self.scheme
        if self.fields:
            packed["f"] = list(self.fields)
        if self.key is not None:
            packed["k"] = self.key
        if self.held:
            packed["x"] = self.held
        if self.client:
            packed["c"] = self.client
        if self.accepted:
            packed["a"] = self.accepted
        return _ENCODER.encode(packed).encode()

    @classmethod
    def unpack(cls, meta: bytes) -> "StoredHead":
        """Raises ValueError or LookupError for what `pack` did not make."""
        packed: dict[str, Any] = json.loads(meta)
        key = packed.get("k")
        return cls(
            packed["m"],
            packed["t"],
            host=packed.get("h", ""),
            scheme=packed.get("s", "http"),
            listener=Listener(packed["l"]),
            fields=[(name, value) for name, value in packed.get("f", ())],
            key=None if key is None else (key[0], key[1]),
            held=packed.get("x"),
            client=packed.get("c", ""),
            accepted=packed.get("a", 0.0),
        )

    def request(self, entry: str, attempt: int, body: bytes) -> StoredRequest:
        """The request of try number `attempt`, 1 for the first."""
        name, value = self.key or (KEY_FIELD, entry)
        fields = [(one.encode("latin-1"), given.encode("latin-1")) for one, given in self.fields]
        fields.append((name.encode("latin-1"), value.encode("latin-1")))
        fields.append((ID_FIELD, entry.encode()))
        fields.append((ATTEMPT_FIELD, b"%d" % attempt))
        return StoredRequest(
            self.method,
            self.target,
            fields,
            body,
            host=self.host,
            scheme=self.scheme,
            held={name.encode(): [given.encode("latin-1")] for name, given in self.held.items()},
            client=self.client,
            entry=entry,
            number=attempt,
        )


def outcome_of(result: TryResult, at: float, spent: str = "") -> dict[str, Any]:
    """A try as it is remembered. `spent`: the key that says that there is no other try."""
    told: dict[str, Any] = {"status": result.status, "reason": result.reason, "at": instant(at)}
    if result.detail:
        told["detail"] = result.detail[:_DETAIL]
    if spent:
        told["spent"] = spent
    return told


def with_outcome(history: bytes, outcome: dict[str, Any]) -> bytes:
    """The history with another try, at most `OUTCOMES` of them."""
    outcomes = outcomes_in(history)
    outcomes.append(outcome)
    return _ENCODER.encode(outcomes[-OUTCOMES:]).encode()


def outcomes_in(history: bytes) -> list[dict[str, Any]]:
    """The remembered tries, the oldest first."""
    found: list[dict[str, Any]] = json.loads(history) if history else []
    return found


def last_of(history: bytes) -> dict[str, Any] | None:
    """The last try as users see it: status, reason and time."""
    outcomes = outcomes_in(history)
    if not outcomes:
        return None
    return {name: outcomes[-1].get(name) for name in ("status", "reason", "at")}


def instant(at: float) -> str | None:
    """A time for people and programs (RFC 3339); None for 0."""
    if not at:
        return None
    text = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"
