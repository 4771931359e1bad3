"""Whether a request would be repeated and why not, and the longest it can take."""

import pytest

from proxy.config.model import PolicyConfig, RouteConfig
from proxy.outcome import OutcomeSet
from proxy.policies.backoff import BackoffConfig, Jitter, JitterKind
from proxy.policies.budget import BudgetConfig
from proxy.policies.bulkhead import BulkheadConfig
from proxy.policies.deadline import TimeoutsConfig
from proxy.policies.gate import Mode
from proxy.policies.outbox import OutboxConfig, OutboxMode
from proxy.policies.retry import RetryConfig, RetryMethods
from proxy.routing.outlook import longest, longest_wait, repeats, what_is_stored

KEY = {"idempotency-key": "a"}


def policies(**retry):
    return PolicyConfig(retry=RetryConfig(**retry))


@pytest.mark.parametrize(
    ("method", "headers", "retry", "after_sending", "why"),
    [
        ("GET", {}, {}, True, ""),
        ("POST", {}, {}, False, "POST is not idempotent and the request has no Idempotency-Key"),
        ("POST", KEY, {}, True, ""),
        ("POST", {"x-idempotency-key": "a"}, {}, True, ""),
        ("POST", {"idempotency-key": ""}, {}, False, "POST is not idempotent"),
        ("POST", {}, {"methods": RetryMethods(any=True)}, True, ""),
        (
            "POST",
            KEY,
            {"methods": RetryMethods(frozenset({"GET"}), keyed=False)},
            False,
            "POST is not in retry.methods",
        ),
        ("BREW", {}, {}, False, "BREW is not idempotent"),
        ("CONNECT", KEY, {}, False, "the proxy does not see inside a tunnel"),
        (
            "GET",
            {},
            {"on": OutcomeSet(("connect-failure", "refused-stream"))},
            False,
            "retry.on has no other condition",
        ),
    ],
)
def test_after_sending(method, headers, retry, after_sending, why):
    found = repeats(method, headers, policies(**retry))
    assert found.attempts == 3
    assert found.after_sending is after_sending
    assert found.why_not.startswith(why)
    assert bool(found.why_not) is bool(why)


def test_what_was_never_sent_is_repeated_for_every_method():
    found = repeats("POST", {}, policies(on=OutcomeSet(("reset", "connect-failure", "503"))))
    assert found.on == ("connect-failure",)
    sentence = found.sentence(RetryConfig(), {"retry.attempts": "f.yaml:1"})
    assert sentence.startswith(
        "retried only on connect-failure, because nothing was processed then, up to 3 attempts "
        "in total (f.yaml:1); not after that: POST is not idempotent"
    )


@pytest.mark.parametrize(
    ("method", "retry", "why"),
    [
        ("GET", {"attempts": 1}, "retry.attempts is 1"),
        ("POST", {"on": OutcomeSet(("5xx",))}, "POST"),
        ("GET", {"on": OutcomeSet(())}, "retry.on is empty"),
        ("GET", {"budget": BudgetConfig(0.0, 0.0)}, "retry.budget allows no retry"),
        ("CONNECT", {"budget": BudgetConfig(0.0, 0.3, 3.0)}, "retry.budget allows no retry"),
    ],
)
def test_never(method, retry, why):
    found = repeats(method, {}, policies(**retry))
    assert (found.attempts, found.on) == (1, ())
    assert found.sentence(RetryConfig(), {}).startswith(f"not retried: {why}")


def test_the_longest_is_what_the_attempts_need_or_the_request_allows():
    exact = BackoffConfig(initial=1, multiplier=2, max=8, jitter=Jitter(JitterKind.NONE))
    config = PolicyConfig(
        timeouts=TimeoutsConfig(attempt=2, request=60),
        retry=RetryConfig(backoff=exact, retry_after=0.0),
        bulkhead=BulkheadConfig(max_queue=1, queue_timeout=4),
    )
    found = longest(repeats("GET", {}, config), {}, config)
    assert (found.seconds, found.needed, found.by) == (13, 13, "all attempts and waits")
    tight = PolicyConfig(timeouts=TimeoutsConfig(attempt=2, request=5), retry=config.retry)
    found = longest(repeats("GET", {}, tight), {}, tight)
    assert (found.seconds, found.needed, found.by) == (5, 9, "timeouts.request")
    headers = {"x-request-timeout-ms": "1500"}
    found = longest(repeats("GET", headers, tight), headers, tight)
    assert found.seconds == 1.5
    assert found.sentence({}) == (
        "takes at most 1.5s (the request's own X-Request-Timeout-Ms), without the time of its "
        "body; all attempts and waits (including Retry-After) would take 9s"
    )
    found = longest(repeats("GET", {}, tight), {"grpc-timeout": "250m"}, tight)
    assert (found.seconds, found.by) == (0.25, "the request's own grpc-timeout")
    once = longest(repeats("POST", {}, policies(on=OutcomeSet(("5xx",)))), {}, tight)
    assert once.needed == 2


def test_a_retry_after_that_is_waited_for_counts():
    config = PolicyConfig(retry=RetryConfig(attempts=2, retry_after=5.0))
    assert longest(repeats("GET", {}, config), {}, config).needed == 15


def test_policies_that_only_observe_retry_nothing_and_end_nothing():
    config = PolicyConfig(
        timeouts=TimeoutsConfig(mode=Mode.OBSERVE), retry=RetryConfig(mode=Mode.OBSERVE)
    )
    asked = repeats("GET", {}, config)
    assert asked.sentence(config.retry, {}) == (
        "not retried: retry.mode is observe, so a retry is only counted"
    )
    assert longest(asked, {}, config).sentence({}) == (
        "has no time limit: timeouts.mode is observe, so a timeout is only counted"
    )


@pytest.mark.parametrize(
    ("jitter", "waits"),
    [
        (Jitter(JitterKind.NONE), [1, 2, 4, 5, 5]),
        (Jitter(JitterKind.FULL), [1, 2, 4, 5, 5]),
        (Jitter(JitterKind.EQUAL), [1, 2, 4, 5, 5]),
        (Jitter(JitterKind.RATIO, 0.2), [1.2, 2.4, 4.8, 6, 6]),
        (Jitter(JitterKind.DECORRELATED), [3, 5, 5, 5, 5]),
    ],
)
def test_the_longest_wait(jitter, waits):
    config = BackoffConfig(initial=1, multiplier=2, max=5, jitter=jitter)
    assert [longest_wait(config, retry) for retry in range(1, 6)] == pytest.approx(waits)
    assert longest_wait(config, 5000) == pytest.approx(waits[-1])


@pytest.mark.parametrize(
    ("mode", "method", "headers", "told"),
    [
        (OutboxMode.OFF, "POST", {}, ""),
        (OutboxMode.ALWAYS, "POST", {}, "answered 202 and delivered later (outbox.mode: always)"),
        (OutboxMode.ALWAYS, "GET", {}, ""),
        (OutboxMode.PREFER, "POST", {}, ""),
        (OutboxMode.PREFER, "POST", {"prefer": "respond-async"}, "(outbox.mode: prefer)"),
        (OutboxMode.ON_FAILURE, "PUT", {}, "after circuit-open, connect-failure, bulkhead-full"),
    ],
)
def test_what_the_outbox_does(mode, method, headers, told):
    route = RouteConfig("a", policies=PolicyConfig(outbox=OutboxConfig(mode=mode)))
    stored = what_is_stored(method, headers, route)
    assert (told in stored) if told else not stored
