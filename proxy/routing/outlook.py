"""Predicts for a request and a policy: would it be retried, and how long can it take."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from proxy.config.model import PolicyConfig, RouteConfig
from proxy.http.grpc import is_call, parse_timeout
from proxy.outcome import UNPROCESSED
from proxy.policies.backoff import BackoffConfig, JitterKind
from proxy.policies.gate import Mode
from proxy.policies.outbox import UNSTORED_METHODS, OutboxMode, prefers_async
from proxy.policies.rate_limits import RATE_LIMITS
from proxy.policies.retry import RetryConfig
from proxy.units import format_duration, format_size

_KEYS = ("idempotency-key", "x-idempotency-key")
_MOST_WAITS = 1000
"""Waits to add up individually; with more attempts `request` is the limit anyway."""


@dataclass(frozen=True, slots=True)
class Repeats:
    """`attempts` in total. `after_sending`: also after something of the request was sent.

    `why_not`: why it is not retried, with the key; empty if it is. `on`: the conditions for a
    retry that apply to this request.
    """

    attempts: int
    after_sending: bool
    on: tuple[str, ...]
    why_not: str

    def sentence(self, retry: RetryConfig, sources: Mapping[str, str]) -> str:
        """`sources`: the source of each value, by the policy's key."""
        if self.attempts == 1:
            return f"not retried: {self.why_not}"
        many = f"up to {self.attempts} attempts in total ({sources['retry.attempts']})"
        conditions = f"on {', '.join(self.on)}"
        if not self.after_sending:
            return (
                f"retried only {conditions}, because nothing was processed then, {many}; "
                f"not after that: {self.why_not}"
            )
        limit = format_size(retry.body_limit)
        return f"retried {conditions}, {many}; for this a body of up to {limit} is kept"


def repeats(method: str, headers: Mapping[str, str], policies: PolicyConfig) -> Repeats:
    """`headers`: by lower-case name."""
    retry = policies.retry
    if retry.attempts == 1:
        return Repeats(1, False, (), "retry.attempts is 1")
    if retry.mode is Mode.OBSERVE:
        return Repeats(1, False, (), "retry.mode is observe, so a retry is only counted")
    if retry.budget.empty:
        return Repeats(1, False, (), "retry.budget allows no retry")
    if not retry.on.terms:
        return Repeats(1, False, (), "retry.on is empty")
    never_sent = {condition.value for condition in UNPROCESSED}
    unprocessed = tuple(term for term in retry.on.terms if term in never_sent)
    if method == "CONNECT":
        why = "the proxy does not see inside a tunnel"
    else:
        why = _not_repeatable(method, headers, retry)
    if not why and len(unprocessed) == len(retry.on.terms):
        why = "retry.on has no other condition"
    if not why:
        return Repeats(retry.attempts, True, retry.on.terms, "")
    if not unprocessed:
        return Repeats(1, False, (), why)
    return Repeats(retry.attempts, False, unprocessed, why)


def _not_repeatable(method: str, headers: Mapping[str, str], retry: RetryConfig) -> str:
    methods = retry.methods
    if methods.any or method in methods.names:
        return ""
    if not methods.keyed:
        return f"{method} is not in retry.methods"
    if any(headers.get(name) for name in _KEYS):
        return ""
    return (
        f"{method} is not idempotent and the request has no Idempotency-Key "
        "(or set retry.methods to any)"
    )


@dataclass(frozen=True, slots=True)
class Longest:
    """Seconds until a response's head is sent, without the time in which the body flows.

    `seconds` is the upper limit, inf without one; `needed` the time for all attempts and waits.
    """

    seconds: float
    needed: float
    by: str

    def sentence(self, sources: Mapping[str, str]) -> str:
        if self.seconds == inf:
            return "has no time limit: timeouts.mode is observe, so a timeout is only counted"
        shown = format_duration(round(self.seconds, 3))
        origin = f"{self.by}, {sources[self.by]}" if self.by in sources else self.by
        text = f"takes at most {shown} ({origin}), without the time of its body"
        if self.needed > self.seconds:
            needed = format_duration(round(self.needed, 3))
            text += f"; all attempts and waits (including Retry-After) would take {needed}"
        return text


