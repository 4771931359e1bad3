"""Which exchanges get a line, what is in it, and what can never be."""

import json
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.telemetry.fakes import FakeAttempt, FakeExchange

from proxy.config.model import Listener
from proxy.config.server_model import AccessLogConfig, LogFormat
from proxy.errors import BadRequest
from proxy.exchange.record import refusal_record
from proxy.telemetry.access_log import AccessLog

WALL = datetime(2026, 3, 1, 12, 0, 0, 512_500, UTC).timestamp()

NOW = 100.0125
"""Monotonic: the end of a `FakeExchange`."""

NONE = AccessLogConfig(0.0, False)
ERRORS = AccessLogConfig(0.0, True)
ALL = AccessLogConfig(1.0, True)
HALF = AccessLogConfig(0.5, True)

FINE = FakeExchange()
TROUBLED = [
    FakeExchange(status=503),
    FakeExchange(status=503, reason="circuit-open", attempts=[]),
    FakeExchange(status=400, reason="bad-request", attempts=[]),
    FakeExchange(status=200, reason="upstream-truncated"),
    FakeExchange(status=499, reason="client-gone"),
    FakeExchange(attempts=[FakeAttempt(status=503), FakeAttempt()]),
    FakeExchange(fallback=True),
]


class Lines:
    """The writer's place, and chance's."""

    def __init__(self, config: AccessLogConfig = ALL, chance: float = 0.5) -> None:
        self.lines: list[bytes] = []
        self.log = AccessLog(config, lambda: chance, self, lambda: WALL, lambda: NOW)

    def write(self, line: bytes) -> None:
        self.lines.append(line)


def logged(exchange: FakeExchange, config: AccessLogConfig = ALL, chance: float = 0.5) -> bool:
    lines = Lines(config, chance)
    lines.log.record(exchange)
    return bool(lines.lines)


def line_of(exchange: FakeExchange, form: LogFormat = LogFormat.JSON) -> str:
    lines = Lines(AccessLogConfig(1.0, True, form))
    lines.log.record(exchange)
    (line,) = lines.lines
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    return line.decode("ascii")[:-1]


@pytest.mark.parametrize("exchange", TROUBLED)
def test_troubled_ones_are_logged_unless_none_are(exchange: FakeExchange) -> None:
    assert not logged(exchange, NONE)
    assert logged(exchange, ERRORS)
    assert logged(exchange, ALL, 0.999)
    assert logged(exchange, HALF, 0.999)


def test_of_the_rest_the_share_that_was_asked_for() -> None:
    assert not logged(FINE, NONE, 0.0)
    assert not logged(FINE, ERRORS, 0.0)
    assert logged(FINE, ALL, 0.999)
    assert logged(FINE, HALF, 0.499)
    assert not logged(FINE, HALF, 0.5)


def test_a_404_of_the_upstream_is_no_trouble() -> None:
    assert not logged(FakeExchange(status=404), ERRORS)


def test_json_has_the_keys_of_the_contract_in_order() -> None:
    attempts = [
        FakeAttempt("10.0.0.1:80", 503, "", 0.001234, 0.0),
        FakeAttempt("10.0.0.2:80", 0, "attempt-timeout", 5.0, 0.025),
    ]
    line = json.loads(line_of(FakeExchange(status=504, reason="x", attempts=attempts)))
    assert list(line.items()) == [
        ("time", "2026-03-01T12:00:00.500000Z"),
        ("listener", "outbound"),
        ("client", "127.0.0.1:50000"),
        ("method", "GET"),
        ("host", "inventory"),
        ("path", "/api/stock"),
        ("route", "stock"),
        ("upstream", "inventory"),
        ("status", 504),
        ("reason", "x"),
        ("duration_ms", 12.5),
        ("bytes_in", 3),
        ("bytes_out", 5),
        ("request_id", "r-1"),
        ("trace_id", "0af7651916cd43dd8448eb211c80319c"),
        (
            "attempts",
            [
                {"endpoint": "10.0.0.1:80", "status": 503, "duration_ms": 1.234, "wait_ms": 0.0},
                {
                    "endpoint": "10.0.0.2:80",
                    "failure": "attempt-timeout",
                    "duration_ms": 5000.0,
                    "wait_ms": 25.0,
                },
            ],
        ),
        ("monotonic_s", 100.0),
    ]


