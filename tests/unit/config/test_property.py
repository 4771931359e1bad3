"""Whatever stands in a file: it loads, or it is a ConfigError with places in the file."""

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.config import ConfigError, Problem, effective, load_text
from proxy.config.keys import CONFIG
from proxy.config.policy_keys import POLICY

EVERYTHING = Path(__file__).with_name("everything.yaml").read_text()
LINES = EVERYTHING.splitlines()
WORDS = [
    *CONFIG.keys, *POLICY.keys, "attempts", "on", "name", "match", "when", "response", "json",
    "{", "}", "[", "]", ":", ",", "- ", "\n", "  ", "    ", "&a", "*a", "<<", "!!str", "!", "|",
    ">", "'", '"', "#", "---", "...", "%YAML 1.1", "?", "~", "5s", "5", "20%", "${A}", "${",
    "$${", "\t",
    "a: ", "default", "gold", "\\", '"\\x00"', '"\\ud800"', "\u2028", "\x85", "\ufeff",
    "\U0001f600",
]  # fmt: skip


FEW = settings.default.max_examples // 3
"""The whole file takes 40 ms each time: `make thorough` tries more."""


def check(text: str) -> None:
    lines = text.count("\n") + text.count("\r") + text.count("\x85") + 2
    lines += text.count("\u2028") + text.count("\u2029")
    problems: tuple[Problem, ...] = ()
    try:
        loaded = load_text(text, "f.yaml", {"A": "1"})
    except ConfigError as error:
        problems = error.problems
    else:
        problems = loaded.warnings
        shown = json.dumps(effective(loaded.config, reveal=True))
        if "\\ud" not in shown:  # JSON writes what lies beyond 16 bits as two halves, YAML does not
            assert load_text(shown, "again", {}).config == loaded.config
    for problem in problems:
        assert 1 <= problem.mark.line <= lines
        assert problem.mark.column >= 1
        assert "\n" not in str(problem)


@given(st.text())
@settings(deadline=None)
def test_any_text(text):
    check(text)


@given(st.lists(st.sampled_from(WORDS), max_size=40).map("".join))
@settings(deadline=None, max_examples=300)
def test_texts_that_look_like_yaml(text):
    check(text)


@given(
    st.integers(0, len(EVERYTHING) - 1),
    st.integers(0, 12),
    st.one_of(st.text(max_size=5), st.sampled_from(WORDS)),
)
@settings(deadline=None, max_examples=FEW)
def test_a_valid_file_with_a_slip_of_the_hand(at, length, instead):
    check(EVERYTHING[:at] + instead + EVERYTHING[at + length :])


@given(st.sets(st.integers(0, len(LINES) - 1), max_size=30))
@settings(deadline=None, max_examples=FEW // 2)
def test_a_valid_file_with_lines_missing(missing):
    check("\n".join(line for n, line in enumerate(LINES) if n not in missing))


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from(WORDS),
    st.text(max_size=4),
)


@given(
    st.recursive(
        SCALARS,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(WORDS), inner, max_size=4)
        ),
        max_leaves=25,
    )
)
@settings(deadline=None, max_examples=150)
def test_structures_of_the_wrong_types(data):
    import yaml

    check(yaml.safe_dump(data, allow_unicode=True))
