import pytest

from proxy.outcome import OutcomeSet
from proxy.policies.outbox import (
    DEAD_ON,
    KEEP_HEADERS,
    Fate,
    Next,
    OutboxConfig,
    judge,
    may_store,
    next_try,
    prefers_async,
)

DEFAULT = OutcomeSet(DEAD_ON)


@pytest.mark.parametrize(
    ("status", "fate"),
    [
        (200, Fate.DELIVERED), (204, Fate.DELIVERED), (299, Fate.DELIVERED),
        (301, Fate.DEAD), (304, Fate.DEAD),
        (400, Fate.DEAD), (401, Fate.DEAD), (404, Fate.DEAD), (407, Fate.DEAD),
        (408, Fate.AGAIN), (409, Fate.DEAD), (422, Fate.DEAD), (424, Fate.DEAD),
        (425, Fate.AGAIN), (428, Fate.DEAD), (429, Fate.AGAIN), (431, Fate.DEAD),
        (499, Fate.DEAD), (500, Fate.AGAIN), (501, Fate.AGAIN), (503, Fate.AGAIN),
        (0, Fate.AGAIN), (700, Fate.AGAIN),
    ],
)  # fmt: skip
def test_statuses(status, fate):
    assert judge(DEFAULT, status) is fate


@pytest.mark.parametrize("status", [301, 400, 409, 425, 429, 503])
def test_an_answer_with_retry_after_is_never_dead(status):
    assert judge(DEFAULT, status, retry_after=0.0) is Fate.AGAIN


def test_425_is_never_dead_whatever_dead_on_says():
    assert judge(OutcomeSet(("400-499",)), 425) is Fate.AGAIN


def test_another_proxys_unknown_waits():
    assert judge(DEFAULT, 409, unknown=True) is Fate.AGAIN


def test_the_proxys_own_answers_are_never_dead_but_injected_faults_are_what_they_test():
    assert judge(DEFAULT, 403, reason="egress-denied") is Fate.AGAIN
    assert judge(DEFAULT, 400, reason="fault-injected") is Fate.DEAD
    assert judge(DEFAULT, 503, reason="circuit-open", postponed=True) is Fate.POSTPONED


def after(fate, **changed):
    given = {"attempts": 1, "most": 0, "left": 100.0, "delay": 3.0, "retry_after": None}
    return next_try(fate, **given | changed)


def test_the_wait_is_the_longer_of_backoff_and_retry_after():
    assert after(Fate.AGAIN) == Next(3.0)
    assert after(Fate.AGAIN, retry_after=2.0) == Next(3.0)
    assert after(Fate.AGAIN, retry_after=20.0) == Next(20.0)


def test_the_last_try_is_at_the_end_of_its_age():
    assert after(Fate.AGAIN, retry_after=1e9) == Next(100.0)
    assert after(Fate.AGAIN, left=0.5) == Next(0.5)
    assert after(Fate.AGAIN, left=0.0) == Next(spent="max_age")
    assert after(Fate.POSTPONED, left=0.0) == Next(spent="max_age")


def test_attempts_and_age_both_count():
    assert after(Fate.AGAIN, attempts=2, most=3) == Next(3.0)
    assert after(Fate.AGAIN, attempts=3, most=3) == Next(spent="attempts")
    assert after(Fate.POSTPONED, attempts=3, most=3) == Next(1.0)
    assert after(Fate.POSTPONED, retry_after=30.0) == Next(30.0)


@pytest.mark.parametrize("name", KEEP_HEADERS)
def test_the_default_fields_are_stored(name):
    assert may_store(name, OutboxConfig().keep_headers)


@pytest.mark.parametrize(
    "name",
    ["authorization", "cookie", "proxy-authorization", "x-api-key", "x-auth", "x-session-id",
     "my-token", "client-secret", "host", "content-length", "x-request-id", "x-outbox-id",
     "x-forwarded-for", "traceparent-x-key"],
)  # fmt: skip
def test_secrets_and_the_proxys_own_are_not_stored(name):
    assert not may_store(name, ("*",))


def test_a_name_that_sounds_like_a_secret_is_stored_if_it_is_named_in_full():
    assert may_store("x-session-id", ("x-session-id",))
    assert not may_store("x-session-id", ("x-session*",))
    assert may_store("x-shop", ("x-*",))
    assert not may_store("y-shop", ("x-*",))
    assert not may_store("authorization", ("authorization",))


@pytest.mark.parametrize(
    ("values", "asked"),
    [
        ([b"respond-async"], True), ([b"wait=5, Respond-Async"], True),
        ([b"a", b"respond-async;x=1"], True), ([b"respond-async=x"], True),
        ([b"respond-sync"], False), ([b"x=respond-async"], False), ([], False),
    ],
)  # fmt: skip
def test_prefer(values, asked):
    assert prefers_async(values) is asked