def test_an_attempt_that_did_not_start_with_the_request_says_when_it_did() -> None:
    """A wait is what was decided; the timer after it is late."""
    later = FakeAttempt(started=100.026, wait=0.025)
    line = line_of(FakeExchange(attempts=[FakeAttempt(status=503), later]))
    first, second = json.loads(line)["attempts"]
    assert "started_ms" not in first
    assert second["started_ms"] == 26.0
    text = line_of(FakeExchange(attempts=[later]), LogFormat.TEXT)
    assert "[10.0.0.1:8080 200 10.000ms wait=25.000ms started=26.000ms]" in text


def test_the_time_is_that_of_the_start_however_late_the_line_is() -> None:
    lines = Lines()
    log = AccessLog(ALL, lambda: 0.5, lines, lambda: WALL + 0.3, lambda: NOW + 0.3)
    log.record(FakeExchange())
    assert json.loads(lines.lines[0])["time"] == "2026-03-01T12:00:00.500000Z"


def test_only_trouble_tells_the_monotonic_clock() -> None:
    assert "monotonic_s" not in json.loads(line_of(FINE))
    for exchange in TROUBLED:
        assert json.loads(line_of(exchange))["monotonic_s"] == 100.0


def test_a_fallback_is_marked() -> None:
    assert json.loads(line_of(FakeExchange(fallback=True)))["fallback"] is True
    assert "fallback" not in json.loads(line_of(FakeExchange()))
    assert line_of(FakeExchange(fallback=True), LogFormat.TEXT).endswith(" fallback")


def test_a_wait_for_a_permit_is_told() -> None:
    waited = FakeExchange(queued=0.0205)
    assert json.loads(line_of(waited))["queued_ms"] == 20.5
    assert line_of(waited, LogFormat.TEXT).endswith(" queued=20.500ms")
    assert "queued" not in line_of(FakeExchange())


def test_the_attempt_of_a_fallback_names_its_upstream() -> None:
    elsewhere = FakeAttempt("10.0.0.9:80", upstream="spare")
    attempts = [FakeAttempt("10.0.0.1:80", 503), elsewhere]
    told = FakeExchange(fallback=True, attempts=attempts)
    first, second = json.loads(line_of(told))["attempts"]
    assert "upstream" not in first
    assert second["upstream"] == "spare"
    text = line_of(told, LogFormat.TEXT)
    assert "[10.0.0.9:80 200 upstream=spare 10.000ms wait=0.000ms]" in text


def test_a_calls_status_is_named() -> None:
    """Unlike its HTTP status it can be bad although all was answered."""
    failed = FakeExchange(grpc=14, attempts=[FakeAttempt(grpc=14)])
    line = json.loads(line_of(failed))
    assert (line["status"], line["grpc_status"]) == (200, "UNAVAILABLE")
    assert line["attempts"][0]["grpc_status"] == "UNAVAILABLE"
    text = line_of(failed, LogFormat.TEXT)
    assert "[10.0.0.1:8080 200+UNAVAILABLE 10.000ms wait=0.000ms]" in text
    assert text.endswith(" grpc_status=UNAVAILABLE")
    assert "grpc_status" not in line_of(FakeExchange())


def test_what_a_policy_in_mode_observe_would_have_done_selects_a_line() -> None:
    noted = FakeExchange(observed=["timeouts.attempt", "bulkhead.refused"])
    assert logged(noted, ERRORS)
    line = line_of(noted)
    assert json.loads(line)["observed"] == ["timeouts.attempt", "bulkhead.refused"]
    text = line_of(noted, LogFormat.TEXT)
    assert text.endswith(" observed=timeouts.attempt,bulkhead.refused")


def test_what_explains_it_further_is_there_where_there_is_something_to_explain() -> None:
    plain = json.loads(line_of(FakeExchange()))
    assert not plain.keys() & {"retry_refused", "detail"}
    explained = FakeExchange(detail='It "took" too long.', retry_refused="budget")
    line = json.loads(line_of(explained))
    assert list(line)[-2:] == ["retry_refused", "detail"]
    assert (line["retry_refused"], line["detail"]) == ("budget", 'It "took" too long.')
    text = line_of(explained, LogFormat.TEXT)
    assert text.endswith(r' retry_refused=budget detail="It \"took\" too long."')


def test_a_response_that_broke_off_shows_both_its_status_and_its_failure() -> None:
    broken = FakeExchange(attempts=[FakeAttempt(status=200, failure="upstream-truncated")])
    attempt = json.loads(line_of(broken))["attempts"][0]
    assert (attempt["status"], attempt["failure"]) == (200, "upstream-truncated")
    assert "[10.0.0.1:8080 200+upstream-truncated 10.000ms" in line_of(broken, LogFormat.TEXT)


