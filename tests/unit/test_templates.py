import pytest

from proxy.templates import (
    WORDS,
    Scope,
    Template,
    Unusable,
    parse_pointer,
    parse_reference,
    read_document,
    references,
    render,
    render_json,
)

SCOPE = Scope(
    "a/1",
    body={"orderId": 7, "items": [{"sku": "ä b"}], "note": None, "a/b": {"~": True}, "dots": ".."},
    input={"total": 9.5},
    steps={"pay": {"id": "tx/1"}, "list": [1, 2]},
    keys={"pay": "a/pay/do"},
)


def template(*parts: str) -> Template:
    """Each part that begins with ``$`` is a reference."""
    return Template(
        tuple(parse_reference(part[1:]) or part if part[0] == "$" else part for part in parts)
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("id", "a/1"),
        ("body./orderId", 7),
        ("body./items/0/sku", "ä b"),
        ("body./items", [{"sku": "ä b"}]),
        ("body./note", None),
        ("body./a~1b/~0", True),
        ("input./total", 9.5),
        ("input", {"total": 9.5}),
        ("steps.pay./id", "tx/1"),
        ("steps.pay.key", "a/pay/do"),
        ("steps.list", [1, 2]),
        ("steps.list./1", 2),
    ],
)
def test_one_reference_alone_keeps_the_type(text, value):
    assert template("$" + text).value(SCOPE) == value


@pytest.mark.parametrize(
    "text",
    [
        "body./none",
        "body./items/1/sku",
        "body./items/00/sku",
        "body./items/-1",
        "body./items/-",
        "body./orderId/x",
        "body./",
        "steps.ship./id",
        "steps.ship.key",
    ],
)
def test_a_missing_value_fails(text):
    with pytest.raises(Unusable, match=r"\$\{" + text.replace(".", r"\.")):
        template("$" + text).value(SCOPE)


@pytest.mark.parametrize(
    "text",
    ["id.x", "id./x", "body.x", "body.", "steps", "steps.", "steps.pay.x", "steps.pay.keys",
     "steps../x", "body./~", "body./~2", "id:-x", "input:-x", "steps.pay."],
)  # fmt: skip
def test_malformed_references(text):
    with pytest.raises(ValueError, match=r"."):
        parse_reference(text)


@pytest.mark.parametrize("text", ["ID", "HOME", "body_x", "identity", "input2", ""])
def test_other_words_are_not_references(text):
    assert parse_reference(text) is None


def test_text_in_text():
    assert template("o-", "$body./orderId", "-", "$input./total").text(SCOPE) == "o-7-9.5"
    assert template("x", "$body./a~1b/~0").text(SCOPE) == "xtrue"
    for text in ("$body./note", "$body./items", "$body"):
        with pytest.raises(Unusable):
            template("x", text).text(SCOPE)


def test_paths_are_percent_encoded():
    made = template("/o/", "$steps.pay./id", "?sku=", "$body./items/0/sku").path(SCOPE)
    assert made == "/o/tx%2F1?sku=%C3%A4%20b"


def test_a_value_never_makes_a_dot_segment():
    with pytest.raises(Unusable, match="segment"):
        template("/o/", "$body./dots").path(SCOPE)
    with pytest.raises(Unusable, match="segment"):
        template("/o/.", "$input").path(Scope("x", input="."))
    assert template("/o?x=", "$body./dots").path(SCOPE) == "/o?x=.."


@pytest.mark.parametrize("character", ["\r", "\n", "\x00", "\x7f", "\x0b"])
def test_control_characters_fail_a_header(character):
    with pytest.raises(Unusable, match="control"):
        template("v ", "$input").header(Scope("x", input=f"a{character}b"))
    assert template("v ", "$input").header(Scope("x", input="ä\t1 ")) == "v ä\t1".encode()


def test_trees():
    tree = {"a": [template("$body./orderId"), "x"], "b": {"c": template("n", "$id")}, "d": 1}
    assert render(tree, SCOPE) == {"a": [7, "x"], "b": {"c": "na/1"}, "d": 1}
    assert render_json(tree, SCOPE) == b'{"a":[7,"x"],"b":{"c":"na/1"},"d":1}'
    assert [one.word for one in references(tree)] == ["body", "id"]


def test_half_a_surrogate_pair_is_no_text():
    with pytest.raises(Unusable, match="surrogate"):
        render_json([template("$body./x")], Scope("x", read_document(rb'{"x": "\ud800"}')))


@pytest.mark.parametrize("way", ["text", "path", "header"])
def test_half_a_surrogate_pair_is_no_part_of_a_request(way):
    scope = Scope("x", read_document(rb'{"x": "\ud800"}'))
    with pytest.raises(Unusable, match="surrogate"):
        getattr(template("/a/", "$body./x"), way)(scope)


def test_as_written():
    assert template("o-${x}-", "$body./a~1b").written == "o-$${x}-${body./a~1b}"


@pytest.mark.parametrize(
    "data", [b"", b"{", b"NaN", b"[Infinity]", b"1e999", b"[" * 100_000, b"\xff", b'{"a":1}x']
)
def test_what_is_not_json(data):
    with pytest.raises(Unusable):
        read_document(data)


def test_pointers():
    assert parse_pointer("/") == ("",)
    assert parse_pointer("/a//b~1c") == ("a", "", "b/c")
    for bad in ("", "a", "/~", "/a~2"):
        with pytest.raises(ValueError, match="JSON pointer"):
            parse_pointer(bad)


def test_the_words_are_four():
    assert WORDS == ("id", "input", "body", "steps")
