"""Patches that another implementation has to make sense of."""

from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.kubernetes.json_patch import apply, diff

jsonpatch = pytest.importorskip("jsonpatch", reason="needs jsonpatch, of the extra test")


def patched(before, after):
    """What an independent implementation makes of the difference."""
    operations = list(diff(before, after))
    ours = deepcopy(before)
    if not any(operation["path"] == "" for operation in operations):
        apply(ours, deepcopy(operations))
        assert ours == after
    return jsonpatch.JsonPatch(operations).apply(before), operations


def named(*names):
    return [{"name": name, "value": name.upper()} for name in names]


@pytest.mark.parametrize(
    ("before", "after", "operations"),
    [
        ({"a": 1}, {"a": 1}, []),
        (
            {"a": 1},
            {"b": 1},
            [{"op": "remove", "path": "/a"}, {"op": "add", "path": "/b", "value": 1}],
        ),
        ({"a": True}, {"a": 1}, [{"op": "replace", "path": "/a", "value": 1}]),
        ({"a": None}, {}, [{"op": "remove", "path": "/a"}]),
        ({"a/b": {}}, {"a/b": {"~": 1}}, [{"op": "add", "path": "/a~1b/~0", "value": 1}]),
        (
            {"c": named("a", "b")},
            {"c": named("new", "a", "b")},
            [{"op": "add", "path": "/c/0", "value": named("new")[0]}],
        ),
        ({"c": named("a", "b", "c")}, {"c": named("b")}, None),
        ({"c": named("a", "b")}, {"c": named("b", "a")}, None),
        ({"c": named("a", "a")}, {"c": named("a")}, [{"op": "remove", "path": "/c/1"}]),
        ({"c": [1, 2, 3]}, {"c": [1, 4]}, None),
        ({"c": []}, {"c": [1, 4]}, None),
        ([1], [1, 2], [{"op": "add", "path": "/1", "value": 2}]),
        ({"a": 1}, 7, [{"op": "replace", "path": "", "value": 7}]),
    ],
)
def test_a_difference(before, after, operations):
    result, made = patched(before, after)
    assert result == after
    if operations is not None:
        assert made == operations


SCALARS = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a", "/", "~1"])
KEYS = st.sampled_from(["name", "a", "a/b", "~", "~1", "", "0"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.lists(st.fixed_dictionaries({"name": st.sampled_from("abcd"), "x": inner}), max_size=4)
    ),
    max_leaves=12,
)


@given(VALUES, VALUES)
@settings(max_examples=150, deadline=None)
def test_any_two_values(before, after):
    result, _ = patched(before, after)
    assert result == after
