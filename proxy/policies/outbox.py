"""Outbox: what is accepted now and delivered later, and what follows each try. Pure.

try ──▶ judge ─┬─ DELIVERED   2xx
               ├─ DEAD        3xx, dead_on: no other try can succeed
               ├─ POSTPONED   nothing was tried: circuit open, bulkhead full, drain
               └─ AGAIN       all else
         next ─┴─▶ a wait, or dead because attempts or age are spent
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from proxy.outcome import OutcomeSet
from proxy.policies.backoff import BackoffConfig
from proxy.policies.fallback import expand
from proxy.templates import Template, Tree, references


class OutboxMode(Enum):
    OFF = "off"
    ALWAYS = "always"
    PREFER = "prefer"  # where the caller asks for it: Prefer: respond-async (RFC 7240)
    ON_FAILURE = "on-failure"  # after the ordinary exchange has failed


class OnDead(Enum):
    CONTINUE = "continue"
    BLOCK = "block"  # a dead entry is parked, and its lane waits for an operator


@dataclass(frozen=True, slots=True)
class AnswerConfig:
    """What the caller gets. `json` None: id, state and accepted_at."""

    status: int = 202
    headers: tuple[tuple[str, Template], ...] = ()
    json: Tree = None

    @property
    def reads_body(self) -> bool:
        """Whether the request's body must be JSON for this answer."""
        return any(one.word == "body" for one in self.references)

    @property
    def references(self) -> list[Any]:
        from_headers = [one for _, value in self.headers for one in value.references]
        return [*from_headers, *references(self.json)]


@dataclass(frozen=True, slots=True)
class ResultConfig:
    """Where a result is told: a POST of JSON."""

    upstream: str
    path: str = "/"


_WHEN: Final = ("circuit-open", "connect-failure", "bulkhead-full", "timeout")
_REASONS, _OUTCOMES = expand(_WHEN)
DEAD_ON: Final = ("400-407", "409-424", "426-428", "431-499")
KEEP_HEADERS: Final = (
    "content-type",
    "content-encoding",
    "content-language",
    "accept",
    "accept-language",
    "x-correlation-id",
    "x-tenant-id",
)
HOUR: Final = 3600.0


@dataclass(frozen=True, slots=True)
class OutboxConfig:
    """`terms` is the user's list `when`, `reasons` and `outcomes` what it means. Times in seconds.

    `order_by`: "none", "header:NAME" or "body:/pointer". `attempts` 0: until `max_age`.
    `not_before`: the name of the caller's header, lower case.
    """

    mode: OutboxMode = OutboxMode.OFF
    terms: tuple[str, ...] = _WHEN
    reasons: frozenset[str] = _REASONS
    outcomes: OutcomeSet = _OUTCOMES
    answer: AnswerConfig = AnswerConfig()
    order_by: str = "none"
    on_dead: OnDead = OnDead.CONTINUE
    attempts: int = 0
    max_age: float = 24 * HOUR
    backoff: BackoffConfig = BackoffConfig(initial=1.0, multiplier=2.0, max=300.0)
    dead_on: OutcomeSet = field(default_factory=lambda: OutcomeSet(DEAD_ON))
    concurrency: int = 16
    max_pending: int = 100_000
    not_before: str = "x-not-before"
    keep_headers: tuple[str, ...] = KEEP_HEADERS
    without: frozenset[str] = frozenset()
    result: ResultConfig | None = None
    keep_done: float = HOUR
    keep_dead: float = 14 * 24 * HOUR


class Fate(Enum):
    DELIVERED = "delivered"
    DEAD = "dead"
    AGAIN = "again"
    POSTPONED = "postponed"


def judge(
    dead_on: OutcomeSet,
    status: int,
    *,
    reason: str = "",
    retry_after: float | None = None,
    postponed: bool = False,
    unknown: bool = False,
) -> Fate:
    """What a try means.

    `reason`: that of the proxy's own answer, "" for an upstream's. `retry_after`: the response
    asks to come again. `unknown`: another such proxy does not know what became of an earlier try.
    """
    if postponed:
        return Fate.POSTPONED
    if reason and reason != _INJECTED:
        return Fate.AGAIN
    if 200 <= status < 300:
        return Fate.DELIVERED
    if retry_after is not None or unknown or status == _TOO_EARLY:
        return Fate.AGAIN
    if 300 <= status < 400 or status in dead_on.statuses:
        return Fate.DEAD
    return Fate.AGAIN


_INJECTED: Final = "fault-injected"
"""Its status counts like an upstream's: what a fault tests is what happens."""
_TOO_EARLY: Final = 425

ATTEMPTS_SPENT: Final = "attempts"
AGE_SPENT: Final = "max_age"


@dataclass(frozen=True, slots=True)
class Next:
    """Seconds to wait; or `spent`: the key that says that there is no other try."""

    wait: float = 0.0
    spent: str = ""


def next_try(
    fate: Fate,
    *,
    attempts: int,
    most: int,
    left: float,
    delay: float,
    retry_after: float | None,
) -> Next:
    """What follows AGAIN or POSTPONED.

    `attempts` made of `most` (0: no limit), `left` seconds of its age. The last try is at the end
    of its age, unless that has passed.
    """
    if left <= 0:
        return Next(spent=AGE_SPENT)
    asked = retry_after or 0.0
    if fate is Fate.POSTPONED:
        return Next(min(max(asked, _POSTPONED), left))
    if most and attempts >= most:
        return Next(spent=ATTEMPTS_SPENT)
    return Next(min(max(delay, asked), left))


_POSTPONED: Final = 1.0
"""Seconds until nothing-was-tried is asked again, where no other time is known."""

_SECRET: Final = ("key", "token", "secret", "auth", "session")
CREDENTIALS: Final = ("authorization", "cookie")
"""A request that carries one of these is refused rather than delivered without it."""
NEVER_KEPT: Final = frozenset(
    {
        *CREDENTIALS,
        "proxy-authorization",
        "set-cookie",
        "connection",
        "content-length",
        "expect",
        "forwarded",
        "host",
        "idempotency-key",
        "keep-alive",
        "max-forwards",
        "prefer",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-idempotency-key",
        "x-request-id",
        "x-request-timeout-ms",
        "x-retry-attempt",
    }
)
"""Not stored whatever `keep_headers` says: credentials, framing, and the proxy's own."""
_OWN: Final = ("x-outbox-", "x-forwarded-", "x-fault-", "x-resilience-")


def may_store(name: str, keep: tuple[str, ...]) -> bool:
    """Whether a field may be stored; `name` in lower case.

    `keep`: lower-case names, or prefixes that end with ``*``. A name that sounds like a secret must
    be there in full.
    """
    if name in NEVER_KEPT or name.startswith(_OWN):
        return False
    if name in keep:
        return True
    for one in keep:
        if one.endswith("*") and name.startswith(one[:-1]):
            return not any(word in name for word in _SECRET)
    return False


UNSTORED_METHODS: Final = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "CONNECT"))
"""Their callers want what the upstream has now (RFC 9110 section 9.2.1)."""


def prefers_async(values: list[bytes]) -> bool:
    """Whether the fields Prefer ask for respond-async (RFC 7240 section 4.1)."""
    for value in values:
        for member in value.split(b","):
            name = member.split(b";", 1)[0].split(b"=", 1)[0].strip()
            if name.lower() == b"respond-async":
                return True
    return False
