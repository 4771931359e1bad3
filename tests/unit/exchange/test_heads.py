"""The fields that the proxy adds to heads, and the times that it reads from a caller's."""

import pytest

from proxy.config.model import HeaderRules
from proxy.exchange.heads import FieldRules, TimeLeft, caller_timeout
from proxy.http.h1.request import RequestParser
from proxy.http.message import FieldName, make_field


def head(line, *fields):
    raw = "\r\n".join([line, *fields, "", ""]).encode("latin-1")
    held = {b"x-forwarded-for", b"x-request-timeout-ms", b"grpc-timeout"}
    return RequestParser(held, max_url=1000, max_fields=20).parse(raw)


def told(own):
    return [(name.text, value) for name, value in own]


def test_rules_remove_first_and_set_last():
    rules = FieldRules.of(HeaderRules(set=(("X-Set", "new"),), remove=frozenset({"x-gone"})))
    given = [(b"A", b"1"), (b"x-set", b"old"), (b"X-GONE", b"1"), (b"X-Gone-Not", b"1")]
    fields = [make_field(*field) for field in given]
    applied = [(field.name.text, field.value) for field in rules.apply(fields)]
    assert applied == [(b"A", b"1"), (b"X-Gone-Not", b"1"), (b"X-Set", b"new")]
    assert len(fields) == 4


def test_rules_hold_for_the_proxys_own_fields():
    rules = FieldRules.of(
        HeaderRules(set=(("x-request-ID", "fixed"),), remove=frozenset({"traceparent"}))
    )
    own = [
        (FieldName(name), b"1") for name in (b"Via", b"X-Request-Id", b"traceparent", b"tracestate")
    ]
    assert told(rules.left_of(own)) == [(b"Via", b"1"), (b"tracestate", b"1")]


def test_no_rules_are_none():
    assert FieldRules.of(HeaderRules()) is None


@pytest.mark.parametrize(
    ("held", "seconds"),
    [
        ({}, None),
        ({b"x-request-timeout-ms": [b"1500"]}, 1.5),
        ({b"x-request-timeout-ms": [b"0"]}, 0.0),
        ({b"x-request-timeout-ms": [b""]}, None),
        ({b"x-request-timeout-ms": [b"1e3"]}, None),
        ({b"x-request-timeout-ms": [b"1" * 13]}, None),
        ({b"grpc-timeout": [b"2H"]}, 7200.0),
        ({b"grpc-timeout": [b"3M"]}, 180.0),
        ({b"grpc-timeout": [b"4S"]}, 4.0),
        ({b"grpc-timeout": [b"5m"]}, 0.005),
        ({b"grpc-timeout": [b"6u"]}, 6e-6),
        ({b"grpc-timeout": [b"7n"]}, 7e-9),
        ({b"grpc-timeout": [b"8"]}, None),
        ({b"grpc-timeout": [b"S"]}, None),
        ({b"grpc-timeout": [b"-1S"]}, None),
        ({b"grpc-timeout": [b"123456789S"]}, None),
        ({b"grpc-timeout": [b"2S"], b"x-request-timeout-ms": [b"1000"]}, 1.0),
        ({b"grpc-timeout": [b"1S"], b"x-request-timeout-ms": [b"2000"]}, 1.0),
    ],
)
def test_a_callers_time(held, seconds):
    assert caller_timeout(held) == (seconds if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("seconds", "grpc", "fields"),
    [
        (1.5, False, [(b"X-Request-Timeout-Ms", b"1500")]),
        (0.0001, False, [(b"X-Request-Timeout-Ms", b"1")]),
        (1.5, True, [(b"X-Request-Timeout-Ms", b"1500"), (b"grpc-timeout", b"1500000u")]),
        (200_000, True, [(b"X-Request-Timeout-Ms", b"200000000"), (b"grpc-timeout", b"200000S")]),
    ],
)
def test_the_time_that_is_left(seconds, grpc, fields):
    left = TimeLeft()
    for _ in range(2):  # the second time is told in the words of the first
        own = []
        left.add_to(own, seconds, grpc=grpc)
        assert told(own) == fields


def test_another_time_is_told_in_other_words():
    left, own = TimeLeft(), []
    for seconds in (2.0, 1.0, 1.0, 2.0):
        left.add_to(own, seconds, grpc=False)
    assert [value for _, value in told(own)] == [b"2000", b"1000", b"1000", b"2000"]
