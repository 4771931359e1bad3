import pytest

from proxy.config.keys import CONFIG, sections
from proxy.config.model import LoadBalancing
from proxy.config.policy_keys import CIRCUIT_BREAKER, POLICY, RETRY, TIMEOUTS
from proxy.config.route_keys import MATCH
from proxy.config.suggestions import _SYNONYMS, meant
from proxy.policies.ejection_config import OnNone


@pytest.mark.parametrize(
    ("word", "keys", "expected"),
    [
        ("max_attempt", RETRY.keys, "attempts"),
        ("max_attempts", RETRY.keys, "attempts"),
        ("maxRetries", RETRY.keys, "attempts"),
        ("num_retries", RETRY.keys, "attempts"),
        ("retryOn", RETRY.keys, "on"),
        ("perTryTimeout", TIMEOUTS.keys, "attempt"),
        ("connect_timeout", TIMEOUTS.keys, "connect"),
        ("failureRateThreshold", CIRCUIT_BREAKER.keys, "failure_rate"),
        ("slidingWindowSize", CIRCUIT_BREAKER.keys, "window"),
        ("minimumNumberOfCalls", CIRCUIT_BREAKER.keys, "minimum_calls"),
        ("waitDurationInOpenState", CIRCUIT_BREAKER.keys, "open_for"),
        ("circuitBreaker", POLICY.keys, "circuit_breaker"),
        ("circuit-breaker", POLICY.keys, "circuit_breaker"),
        ("timeout", POLICY.keys, "timeouts"),
        ("host", MATCH.keys, "hosts"),
        ("route", CONFIG.keys, "routes"),
        ("clusters", CONFIG.keys, "upstreams"),
        ("zzz", CONFIG.keys, None),
    ],
)
def test_what_was_meant(word, keys, expected):
    assert meant(word, keys) == expected


def test_every_synonym_stands_for_a_key_that_exists():
    known = set(CONFIG.keys)
    for record in _records(CONFIG):
        known |= set(record.keys)
    from proxy.config.route_keys import RouteKind
    from proxy.config.upstream_keys import UPSTREAM

    known |= set(RouteKind().keys) | set(UPSTREAM.keys) | set(MATCH.keys)
    for record in (POLICY, UPSTREAM, MATCH, *_records(POLICY), *_records(UPSTREAM)):
        known |= set(record.keys)
    known |= {"prefix", "status", "observe", "client", "gradient", "any", "http2"}  # and values
    known |= {one.value for one in OnNone}
    known |= {one.value for one in LoadBalancing}
    assert {word for words in _SYNONYMS.values() for word in words} <= known


def _records(record):
    for field in record.keys.values():
        if hasattr(field.kind, "keys"):
            yield field.kind
            yield from _records(field.kind)


def test_a_key_in_the_wrong_section_is_told_where_it_belongs(errors):
    assert sections()["jitter"] == "retry.backoff"
    assert errors("routes: [{name: a, retry: {jitter: full}}]") == [
        "1:28: routes[0].retry.jitter: unknown key; it belongs in 'retry.backoff'"
    ]
