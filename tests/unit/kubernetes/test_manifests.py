"""Texts: what does not change stays to the byte, what changes keeps its looks."""

import json
from copy import deepcopy

import pytest
import yaml

from proxy.kubernetes.manifests import Unreadable, read


def changed(text, change):
    """The text after `change` of its first document's value."""
    first, *rest = read(text)
    after = deepcopy(first.value)
    change(after)
    return "".join([first.write(after), *(document.write(document.value) for document in rest)])


def add(value):
    value["new"] = {"b": 1, "a": [1]}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "# nothing\n",
        "a:   1   # odd\n\n\nb:  {x:    y}\n",
        "---\na: 1\n---\n---\n# empty\n---\nb: 2\n...\n",
        "%YAML 1.1\n---\na: on\n",
        "--- {a: 1}\n--- # comment\nb: 2",
        "a: |\n  ---\n  b\n---\nc: --- \n",
        '{"a":   1}\n\n',
        "{a: 1}\n",
        "a: 1\r\nb: 2\r\n",
        "- 1\n- 2\n",
        "just text\n",
        "a: &x [1]\nb: *x\n",
        "a: !!binary aGk=\nb: !custom {c: 1}\n",
        "when: 2001-12-14t21:59:43.10-05:00\nmode: 0644\nbig: 1_000\nyes: no\n",
    ],
)
def test_what_does_not_change_stays_to_the_byte(text):
    documents = read(text)
    assert "".join(document.write(deepcopy(document.value)) for document in documents) == text


def test_documents_and_their_lines():
    documents = read("# one\na: 1\n---\nb: 2\n--- # three\n\nc: 3\n")
    assert [document.value for document in documents] == [{"a": 1}, {"b": 2}, {"c": 3}]
    assert [document.line for document in documents] == [1, 3, 5]
    assert documents[2].line_of(("c",)) == 7
    assert documents[1].line_of(("b", "nothing")) == 4


def test_what_stands_before_the_first_marker_belongs_to_it():
    (document,) = read("# one\n\n---\na: 1\n")
    assert document.value == {"a": 1}
    assert changed("# one\n\n---\na: 1\n", add).startswith("# one\n\n---\na: 1\nnew:\n")


def test_comments_quotes_and_order_stay():
    text = f"""\
# head
b: "yes"   # why
a: 'x'
on: no

# list
list:
  - name: one   # first
    x: 0644
  # two
  - {{name: two, y: 0x1F}}
text: |
  as it
   is
folded: >-
  a
  b
long: {"word " * 60}
"""
    result = changed(text, lambda value: value["list"].insert(0, {"name": "zero"}))
    lines = [line for line in result.splitlines() if line.strip() != "- name: zero"]
    assert [line.rstrip() for line in lines] == [line.rstrip() for line in text.splitlines()]


@pytest.mark.parametrize(
    ("text", "added"),
    [
        ("a:\n- 1\n", "new:\n  b: 1\n  a:\n  - 1\n"),
        ("a:\n  - 1\n", "new:\n  b: 1\n  a:\n    - 1\n"),
        ("a:\n    b: 1\n", "new:\n    b: 1\n    a:\n    - 1\n"),
    ],
)
def test_what_is_added_is_indented_like_the_rest(text, added):
    assert changed(text, add) == text + added


def test_what_begins_beside_its_marker():
    assert changed("--- {a: 1}\n--- 2\n", lambda value: value.update(b=2)) == (
        "---\n{a: 1, b: 2}\n--- 2\n"
    )


def test_directives_stay():
    assert changed("%YAML 1.2\n--- # x\na: on\n", add).startswith("%YAML 1.2\n--- # x\na: on\nnew:")


def test_line_ends_stay():
    result = changed("a: 1\r\nb: 2\r\n", add)
    assert result.count("\n") == result.count("\r\n") == 6


def test_texts_that_are_put_in_are_texts_to_every_reader():
    added = ["yes", "on", "8080", "1:30", "0o17", "1.5", "null", "~", "", "=", "plain"]
    result = changed("a: 1\n", lambda value: value.update(new=added))
    assert yaml.safe_load(result)["new"] == added
    assert "- plain\n" in result


def test_what_an_alias_stands_for_is_changed_in_one_place_alone():
    text = "one: &x {a: 'yes'}\ntwo: *x\nthree:\n  <<: *x\n  b: 1\n"

    def change(value):
        value["two"]["c"] = 1
        value["three"]["a"] = "no"

    result = changed(text, change)
    assert yaml.safe_load(result) == {
        "one": {"a": "yes"},
        "two": {"a": "yes", "c": 1},
        "three": {"a": "no", "b": 1},
    }


@pytest.mark.parametrize(
    ("text", "document", "line"),
    [
        ("a: 1\n---\nb: [\n", 1, 4),
        ("a: 1\n---\nb: 1\nb: 2\n", 1, 4),
        ("a: 1\n\n\tb: 2\n", 0, 3),
        ("a: \x00\n", 0, 1),
        ("a: *nobody\n", 0, 1),
        ("{a: 1}}\n", 0, 1),
        ("# one\n---\n\na: }\n", 0, 4),
        ("--- {a: 1}\n--- {b: [}\n", 1, 2),
    ],
)
def test_what_is_no_yaml_is_told_with_its_line(text, document, line):
    with pytest.raises(Unreadable) as caught:
        read(text)
    assert (caught.value.document, caught.value.line) == (document, line)


def test_nesting_without_end_is_told():
    with pytest.raises(Unreadable, match="deep"):
        read("a: " + "[" * 1000)


def test_aliases_that_blow_up_are_told():
    rows = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 8)]
    with pytest.raises(Unreadable, match="more than"):
        read("\n".join(rows))


# --- JSON ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("indent", [None, 2, 4])
def test_json_stays_json_with_its_indentation(indent):
    text = json.dumps({"a": [1, {"b": "ü"}]}, indent=indent) + "\n"
    result = changed(text, lambda value: value["a"][1].update(c=2))
    assert result == json.dumps({"a": [1, {"b": "ü", "c": 2}]}, indent=indent) + "\n"


def test_dense_json_stays_dense():
    assert changed('{"a":"ü"}', lambda value: value.update(b=1)) == '{"a":"ü","b":1}'
