"""The runner itself: what it does not understand must fail, and so must a wrong answer."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from case_runner import Case, CaseError, load


def cases(directory: Path, name: str, *entries: dict[str, Any], **extra: Any) -> list[Case]:
    file = directory / name
    file.write_text(yaml.safe_dump({"version": 1, "cases": list(entries), **extra}))
    return load(file)


def run(directory: Path, name: str, entry: dict[str, Any]) -> None:
    (case,) = cases(directory, name, entry)
    case.run()


def steps(*steps: dict[str, Any], **config: Any) -> dict[str, Any]:
    return {"id": "x", "config": {"minimum_calls": 2, **config}, "steps": list(steps)}


OPENED = [{"op": "failure", "times": 2}, {"op": "expect", "state": "OPEN"}]


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        (steps({"op": "dance"}), "unknown op"),
        (steps({"op": "success", "tims": 2}), "unknown 'tims'"),
        (steps({"op": "expect", "statee": "OPEN"}), "unknown expectation 'statee'"),
        (steps({"op": "expect", "state": "OPEN"}), "expected 'OPEN', got 'CLOSED'"),
        (steps({"op": "expect", "events": {"sucess": 1}}), "unknown expectation"),
        (steps({"op": "expect", "successes": 1}), "expected 1, got 0"),
        (steps({"op": "acquire", "permitted": False}), "expected False, got True"),
        (steps({"op": "transition", "to": "OPEN", "illegal": True}), "was not refused"),
        (steps({"op": "transition", "to": "HALF_OPEN"}), "refused: "),
        (steps({"op": "transition", "to": "AJAR"}), "unknown state"),
        (steps({"op": "success"}, colour=1), "unknown 'colour'"),
        (steps({"op": "success"}, window={"type": "moon", "size": 1}), "unknown window type"),
        ({**steps({"op": "success"}), "sequel": 1}, "unknown 'sequel'"),
        (steps(), "steps are wanted"),
        (steps(*OPENED, {"op": "call"}), "expected True, got False"),
        (steps({"op": "finish", "id": "a"}), "no call 'a' was started"),
    ],
)
def test_breaker_cases_that_must_fail(
    tmp_path: Path, entry: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(CaseError, match=complaint):
        run(tmp_path, "circuit_breaker_extra.yaml", entry)


@pytest.mark.parametrize(
    "entry",
    [
        steps({"op": "transition", "to": "HALF_OPEN", "illegal": True}),
        steps(
            {"op": "transition", "to": "OPEN", "illegal": True},
            {"op": "transition", "to": "HALF_OPEN", "illegal": True},
            {"op": "failure", "times": 3},
            {"op": "expect", "state": "METRICS_ONLY", "failures": 3, "failure_rate_exceeded": 1},
            initial_state="METRICS_ONLY",
        ),
        steps(
            {"op": "transition", "to": "OPEN", "for_ms": 100},
            {"op": "transition", "to": "OPEN", "for_ms": 100},
            {"op": "advance", "ms": 100},
            {"op": "expect", "state": "OPEN", "events": {"state_transition": 1}},
            {"op": "tick"},
            {"op": "expect", "state": "HALF_OPEN", "state_transitions": 2},
            {"op": "listen"},
            {"op": "expect", "state_transitions": 0},
            auto_half_open=True,
        ),
        steps(
            {"op": "transition", "to": "OPEN"},
            {"op": "transition", "to": "HALF_OPEN"},
            {"op": "acquire"},
            {"op": "advance", "ms": 999},
            {"op": "tick"},
            {"op": "expect", "state": "HALF_OPEN"},
            {"op": "advance", "ms": 1},
            {"op": "tick"},
            {"op": "expect", "state": "OPEN"},
            max_wait_half_open_ms=1000,
        ),
        steps(
            {"op": "transition", "to": "OPEN"},
            {"op": "transition", "to": "HALF_OPEN"},
            {"op": "advance", "ms": 1000},
            {"op": "tick"},
            {"op": "expect", "state": "CLOSED", "state_transitions": 3, "onReset": 0},
            max_wait_half_open_ms=1000,
            half_open_timeout_state="CLOSED",
        ),
        steps(
            {"op": "call", "outcome": "failure", "takes_ms": 20},
            {"op": "expect", "failures": 1, "total_duration_ms": 20, "error_events": 1},
            {"op": "start_finish", "start": 10, "finish": 40, "outcome": "success"},
            {"op": "start_finish", "start": "a"},
            {"op": "repeat", "times": 2, "steps": [{"op": "advance", "ms": 5}]},
            {"op": "start_finish", "finish": "a", "outcome": "ignored"},
            {"op": "expect", "buffered": 2, "avg_duration_ms": 25, "ignored_events": 1},
            minimum_calls=3,
        ),
        steps({"op": "expect", "state": "HALF_OPEN"}, initial_state="HALF_OPEN"),
        steps(
            {"op": "success"},
            {"op": "transition", "to": "METRICS_ONLY"},
            {"op": "expect", "state": "METRICS_ONLY", "buffered": 0, "state_transitions": 1},
            {"op": "reset"},
            {"op": "expect", "state": "CLOSED", "reset": 1},
            {"op": "transition", "to": "DISABLED"},
            {"op": "failure", "times": 5},
            {"op": "expect", "state": "DISABLED", "buffered": 0, "error": 0},
        ),
    ],
)
def test_the_whole_vocabulary(tmp_path: Path, entry: dict[str, Any]) -> None:
    run(tmp_path, "circuit_breaker.yaml", entry)


def backoff(expect: dict[str, Any], **params: Any) -> dict[str, Any]:
    return {"id": "x", "params": {"kind": "exponential", "base": 1, **params}, "expect": expect}


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        (backoff({"sequence": [1, 3]}), "wait 2: expected 3, got 2"),
        (backoff({"sequence": [1]}, kind="linear"), "no linear backoff"),
        (backoff({"sequence": [1]}, kind="stairs"), "unknown kind"),
        (backoff({"sequence": [1]}, jitter="wild"), "unknown jitter"),
        (backoff({"sequence": [1]}, colour=1), "unknown 'colour'"),
        (backoff({"rule": "smooth"}), "unknown rule"),
        (backoff({"shape": 1}), "unknown expectation"),
        (backoff({}), "nothing is expected"),
        (backoff({"range": [0, 0.9]}, jitter="full"), "is not within"),
        (backoff({"by_random": {0.5: 1.1}}, jitter="plus-minus 20%"), "expected 1.1"),
    ],
)
def test_backoff_cases_that_must_fail(
    tmp_path: Path, entry: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(CaseError, match=complaint):
        run(tmp_path, "backoff.yaml", entry)


def test_a_decorrelated_sequence_follows_its_own_waits(tmp_path: Path) -> None:
    entry = backoff({"sequence": [3, 9, 20]}, kind="decorrelated", cap=20, random=1.0)
    run(tmp_path, "backoff_more.yaml", entry)


@pytest.mark.parametrize(
    ("header", "expect"),
    [
        ("now + 2 hours", {"delay_s": 7200}),
        ("now", {"delay_s": 0}),
        (["x", "3"], {"invalid": True}),
        (None, {"invalid": True}),
        (17, {"delay_ms": 17000}),
    ],
)
def test_retry_after_vocabulary(tmp_path: Path, header: Any, expect: dict[str, Any]) -> None:
    run(tmp_path, "retry_after.yaml", {"id": "x", "header": header, "expect": expect})


@pytest.mark.parametrize(
    "expect", [{"delay_s": 3}, {"invalid": True}, {"until": "2020-01-01T00:00:00Z"}, {"soon": 1}]
)
def test_retry_after_cases_that_must_fail(tmp_path: Path, expect: dict[str, Any]) -> None:
    with pytest.raises(CaseError):
        run(tmp_path, "retry_after.yaml", {"id": "x", "header": "2", "expect": expect})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("weather.yaml", "cases: [{id: x}]"),
        ("backoff.yaml", "cases: []"),
        ("backoff.yaml", "cases: [{id: x}"),
        ("backoff.yaml", "{cases: [{id: x}], chapters: 1}"),
        ("backoff.yaml", "{cases: [{id: x}], version: 2}"),
        ("backoff.yaml", "cases: [nothing]"),
    ],
)
def test_files_that_cannot_be_used_fail(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    (case,) = load(tmp_path / name)
    with pytest.raises(CaseError):
        case.run()


def test_a_file_that_is_not_there_fails(tmp_path: Path) -> None:
    (case,) = load(tmp_path / "backoff.yaml")
    with pytest.raises(CaseError, match="No such file"):
        case.run()
