"""What is committed of a saga can be read again, whatever its definition has."""

import json

import pytest
from delivery.sagas import INPUT, ORDERS

from proxy.config.loading import load_text
from proxy.config.model import Listener
from proxy.delivery.saga_record import Accepted, pack, unpack
from proxy.delivery.saga_request import render_request, told_of, values_of
from proxy.delivery.stored_request import TryResult
from proxy.policies.saga import Saga, Send
from proxy.policies.saga_rules import DEAD_ON, Effect, Phase
from proxy.templates import Unusable

DO, UNDO = Send(0, Phase.DO), Send(0, Phase.UNDO)
MORE = """
    timeout: 90s
    pivot: pay
    keep: 2h
"""


def accepted(text=ORDERS, given=INPUT, **environ):
    saga = load_text(text, "f.yaml", environ).config.sagas["place-order"]
    held = {"traceparent": "00-1-2-01", "x-request-id": "r"}
    return Accepted("o-1", saga, given, held, Listener.OUTBOUND)


def test_everything_comes_back():
    text = ORDERS.replace("    id: body:/orderId\n", MORE)
    text = text.replace('{sku: "${input./sku}"}', '{$t: ["$${id}", {x: "a${id}b"}, null, 1.5]}')
    first = accepted(text)
    again = unpack(pack(first))
    assert again.saga == first.saga
    assert (again.id, again.input, again.held, again.listener) == (
        "o-1", INPUT, first.held, Listener.OUTBOUND,
    )  # fmt: skip
    assert pack(again) == pack(first)


def with_header(name):
    headers = f'headers: {{{name}: "Bearer ${{TOKEN}}"}}, path: /deduct'
    return ORDERS.replace("path: /deduct", headers)


@pytest.mark.parametrize("name", ["authorization", "X-Api-Key", "x-session", "Cookie"])
def test_credentials_are_not_kept_and_come_from_the_present_configuration(name):
    first = accepted(with_header(name), TOKEN="s3cret-1")
    assert b"s3cret-1" not in pack(first)
    kept = unpack(pack(first))
    saga = Saga(kept.saga.rules, 0.0, lambda: 0.5)
    present = accepted(with_header(name), TOKEN="new").saga.steps[0].request
    request = render_request(kept, saga, DO, present, token="t", address=("shop", "http"))
    assert dict(request.fields)[name.encode()] == b"Bearer new"
    with pytest.raises(Unusable):
        render_request(kept, saga, DO, None, token="t", address=("shop", "http"))


def test_other_header_values_are_kept():
    kept = unpack(pack(accepted(with_header("x-team"), TOKEN="shop")))
    saga = Saga(kept.saga.rules, 0.0, lambda: 0.5)
    request = render_request(kept, saga, DO, None, token="t", address=("shop:81", "https"))
    assert dict(request.fields)[b"x-team"] == b"Bearer shop"
    assert (request.method, request.target, request.host) == ("POST", "/deduct", "shop:81")
    assert request.held == {b"traceparent": [b"00-1-2-01"], b"x-request-id": [b"r"]}
    assert json.loads(request.body) == {"sku": "A"}


def test_an_undo_has_its_own_key_and_knows_the_steps():
    kept = accepted()
    saga = Saga(kept.saga.rules, 0.0, lambda: 0.5)
    request = render_request(kept, saga, UNDO, None, token="t", address=("shop", "http"))
    assert dict(request.fields)[b"Idempotency-Key"] == b"o-1/reserve/undo"
    assert request.target == "/release/o-1"
    assert json.loads(request.body) == {"key": "o-1/reserve/do"}


@pytest.mark.parametrize(
    ("body", "wanted", "values"),
    [
        (b'{"a": {"b": 1, "c": 2}}', {("a", "b")}, {"parts": {"a": {"b": 1}}}),
        (b'{"a": {"b": 1}}', {("a",), ("a", "b")}, {"parts": {"a": {"b": 1}}}),
        (b'{"a": [5, 6]}', {("a", "1")}, {"parts": {"a": {"1": 6}}}),
        (b"[1]", {()}, {"whole": [1]}),
        (b'{"a": 1}', {("b",)}, {}),
        (b"no json", {("a",)}, {}),
    ],
)
def test_only_what_is_named_is_taken_of_an_answer(body, wanted, values):
    assert values_of(body, wanted) == values


def test_an_answer_that_broke_off_is_unknown_if_a_value_is_wanted():
    cut = TryResult(200, body=b'{"a"', complete=False)
    assert told_of(Phase.DO, cut, DEAD_ON, {("a",)}, 1000).effect is Effect.UNKNOWN
    assert told_of(Phase.DO, cut, DEAD_ON, (), 0).effect is Effect.DONE
    too_long = TryResult(200, body=b"x" * 10, complete=False)
    assert told_of(Phase.DO, too_long, DEAD_ON, {("a",)}, 10).effect is Effect.DONE


@pytest.mark.parametrize(
    ("result", "effect", "spends"),
    [
        (TryResult(503, "circuit-open", postponed=True, sent=False), Effect.NONE, False),
        (TryResult(502, "connect-refused", sent=False), Effect.NONE, True),
        (TryResult(504, "attempt-timeout", sent=True), Effect.UNKNOWN, True),
        (TryResult(500, "fault-injected", sent=False), Effect.DOUBTFUL, True),
        (TryResult(409, unknown=True), Effect.UNKNOWN, True),
    ],
)
def test_what_a_try_means(result, effect, spends):
    told = told_of(Phase.DO, result, DEAD_ON, (), 0)
    assert (told.effect, told.spends) == (effect, spends)
