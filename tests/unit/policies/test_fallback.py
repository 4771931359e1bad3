"""Fallback: what its list of words stands for."""

import pytest

from proxy.outcome import Outcome
from proxy.policies.fallback import FallbackConfig, expand, groups, reasons


@pytest.mark.parametrize(
    ("terms", "reasons", "statuses"),
    [
        (["circuit-open", "bulkhead-full"], {"circuit-open", "bulkhead-full"}, set()),
        (["timeout"], {"attempt-timeout", "request-timeout", "connect-timeout"}, set()),
        (["reset"], {"upstream-reset", "upstream-malformed"}, set()),
        (["attempt-timeout", 404], {"attempt-timeout"}, {404}),
        (["gateway-error"], set(), {502, 503, 504}),
        (["500-502"], set(), {500, 501, 502}),
        (["5xx"], set(), set(range(500, 1000))),
        ([], set(), set()),
    ],
)
def test_what_words_stand_for(terms: list[str], reasons: set[str], statuses: set[int]) -> None:
    found, outcomes = expand(terms)
    assert (found, set(outcomes.statuses)) == (reasons, statuses)


@pytest.mark.parametrize(
    "term", ["bad-request", "draining", "internal", "client-gone", "Timeout", "", "700", "upstream"]
)
def test_other_words_are_refused_by_name(term: str) -> None:
    with pytest.raises(ValueError, match=repr(term)):
        expand([term])


def test_groups_are_made_of_known_reasons() -> None:
    for covered in groups().values():
        assert covered <= reasons()


def test_coverage() -> None:
    terms = ("timeout", "503", "grpc-unavailable", "grpc-failure")
    config = FallbackConfig(terms, *expand(terms), upstream="backup")
    assert config.covers_reason("request-timeout")
    assert not config.covers_reason("circuit-open")
    assert config.covers(Outcome(503))
    assert not config.covers(Outcome(500))
    assert config.covers(Outcome(200, None, 14))
    assert config.covers(Outcome(200, None, 2))
    assert not config.covers(Outcome(200, None, 5))
    assert not config.covers(Outcome(200, None, 0))
