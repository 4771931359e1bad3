"""docs/access-log.md has every member of a line, and its example is a real line."""

import json
import re

from unit.telemetry.fakes import FakeAttempt, FakeExchange

from documents.blocks import ROOT
from proxy.config.server_model import AccessLogConfig, LogFormat
from proxy.telemetry.access_log import AccessLog

PAGE = (ROOT / "docs" / "access-log.md").read_text(encoding="utf-8")


class Lines:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, line: bytes) -> None:
        self.lines.append(line.decode())


def line(form: LogFormat, exchange: FakeExchange) -> str:
    kept = Lines()
    config, ended = AccessLogConfig(1.0, True, form), exchange.started + exchange.duration
    at = 1772366400.5 + exchange.duration
    AccessLog(config, lambda: 0.0, kept, lambda: at, lambda: ended).record(exchange)
    return kept.lines[0]


def test_every_member_is_told_in_order() -> None:
    first_cells = re.findall(r"^\| (`[^|]*) \|", PAGE, re.MULTILINE)
    told = [name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)]
    everything = FakeExchange(
        grpc=14,
        queued=0.02,
        fallback=True,
        detail="how",
        retry_refused="budget",
        observed=["bulkhead.queued"],
        mirrored="checkout-v2",
        idempotency="replayed",
        inherited_from="r-0",
        outbox_id="5f0c",
        saga="8e4d",
    )
    hedge = FakeAttempt(hedge=True, fault="delay")
    everything.attempts = [FakeAttempt(failure="hedge-lost"), hedge]
    assert told == list(json.loads(line(LogFormat.JSON, everything)))


def test_the_line_of_text_is_one() -> None:
    attempt = FakeAttempt("10.0.0.1:8080", 0, "attempt-timeout", 1.0012)
    exchange = FakeExchange(
        client="127.0.0.1",
        method="POST",
        path="/api/7",
        status=504,
        reason="attempt-timeout",
        duration=1.0031,
        bytes_out=512,
        attempts=[attempt],
        retry_refused="not-repeatable",
        detail="10.0.0.1:8080 sent no response head within 1 s (timeouts.attempt).",
    )
    assert line(LogFormat.TEXT, exchange) in PAGE
