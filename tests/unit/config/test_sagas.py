"""Sagas in the file: their keys, the problems that are reported, and what is warned of."""

import pytest

from proxy.config import effective
from proxy.config.loading import load_text
from proxy.config.problems import ConfigError
from proxy.policies.outbox import ResultConfig
from proxy.policies.saga_rules import DEAD_ON
from proxy.templates import Scope

FILE = """
store: {url: "sqlite:s.db", persistent: true}
upstreams:
  a: {endpoints: ["http://10.0.0.1:80"]}
  b: {endpoints: ["http://10.0.0.2:80"]}
policies:
  slow: {timeouts: {request: 60s}}
sagas:
  order:
    steps:
      - name: reserve
        request:
          upstream: a
          path: /r/${id}?x=${input./x}
          json: {n: "${input./n}", of: "$${id}"}
        undo: {upstream: a, path: /undo, headers: {x-token: "t-${TOKEN}"}}
      - name: pay
        policy: slow
        request: {method: PUT, upstream: b, path: /pay, json: ["${steps.reserve./id}"]}
routes:
  - {name: orders, listener: inbound, match: {path: /orders}, saga: order}
"""


def load(text=FILE, **environ):
    return load_text(text, "f.yaml", {"TOKEN": "s3cret", **environ})


def warnings(text):
    return [str(problem) for problem in load(text).warnings]


def errors(text):
    with pytest.raises(ConfigError) as raised:
        load(text)
    return str(raised.value)


def test_a_saga_as_values():
    loaded = load()
    saga = loaded.config.sagas["order"]
    reserve, pay = saga.steps
    scope = Scope("1/2", input={"x": "a b", "n": 3}, steps={"reserve": {"id": 7}})
    assert reserve.request.path.path(scope) == "/r/1%2F2?x=a%20b"
    assert (reserve.request.method, pay.request.method) == ("POST", "PUT")
    assert (pay.policy, pay.attempts, pay.dead_on, pay.undo) == ("slow", 5, DEAD_ON, None)
    assert (saga.timeout, saga.keep, saga.id, saga.pivot) == (300.0, 14 * 86400.0, None, None)
    assert saga.wanted("reserve") == {("id",)}
    assert loaded.warnings == ()


def test_a_saga_route_takes_only_post():
    (route,) = load().config.routes
    assert (route.saga, route.upstream, route.match.methods) == ("order", None, {"POST"})


def test_header_values_are_hidden_where_secrets_are():
    config = load().config
    shown = effective(config)["sagas"]["order"]["steps"][0]
    assert shown["undo"]["headers"] == {"x-token": "***"}
    assert shown["request"]["path"] == "/r/${id}?x=${input./x}"
    assert shown["request"]["json"] == {"n": "${input./n}", "of": "$${id}"}
    revealed = effective(config, reveal=True)["sagas"]["order"]["steps"][0]
    assert revealed["undo"]["headers"] == {"x-token": "t-s3cret"}


def test_what_can_be_written_can_be_read_again():
    import yaml

    config = load().config
    written = yaml.safe_dump({"sagas": effective(config, reveal=True)["sagas"]})
    head = FILE[: FILE.index("sagas:")]
    routes = FILE[FILE.index("routes:") :]
    assert load(head + written + routes).config.sagas == config.sagas


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("${input./n}", "${body./n}", "${body./n} has no value here; there are ${id}, ${input}"),
        ("path: /pay", "path: pay", "must begin with '/'"),
        ("upstream: b, path: /pay", "upstream: c, path: /pay", "there is no upstream 'c'"),
        ("upstream: b, path: /pay", "path: /pay", "'upstream' is missing"),
        ("policy: slow", "policy: slo", "there is no policy 'slo'; did you mean 'slow'?"),
        ("${steps.reserve./id}", "${steps.reserv./id}", "there is no step 'reserv'; did you mean"),
        ("${steps.reserve./id}", "${steps.pay./id}", "never has a value here: 'pay' comes from"),
        ("${input./n}", "${steps.pay./id}", "never has a value here: 'pay' comes later"),
        ("name: pay", "name: reserve", "there is already a step named 'reserve'"),
        ("name: pay", "name: p/y", "is not usable as a step's name"),
        ("    steps:", "    pivot: ship\n    steps:", "there is no step 'ship'"),
        ("policy: slow", "optional: true\n    pivot: pay", "is optional: whether it works"),
        ("x-token", "Idempotency-Key", "is the saga's: the same on every try"),
        ("saga: order}", "saga: ordr}", "there is no saga 'ordr'; did you mean 'order'?"),
        ("saga: order}", "saga: order, split_by: client}", "give either 'saga' or 'split_by'"),
        ("saga: order}", "saga: order, upstream: a}", "give either 'saga' or 'upstream'"),
        ("path: /orders}", "path: /orders, methods: [PUT]}", "only POST starts a saga"),
        ("    steps:", "    id: orderId\n    steps:", "must be body: and a JSON pointer"),
        ("    steps:", "    keep: 2\n    steps:", "2 has no unit"),
    ],
)  # fmt: skip
def test_problems(old, new, problem):
    if "pivot: pay" in new:  # at the saga, not at its step
        text = FILE.replace(old, "optional: true").replace(
            "    steps:", "    pivot: pay\n    steps:"
        )
    else:
        text = FILE.replace(old, new)
    assert text != FILE
    assert problem in errors(text)


def test_a_saga_without_steps():
    assert "needs at least one step" in errors("sagas: {order: {steps: []}}")
    assert "'steps' is missing" in errors("sagas: {order: {timeout: 1s}}")


def test_an_undo_that_reads_its_own_answer_is_warned_of():
    (warning,) = warnings(FILE.replace("path: /undo", 'path: "/undo/${steps.reserve./id}"'))
    assert "sagas.order.steps[0].undo" in warning
    assert "is the answer of the step itself" in warning
    assert "${steps.reserve.key}" in warning


def test_its_key_may_be_read():
    assert warnings(FILE.replace("path: /undo", 'path: "/undo/${steps.reserve.key}"')) == []


@pytest.mark.parametrize(
    ("old", "new", "warning"),
    [
        ("path: /undo", 'path: "/undo/${steps.pay./id}"', "did not come as far as 'pay'"),
        ("undo:", "result: {}\n        undo:", "has no effect: only a step with optional"),
        ("undo:", "optional: true\n        undo:", "has no value if 'reserve' fails"),
        ("saga: order}", "upstream: a}", "sagas.order: no route uses it"),
    ],
)
def test_warnings(old, new, warning):
    assert any(warning in one for one in warnings(FILE.replace(old, new))), warnings(
        FILE.replace(old, new)
    )


def test_an_undo_after_the_pivot_is_never_used():
    text = FILE.replace("path: /pay, json", "path: /pay, json").replace(
        "    steps:", "    pivot: reserve\n    steps:"
    )
    text = text.replace("policy: slow", "policy: slow\n        undo: {upstream: b, path: /back}")
    assert any("is never used: after the pivot" in one for one in warnings(text))


def test_answer_and_result():
    more = (
        '    result: {upstream: app, path: /done}\n    answer: {status: 201, json: {id: "${id}"}}\n'
    )
    saga = load(FILE.replace("    steps:", more + "    steps:")).config.sagas["order"]
    assert saga.result == ResultConfig("app", "/done")
    assert (saga.answer.status, saga.answer.json["id"].text(Scope("7"))) == (201, "7")
