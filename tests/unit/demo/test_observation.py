"""States of a breaker between two looks, and totals that never fall."""

from typing import Any

import pytest

from proxy.demo.observation import CLOSED, HALF_OPEN, OPEN, Observer, states_entered


@pytest.mark.parametrize(
    ("before", "entered", "after", "path"),
    [
        (CLOSED, {}, CLOSED, []),
        (CLOSED, {OPEN: 1}, OPEN, [OPEN]),
        (OPEN, {HALF_OPEN: 1, OPEN: 1}, OPEN, [HALF_OPEN, OPEN]),
        (OPEN, {HALF_OPEN: 1, CLOSED: 1}, CLOSED, [HALF_OPEN, CLOSED]),
        (HALF_OPEN, {CLOSED: 1, OPEN: 1}, OPEN, [CLOSED, OPEN]),
        (HALF_OPEN, {OPEN: 1, HALF_OPEN: 1, CLOSED: 1}, CLOSED, [OPEN, HALF_OPEN, CLOSED]),
        (OPEN, {OPEN: 1, HALF_OPEN: 2, CLOSED: 1}, CLOSED, [HALF_OPEN, OPEN, HALF_OPEN, CLOSED]),
        # without counters
        (CLOSED, {}, HALF_OPEN, [OPEN, HALF_OPEN]),
        (OPEN, {}, CLOSED, [HALF_OPEN, CLOSED]),
        (CLOSED, {}, "forced_open", ["forced_open"]),
    ],
)  # fmt: skip
def test_states_entered(before: str, entered: dict[str, int], after: str, path: list[str]) -> None:
    assert states_entered(before, entered, after) == path


class _Answers:
    """Stands for an HTTP session: paths to documents, or an error for all of them."""

    def __init__(self) -> None:
        self.documents: dict[str, Any] = {}
        self.error: Exception | None = None

    def get(self, url: str, timeout: Any) -> "_Answer":
        if self.error is not None:
            raise self.error
        return _Answer(self.documents[url.removeprefix("http://admin")])


class _Answer:
    def __init__(self, document: Any) -> None:
        self._document = document

    async def __aenter__(self) -> "_Answer":
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    def raise_for_status(self) -> None:
        return None

    async def json(self) -> Any:
        return self._document

    async def text(self) -> str:
        return str(self._document)


def _breaker(state: str, not_permitted: int = 0, rate: float = -1) -> dict[str, Any]:
    fields = {"name": "payment", "state": state, "failure_rate": rate}
    probe = 1.5 if state == OPEN else None
    return {**fields, "not_permitted": not_permitted, "next_probe_in_s": probe}


@pytest.fixture
def answers() -> _Answers:
    return _Answers()


@pytest.fixture
def observer(answers: _Answers) -> Observer:
    return Observer(answers, "http://admin", lambda: 7.0)


async def _look(observer: Observer, answers: _Answers, breaker: dict[str, Any], text: str) -> None:
    answers.documents = {
        "/circuit-breakers": {"circuit_breakers": [breaker]},
        "/in-flight": {"inbound": 1, "outbound": 4, "requests": []},
        "/metrics": text,
    }
    await observer.look()


TO = "proxy_circuit_breaker_transitions_total"


async def test_a_look_takes_states_counters_and_requests_in_flight(
    observer: Observer, answers: _Answers
) -> None:
    text = (
        "# TYPE proxy_retries_total counter\n"
        'proxy_retries_total{route="payment",condition="5xx"} 2\n'
        'proxy_retries_total{route="payment",condition="reset"} 3\n'
        "# TYPE proxy_fallbacks_total counter\n"
        'proxy_fallbacks_total{route="shipping"} 6\n'
        f'# TYPE {TO} counter\n{TO}{{name="payment",to="open"}} 1\n'
    )
    await _look(observer, answers, _breaker(OPEN, 9, 50), text)
    assert observer.in_flight == 4
    assert (observer.retries["payment"], observer.fallbacks["shipping"]) == (5, 6)
    assert observer.breakers["payment"].next_probe == 1.5
    assert [(t.at, t.breaker, t.state) for t in observer.transitions] == [(7.0, "payment", OPEN)]


async def test_refusals_add_up_when_their_number_starts_again(
    observer: Observer, answers: _Answers
) -> None:
    for state, refused in ((OPEN, 4), (OPEN, 9), (CLOSED, 0), (OPEN, 3)):
        await _look(observer, answers, _breaker(state, refused), "")
    assert observer.refused["payment"] == 12
    assert [t.state for t in observer.transitions] == [OPEN, HALF_OPEN, CLOSED, OPEN]


async def test_a_half_open_state_too_short_to_be_seen(
    observer: Observer, answers: _Answers
) -> None:
    opened = f'# TYPE {TO} counter\n{TO}{{name="payment",to="open"}} '
    await _look(observer, answers, _breaker(OPEN), f"{opened}1\n")
    again = f'{opened}2\n{TO}{{name="payment",to="half_open"}} 1\n'
    await _look(observer, answers, _breaker(OPEN), again)
    assert [t.state for t in observer.transitions] == [OPEN, HALF_OPEN, OPEN]


async def test_state_and_counters_are_of_one_moment(observer: Observer, answers: _Answers) -> None:
    """The breaker closed after its own document was fetched and before the metrics were."""
    counters = "".join(f'{TO}{{name="payment",to="{to}"}} 1\n' for to in (OPEN, HALF_OPEN, CLOSED))
    state = 'proxy_circuit_breaker_state{name="payment",state="closed"} 1\n'
    await _look(observer, answers, _breaker(HALF_OPEN), counters + state)
    await _look(observer, answers, _breaker(CLOSED), counters + state)
    assert observer.breakers["payment"].state == CLOSED
    assert [t.state for t in observer.transitions] == [OPEN, HALF_OPEN, CLOSED]


async def test_faults_hedges_and_limits_are_counted_by_route(
    observer: Observer, answers: _Answers
) -> None:
    metrics = """\
# TYPE proxy_faults_total counter
proxy_faults_total{route="payment",kind="reset"} 3
# TYPE proxy_hedges_total counter
proxy_hedges_total{route="pricing",result="won"} 4
proxy_hedges_total{route="pricing",result="lost"} 2
proxy_hedges_total{route="pricing",result="no-budget"} 7
# TYPE proxy_rate_limit_total counter
proxy_rate_limit_total{route="shipping",limit="contract",result="allowed"} 90
proxy_rate_limit_total{route="shipping",limit="contract",result="limited"} 9
# TYPE proxy_ejections_total counter
proxy_ejections_total{upstream="inventory",why="consecutive"} 2
proxy_ejections_total{upstream="inventory",why="again"} 1
# TYPE proxy_endpoint_ejected gauge
proxy_endpoint_ejected{upstream="inventory",endpoint="a:1"} 0
proxy_endpoint_ejected{upstream="inventory",endpoint="b:1"} 1
"""
    await _look(observer, answers, _breaker(CLOSED), metrics)
    assert observer.faults == {("payment", "reset"): 3}
    assert observer.hedged("pricing") == 6, "a hedge that the budget forbade is none"
    assert observer.hedged("payment") == 0
    assert observer.limited == {"shipping": 9}
    assert observer.ejections == {"inventory": 3}
    assert (observer.ejected["inventory"], observer.ejected["payment"]) == (1, 0)


async def test_a_failed_look_changes_nothing(observer: Observer, answers: _Answers) -> None:
    await _look(observer, answers, _breaker(OPEN, 2), "")
    answers.error = TimeoutError()
    await observer.look()
    assert observer.breakers["payment"].state == OPEN
    assert observer.refused["payment"] == 2
