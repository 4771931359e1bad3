import pytest

from proxy.config import ConfigError, Mark, Problem, Severity
from proxy.config.problems import Problems, format_path


def test_a_problem_is_shown_as_the_contract_says():
    path = ("routes", 2, "retry", "max_attempt")
    message = "unknown key; did you mean 'attempts'?"
    problem = Problem("config/proxy.yaml", Mark(42, 9), path, message)
    assert str(problem) == (
        "config/proxy.yaml:42:9: routes[2].retry.max_attempt: unknown key; did you mean 'attempts'?"
    )


def test_a_warning_says_so_and_a_whole_file_has_no_path():
    problem = Problem("f", Mark(1, 1), (), "old", Severity.WARNING)
    assert str(problem) == "f:1:1: warning: old"


def test_paths_quote_what_is_no_plain_key():
    assert format_path(("a", 0, "b c", 'd"\n', "e-f")) == 'a[0]["b c"]["d\\"\\n"].e-f'
    assert format_path(()) == ""


def test_problems_come_by_their_place_and_once():
    problems = Problems("f")
    problems.error(Mark(2, 1), ("b",), "late")
    problems.warning(Mark(1, 9), ("a",), "early")
    problems.error(Mark(2, 1), ("b",), "late")
    with pytest.raises(ConfigError) as raised:
        problems.raise_errors()
    assert str(raised.value) == "f:1:9: warning: a: early\nf:2:1: b: late"
    severities = [problem.severity for problem in raised.value.problems]
    assert severities == [Severity.WARNING, Severity.ERROR]


def test_warnings_alone_raise_nothing():
    problems = Problems("f")
    problems.warning(Mark(1, 1), (), "hm")
    problems.raise_errors()
    assert len(problems.sorted()) == 1
