import pytest

from proxy.config.environment import substitute

ENVIRON = {"A": "1", "EMPTY": "", "_x9": "y", "MONEY": "${A}", "BYTES": "a\udcff"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("${A}", "1"),
        ("x${A}y${_x9}z", "x1yyz"),
        ("${EMPTY}", ""),
        ("${EMPTY:-d}", "d"),
        ("${NONE:-d}", "d"),
        ("${NONE:-}", ""),
        ("${NONE:-a:-b c}", "a:-b c"),
        ("${A:-d}", "1"),
        ("$A $ $$ ^a$", "$A $ $$ ^a$"),
        ("$${A}", "${A}"),
        ("$${A}${A}", "${A}1"),
        ("${MONEY}", "${A}"),  # what came from the environment is not looked into again
    ],
)
def test_replacement(text, expected):
    assert substitute(text, ENVIRON) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${NONE}", "NONE is not set"),
        ("${NONE} ${A} ${NOR}", "NONE and NOR is not set"),
        ("x${BYTES}", "BYTES is not UTF-8 in the environment"),
        ("${BYTES:-d}", "BYTES is not UTF-8 in the environment"),
        ("${}", "malformed"),
        ("${A", "malformed"),
        ("${A-b}", "malformed"),
        ("${9}", "malformed"),
        ("${ A }", "malformed"),
    ],
)
def test_what_cannot_be_replaced(text, message):
    with pytest.raises(ValueError, match=message):
        substitute(text, ENVIRON)


def test_the_replaced_text_is_read_by_the_type_of_its_key(config):
    made = config(
        """
        service: ${NAME:-orders}
        drain: {delay: "${DELAY}"}
        policies:
          default:
            retry: {attempts: "${N:-4}", methods: "${METHODS:-any}"}
            timeouts: {propagate: "${PROPAGATE}"}
        """,
        DELAY="2s",
        PROPAGATE="false",
    )
    assert made.service == "orders"
    assert made.drain.delay == 2
    assert made.policies["default"].retry.attempts == 4
    assert made.policies["default"].retry.methods.any
    assert made.policies["default"].timeouts.propagate is False


def test_a_problem_of_the_replaced_text_stands_at_its_place(errors):
    assert errors("drain:\n  delay: ${D}", D="5") == [
        "2:10: drain.delay: 5 has no unit; did you mean 5us or 5ms or 5s or 5m or 5h or 5d?"
    ]
    assert errors("drain:\n  delay: ${D}") == [
        "2:10: drain.delay: D is not set in the environment; ${D:-default} gives a default"
    ]


def test_keys_and_comments_are_left_alone(errors):
    assert errors("# ${NONE}\n${NONE}: 1") == ['2:1: ["${NONE}"]: unknown key']