def test_what_never_became_a_request() -> None:
    error = BadRequest("A line ends without CR.")
    refusal = refusal_record(Listener.INBOUND, "10.1.2.3:4", error, b"r-9", 100.0)
    line = json.loads(line_of(refusal))
    assert (line["status"], line["reason"], line["attempts"]) == (400, "bad-request", [])
    assert line["detail"] == "A line ends without CR."
    assert " - - - 400 bad-request " in line_of(refusal, LogFormat.TEXT)


def test_text() -> None:
    attempts = [FakeAttempt("[::1]:80", 0, "connect-refused", 0.002, 0.0), FakeAttempt()]
    assert line_of(FakeExchange(attempts=attempts), LogFormat.TEXT) == (
        "2026-03-01T12:00:00.500000Z outbound 127.0.0.1:50000 GET inventory /api/stock 200 - "
        "12.500ms "
        "route=stock upstream=inventory in=3 out=5 request_id=r-1 "
        "trace_id=0af7651916cd43dd8448eb211c80319c "
        '["[::1]:80" connect-refused 2.000ms wait=0.000ms] '
        "[10.0.0.1:8080 200 10.000ms wait=0.000ms]"
    )


def test_text_says_all_that_json_says() -> None:
    attempts = [
        FakeAttempt("10.0.0.1:80", 503, "", 0.001234, 0.0),
        FakeAttempt("10.0.0.2:80", 200, "upstream-truncated", 5.0, 0.025),
    ]
    exchange = FakeExchange(
        status=504, reason="why", detail="how", retry_refused="budget", attempts=attempts
    )
    text = line_of(exchange, LogFormat.TEXT)

    def told(value: object) -> bool:
        if isinstance(value, float):
            return f"{value:.3f}ms" in text
        return str(value) in text

    line = json.loads(line_of(exchange))
    del line["monotonic_s"]  # for `simulate` alone, which reads JSON
    attempts_told = [value for one in line.pop("attempts") for value in one.values()]
    missing = [value for value in (*line.values(), *attempts_told) if not told(value)]
    assert not missing, text


HOSTILE = [
    "/a\r\nb", "/\x1b[2J", "/\x00", "/\x7f", "/\x85", "/\u2028", "/\udc80", "/é", '/" [x]', "/a b",
]  # fmt: skip


@pytest.mark.parametrize("form", LogFormat)
@pytest.mark.parametrize("path", HOSTILE)
def test_no_path_can_break_a_line(path: str, form: LogFormat) -> None:
    line = line_of(FakeExchange(path=path, host=path), form)
    assert line.isascii()
    if form is LogFormat.JSON:
        assert json.loads(line)["path"] == path
    else:
        assert line.isprintable()
        assert json.dumps(path).replace("\x7f", "\\u007f") in line


@pytest.mark.parametrize("form", [LogFormat.JSON, LogFormat.TEXT])
@pytest.mark.parametrize("row", HOSTILE)
def test_no_row_of_a_service_s_table_can_break_a_line(row: str, form: LogFormat) -> None:
    line = line_of(FakeExchange(outbox_id=f"orders{row}"), form)
    assert line.isascii()
    if form is LogFormat.JSON:
        assert json.loads(line)["outbox_id"] == f"orders{row}"
    else:
        assert line.isprintable()
        assert "outbox_id=" in line


@given(st.text(), st.text(), st.text())
def test_json_gives_back_every_text(path: str, host: str, endpoint: str) -> None:
    exchange = FakeExchange(path=path, host=host, attempts=[FakeAttempt(endpoint)])
    line = json.loads(line_of(exchange))
    assert (line["path"], line["host"]) == (path, host)
    assert line["attempts"][0]["endpoint"] == endpoint


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_text_line_has_as_many_words_whatever_is_in_them(path: str, host: str) -> None:
    line = line_of(FakeExchange(path=path, host=host), LogFormat.TEXT)
    assert line.isprintable()
    for text in (path, host):
        if text.isascii() and text.isalnum():
            assert f" {text} " in line
    unquoted = re.sub(r'"(?:[^"\\]|\\.)*"', "x", line)
    assert unquoted.count(" ") == line_of(FakeExchange(), LogFormat.TEXT).count(" ")