def longest(asked: Repeats, headers: Mapping[str, str], policies: PolicyConfig) -> Longest:
    timeouts, retry, bulkhead = policies.timeouts, policies.retry, policies.bulkhead
    if timeouts.mode is Mode.OBSERVE:
        return Longest(inf, inf, "timeouts.mode")
    waits = sum(
        max(longest_wait(retry.backoff, number), retry.retry_after if asked.after_sending else 0.0)
        for number in range(1, min(asked.attempts, _MOST_WAITS))
    )
    attempt = min(timeouts.attempt, timeouts.request)
    queues = bulkhead.max_queue and bulkhead.mode is Mode.ENFORCE
    queue = bulkhead.queue_timeout if queues else 0.0
    if policies.settings(RATE_LIMITS):
        queue *= 2  # first for a turn, then for a permit
    needed = queue + asked.attempts * attempt + waits
    ends = [(needed, "all attempts and waits"), (timeouts.request, "timeouts.request")]
    given = headers.get("x-request-timeout-ms", "")
    if re.fullmatch(r"[0-9]{1,9}", given):
        ends.append((int(given) / 1000, "the request's own X-Request-Timeout-Ms"))
    deadline = parse_timeout(headers.get("grpc-timeout", "").encode("latin-1", "replace"))
    if deadline is not None:
        ends.append((deadline, "the request's own grpc-timeout"))
    seconds, by = min(ends, key=lambda end: end[0])
    return Longest(seconds, needed, by)


def longest_wait(backoff: BackoffConfig, retry: int) -> float:
    """The longest wait in seconds before retry number `retry`."""
    kind, ratio = backoff.jitter.kind, backoff.jitter.ratio
    growth = 3.0 if kind is JitterKind.DECORRELATED else backoff.multiplier
    power = retry if kind is JitterKind.DECORRELATED else retry - 1
    base = min(backoff.max, backoff.initial * min(growth ** min(power, 64), 1e9))
    return base * (1 + ratio) if kind is JitterKind.RATIO else base


def is_stored(method: str, headers: Mapping[str, str]) -> bool:
    """Whether the outbox takes such a request at all, `headers` by lower-case name."""
    grpc = is_call(method, [headers.get("content-type", "").encode("latin-1", "replace")])
    return method not in UNSTORED_METHODS and not grpc and "upgrade" not in headers


def accepts(method: str, headers: Mapping[str, str], policies: PolicyConfig) -> bool:
    """Whether the outbox accepts such a request before anything is tried."""
    mode = policies.outbox.mode
    if not is_stored(method, headers) or mode not in (OutboxMode.ALWAYS, OutboxMode.PREFER):
        return False
    asked = headers.get("prefer", "").encode("latin-1", "replace")
    return mode is OutboxMode.ALWAYS or prefers_async([asked])


def what_is_stored(method: str, headers: Mapping[str, str], route: RouteConfig) -> str:
    """What the outbox does with such a request, as a sentence; "" if nothing."""
    outbox, fallback = route.policies.outbox, route.policies.fallback
    if not route.stores or not is_stored(method, headers):
        return ""
    found = " and ".join(name.capitalize() for name in route.needed_credentials if name in headers)
    if accepts(method, headers, route.policies):
        if found:
            return f"refused: 400 outbox-credentials: it has {found} (outbox.without)"
        return (
            f"accepted by the outbox, answered {outbox.answer.status} and delivered later "
            f"(outbox.mode: {outbox.mode.value}); what follows is about each try"
        )
    if outbox.mode is OutboxMode.ON_FAILURE:
        after = f"after {', '.join(outbox.terms)} (outbox.when)"
    elif fallback is not None and fallback.outbox:
        after = f"after {', '.join(fallback.terms)} (fallback.outbox)"
    else:
        return ""
    if found:
        return f"not accepted by the outbox, because it has {found} (outbox.without)"
    return f"accepted by the outbox {after}"
