"""A document in pieces is the text that the whole one would be."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from proxy.admin.documents import Members, Rows, pieces

PLAIN = [
    None,
    "grüße \u2028",
    [1, 2.5, {"a": [True]}],
    {},
    {"a": {"b": {"c": [None]}}, 'a "quoted" name': 1},
]


@pytest.mark.parametrize("document", PLAIN)
def test_a_plain_value(document: Any) -> None:
    assert "".join(pieces(document)) == json.dumps(document)


@pytest.mark.parametrize("items", [[], [1], PLAIN])
def test_items_and_members_that_are_made_on_the_way(items: list[Any]) -> None:
    document = {"first": 1, "below": {"rows": Rows(iter(items))}, "last": {}}
    assert "".join(pieces(document)) == json.dumps(
        {"first": 1, "below": {"rows": items}, "last": {}}
    )
    named = [(str(number), item) for number, item in enumerate(items)]
    inner = Rows({"inner": Rows([item])} for item in items)
    assert "".join(pieces(Members([*named, ("rows", inner)]))) == json.dumps(
        {**dict(named), "rows": [{"inner": [item]} for item in items]}
    )


def test_one_item_is_made_at_a_time() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(1000):
            made.append(number)
            yield number

    text = pieces({"rows": Rows(items())})
    for _ in range(10):
        next(text)
    assert 0 < len(made) <= 10


def test_members_that_are_texts_go_together() -> None:
    members = {f"key {n}": f"text {n}" for n in range(1_000)} | {"last": 1}
    text = list(pieces(Members(members.items())))
    assert "".join(text) == json.dumps(members)
    assert len(text) <= 20


def test_a_plain_item_is_one_piece() -> None:
    text = list(pieces(Rows([{"a": {"b": 1}}, []], plain=True)))
    assert text == ["[", '{"a": {"b": 1}}', ", ", "[]", "]"]
