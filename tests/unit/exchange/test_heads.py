"""The heads that the proxy writes, and the times that it reads from a caller's."""

import pytest

from proxy.config.model import HeaderRules
from proxy.exchange.heads import (
    FieldRules,
    caller_timeout,
    forwarded_lines,
    informational_head,
    request_prefix,
    timeout_lines,
)
from proxy.http.request import RequestParser
from proxy.http.response import parse_response_head


def head(line, *fields):
    raw = "\r\n".join([line, *fields, "", ""]).encode("latin-1")
    held = {b"x-forwarded-for", b"x-request-timeout-ms", b"grpc-timeout"}
    return RequestParser(held, max_url=1000, max_fields=20).parse(raw)


def prefix(head, path="/p", host="h", lines=None):
    front = head.front(path=path, host=host, lines=head.lines if lines is None else lines)
    return request_prefix(
        head,
        front,
        via=b"1.1 me",
        forwarded=b"",
        request_id=b"id",
    )


def test_a_front_that_nothing_changes_is_made_once():
    asked = head("POST /p?q HTTP/1.1", "Host: h", "A: 1", "TE: trailers", "Content-Length: 3")
    front = b"POST /p?q HTTP/1.1\r\nHost: h\r\nA: 1\r\nContent-Length: 3\r\nTE: trailers\r\n"
    assert asked.front(path=asked.path, host=asked.host_text, lines=asked.lines) == front
    assert asked.unchanged_front == front
    assert asked.unchanged_front is asked.unchanged_front


def test_rules_remove_first_and_set_last():
    rules = FieldRules.of(HeaderRules(set=(("X-Set", "new"),), remove=frozenset({"x-gone"})))
    lines = [b"A: 1\r\n", b"x-set: old\r\n", b"X-GONE: 1\r\n", b"X-Gone-Not: 1\r\n"]
    assert rules.apply(lines) == [b"A: 1\r\n", b"X-Gone-Not: 1\r\n", b"X-Set: new\r\n"]
    assert len(lines) == 4


def test_no_rules_are_none():
    assert FieldRules.of(HeaderRules()) is None


def test_a_prefix():
    asked = head("POST /x?q HTTP/1.1", "Host: a", "X-B: 1", "TE: trailers", "Content-Length: 3")
    assert prefix(asked) == (
        b"POST /p?q HTTP/1.1\r\nHost: h\r\nX-B: 1\r\nContent-Length: 3\r\nTE: trailers\r\n"
        b"Via: 1.1 me\r\nX-Request-Id: id\r\n"
    )


def test_an_empty_query_stays_one():
    assert prefix(head("GET /x? HTTP/1.1", "Host: a")).startswith(b"GET /p? HTTP/1.1\r\n")


def test_a_request_of_1_0_goes_on_as_1_1():
    assert prefix(head("GET /x HTTP/1.0")).startswith(b"GET /p HTTP/1.1\r\nHost: h\r\n")


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ([], b"\r\nVia: 1.1 me\r\n"),
        (["Via: 1.0 a"], b"\r\nVia: 1.0 a, 1.1 me\r\n"),
        (["Via: 1.0 a", "via: 1.1 b"], b"\r\nVia: 1.0 a, 1.1 b, 1.1 me\r\n"),
    ],
)
def test_via(fields, line):
    assert line in prefix(head("GET / HTTP/1.1", "Host: h", *fields))


def test_forwarded():
    asked = head("GET / HTTP/1.1", "Host: A:81", "X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 2")
    assert forwarded_lines(asked, "::1", b"https") == (
        b"X-Forwarded-For: 1.1.1.1, 2, ::1\r\nX-Forwarded-Proto: https\r\n"
        b"X-Forwarded-Host: a:81\r\n"
    )
    assert b"Host" not in forwarded_lines(head("GET / HTTP/1.0"), "c", b"http")


def test_an_informational_head():
    parsed = parse_response_head(b"HTTP/1.1 103 Hints\r\nLink: a\r\nConnection: x\r\nX: 1\r\n\r\n")
    assert informational_head(parsed) == b"HTTP/1.1 103 Hints\r\nLink: a\r\n\r\n"


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
    ("seconds", "grpc", "lines"),
    [
        (1.5, False, b"X-Request-Timeout-Ms: 1500\r\n"),
        (0.0001, False, b"X-Request-Timeout-Ms: 1\r\n"),
        (1.5, True, b"X-Request-Timeout-Ms: 1500\r\ngrpc-timeout: 1500m\r\n"),
        (200_000, True, b"X-Request-Timeout-Ms: 200000000\r\ngrpc-timeout: 200000S\r\n"),
    ],
)
def test_the_time_that_is_left(seconds, grpc, lines):
    assert timeout_lines(seconds, grpc=grpc) == lines
