"""Sets of outcomes as users write them."""

import pytest

from proxy.outcome import Condition, Outcome, OutcomeSet, parse_statuses


@pytest.mark.parametrize(
    ("terms", "outcome", "label"),
    [
        (["reset"], Outcome(condition=Condition.RESET), "reset"),
        (["reset"], Outcome(condition=Condition.TIMEOUT), None),
        (["gateway-error"], Outcome(503), "gateway-error"),
        (["gateway-error"], Outcome(500), None),
        (["5xx"], Outcome(599), "5xx"),
        (["5xx"], Outcome(499), None),
        (["429"], Outcome(429), "429"),
        ([429], Outcome(429), "429"),
        (["500-503"], Outcome(503), "500-503"),
        (["500-503"], Outcome(504), None),
        (["503", "5xx"], Outcome(503), "503"),
        (["5xx", "503"], Outcome(503), "5xx"),
        (["5xx"], Outcome(condition=Condition.CONNECT_FAILURE), None),
        ([], Outcome(500), None),
        (["grpc-unavailable"], Outcome(200, None, 14), "grpc-unavailable"),
        (["grpc-unavailable"], Outcome(200, None, 13), None),
        (["grpc-failure"], Outcome(200, None, 13), "grpc-failure"),
        (["grpc-failure", "grpc-internal"], Outcome(200, None, 13), "grpc-failure"),
        (["grpc-failure"], Outcome(200, None, 5), None),
        (["grpc-failure"], Outcome(200, None, 0), None),
        (["grpc-failure"], Outcome(200), None),
        (["grpc-unavailable"], Outcome(503, None, 14), "grpc-unavailable"),
        (["gateway-error", "grpc-unavailable"], Outcome(503, None, 14), "gateway-error"),
        (["grpc-unknown"], Outcome(200, Condition.RESET, 2), "grpc-unknown"),
        (["reset", "grpc-unknown"], Outcome(200, Condition.RESET, 2), "reset"),
    ],
)
def test_the_term_that_covers_an_outcome(
    terms: list[str], outcome: Outcome, label: str | None
) -> None:
    outcomes = OutcomeSet(terms)
    assert outcomes.label(outcome) == label
    assert (outcome in outcomes) is (label is not None)


@pytest.mark.parametrize(
    "term",
    [
        "5XX",
        "rest",
        "",
        "99",
        "600",
        "503-500",
        "500-",
        "-500",
        "50３",
        "grpc-ok",
        "grpc-14",
        "grpc",
        "grpc-Unavailable",
    ],
)
def test_a_word_that_is_none_is_named(term: str) -> None:
    with pytest.raises(ValueError, match=repr(term)):
        OutcomeSet(["reset", term])


def test_statuses_of_a_range() -> None:
    assert list(parse_statuses("500-503")) == [500, 501, 502, 503]
    assert set(OutcomeSet(["429", "gateway-error", "reset"]).statuses) == {429, 502, 503, 504}


def test_sets_are_equal_when_their_words_are() -> None:
    assert OutcomeSet(["5xx"]) == OutcomeSet(("5xx",))
    assert hash(OutcomeSet(["5xx"])) == hash(OutcomeSet(("5xx",)))
    assert OutcomeSet(["5xx"]) != OutcomeSet(["500-599"])
    assert repr(OutcomeSet(["5xx"])) == "OutcomeSet(['5xx'])"
