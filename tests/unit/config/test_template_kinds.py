import pytest

from proxy.config.cursor import Cursor, Reading, Reported
from proxy.config.document import parse
from proxy.config.problems import Problems
from proxy.config.template_kinds import TemplateJson, TemplateText
from proxy.templates import Scope, Template, render


def read(kind, text, **environ):
    problems = Problems("f.yaml")
    node = parse(text, problems)
    try:
        return kind.read(Cursor(Reading(problems, environ), node).child("x")), problems
    except Reported:
        return None, problems


JSON = TemplateJson(("id", "body"))


def test_words_are_never_the_environments():
    tree, _ = read(JSON, 'x: {a: "${id}", b: "${HOST}-${body./n}", c: "$${id}", d: "${id2:-q}"}',
                   id="wrong", HOST="h", body="wrong")  # fmt: skip
    assert render(tree, Scope("7", {"n": 1})) == {"a": "7", "b": "h-1", "c": "${id}", "d": "q"}


def test_what_the_environment_holds_is_not_looked_into():
    tree, _ = read(JSON, 'x: ["${V}${id}"]', V="${body./secret}")
    assert render(tree, Scope("7", {})) == ["${body./secret}7"]


def test_scalars_are_read_as_in_a_fixed_answer():
    tree, _ = read(JSON, 'x: [1, "1", true, no, null, ~, 1.5, "${N}"]', N="5")
    assert tree == [1, "1", True, "no", None, None, 1.5, "5"]


def test_written_back():
    tree, _ = read(JSON, 'x: {a: "q${id}", b: "$${id}", c: [1]}')
    assert JSON.dump(tree, True) == {"a": "q${id}", "b": "$${id}", "c": [1]}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('x: ["${input./a}"]', "f.yaml:1:5: x[0]: ${input./a} has no value here"),
        ('x: ["${body.a}"]', "f.yaml:1:5: x[0]: ${body.a} is malformed"),
        ('x: {a: "${id:-1}"}', "f.yaml:1:8: x.a: ${id:-1}: a template has no default"),
        ('x: {a: "${NONE}${id}"}', "f.yaml:1:8: x.a: NONE is not set"),
    ],
)
def test_problems(text, problem):
    _, problems = read(JSON, text)
    assert [str(one).startswith(problem) for one in problems.sorted()] == [True]


def test_all_problems_are_reported_together():
    _, problems = read(JSON, 'x: {a: "${input}", b: ["${id.x}", {c: "${NONE}"}], d: "${steps}"}')
    places = [str(one).split(": ")[1] for one in problems.sorted()]
    assert places == ["x.a", "x.b[0]", "x.b[1].c", "x.d"]


def test_texts():
    kind = TemplateText("a path", ("id",), lambda text: text.upper())
    assert read(kind, "x: /a/${id}")[0].path(Scope("1/2")) == "/a/1%2F2"
    assert read(kind, "x: abc")[0] == Template(("ABC",))
    assert kind.dump(read(kind, "x: /a/${id}")[0], True) == "/a/${id}"
    assert read(kind, "x: [1]")[1].sorted()
