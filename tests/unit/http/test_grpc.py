"""gRPC's fields as values: deadlines, statuses, messages, pushback."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.grpc_status import (
    NAMES,
    of_http_answer,
    of_http_response,
    of_reset,
    to_http_answer,
)
from proxy.http.grpc import (
    NO_RETRY,
    NO_STATUS,
    attempts_before,
    encode_message,
    format_timeout,
    outcome_of,
    parse_pushback,
    parse_timeout,
    status_in,
    status_trailers,
    trailers_only,
)
from proxy.outcome import Outcome


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"1H", 3600),
        (b"2M", 120),
        (b"3S", 3),
        (b"250m", 0.25),
        (b"5u", 5e-6),
        (b"7n", 7e-9),
        (b"99999999H", 99999999 * 3600),
        (b"0S", 0),
        (b"100000000S", None),
        (b"S", None),
        (b"1", None),
        (b"1s", None),
        (b"-1S", None),
        (b"1.5S", None),
        (b"", None),
        (b"1 S", None),
    ],
)
def test_timeouts(value, seconds):
    assert parse_timeout(value) == (None if seconds is None else pytest.approx(seconds))


@given(st.floats(min_value=1e-9, max_value=1e10))
def test_a_written_timeout_never_says_more_than_is_left(seconds):
    written = format_timeout(seconds)
    assert len(written) <= 9
    read = parse_timeout(written)
    assert read <= seconds * 1.000001 + 1e-9
    assert read > seconds * 0.98 - 2e-9


def test_no_time_left_is_still_a_timeout():
    assert format_timeout(0) == format_timeout(-1) == b"1n"


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ([], -1),
        ([b"0"], 0),
        ([b"14"], 14),
        ([b"16"], 16),
        ([b"17"], 2),
        ([b"042"], 2),
        ([b"x"], 2),
        ([b""], 2),
        ([b"-1"], 2),
    ],
)
def test_statuses(values, code):
    assert status_in(values) == code


@pytest.mark.parametrize(
    ("status", "head", "trailers", "outcome"),
    [
        (200, [b"14"], [], Outcome(200, None, 14)),
        (200, [], [(b"Grpc-Status", b"0")], Outcome(200, None, 0)),
        (200, [], [(b"x", b"y")], NO_STATUS),
        (200, [], [], NO_STATUS),
        (503, [], [], Outcome(503, None, 14)),
        (404, [], [], Outcome(404, None, 12)),
        (503, [b"5"], [], Outcome(200, None, 5)),
        (204, [], [], Outcome(204, None, 2)),
    ],
)
def test_outcomes(status, head, trailers, outcome):
    assert outcome_of(status, head, trailers) == outcome


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("all right", b"all right"),
        ("50%", b"50%25"),
        ("ä\n", b"%C3%A4%0A"),
        ("\x7f~", b"%7F~"),
        ("", b""),
        ("\ud800", b"?"),
    ],
)
def test_messages(text, encoded):
    assert encode_message(text) == encoded


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        ([], None),
        ([b"0"], 0),
        ([b"250"], 0.25),
        ([b"-1"], NO_RETRY),
        ([b"soon"], NO_RETRY),
        ([b""], NO_RETRY),
        ([b"1", b"2"], NO_RETRY),
        ([b"99999999999"], NO_RETRY),
    ],
)
def test_pushback(values, seconds):
    assert parse_pushback(values) == seconds


@pytest.mark.parametrize(
    ("values", "count"), [([], 0), ([b"3"], 3), ([b"x"], 0), ([b"1", b"1"], 0), ([b"9" * 9], 0)]
)
def test_attempts_before(values, count):
    assert attempts_before(values) == count


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, 13),
        (401, 16),
        (403, 7),
        (404, 12),
        (429, 14),
        (502, 14),
        (503, 14),
        (504, 14),
        (500, 2),
        (200, 2),
        (302, 2),
        (999, 2),
    ],
)
def test_http_statuses_of_upstreams(status, code):
    assert of_http_response(status) == code


@pytest.mark.parametrize(
    ("error_code", "code"),
    [
        (0, 13),
        (1, 13),
        (2, 13),
        (3, 13),
        (4, 13),
        (6, 13),
        (7, 14),
        (8, 1),
        (9, 13),
        (10, 13),
        (11, 8),
        (12, 7),
        (5, 13),
        (13, 13),
        (99, 13),
    ],
)
def test_resets(error_code, code):
    assert of_reset(error_code) == code


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, 3),
        (401, 16),
        (403, 7),
        (404, 5),
        (409, 6),
        (412, 9),
        (429, 8),
        (499, 1),
        (501, 12),
        (503, 14),
        (504, 4),
        (500, 13),
    ],
)
def test_configured_answers_to_callers_of_the_other_kind(status, code):
    assert of_http_answer(status) == code
    assert to_http_answer(code) == status


def test_codes_without_a_status_of_their_own():
    told = {NAMES[code]: to_http_answer(code) for code in (0, 2, 10, 11, 15)}
    assert told == {"OK": 200, "UNKNOWN": 500, "ABORTED": 409, "OUT_OF_RANGE": 500,
                    "DATA_LOSS": 500}  # fmt: skip
    assert of_http_answer(418) == of_http_answer(200) == 13


def test_an_answer_in_one_head():
    head = trailers_only(14, "down, 100%", [], pushback=0.2501)
    assert (head.status, head.length) == (200, None)
    assert [(field.name.lower, field.value) for field in head.fields] == [
        (b"content-type", b"application/grpc"),
        (b"grpc-status", b"14"),
        (b"grpc-message", b"down, 100%25"),
        (b"grpc-retry-pushback-ms", b"251"),
    ]
    assert status_trailers(4, "") == [(b"grpc-status", b"4")]
