"""The proxy's own log: one line for an event, whatever is in it."""

import json
import logging
import os
from collections.abc import Callable, Iterator

import pytest

from proxy.config.server_model import LogFormat, LogLevel
from proxy.policies.circuit_breaker import CircuitBreaker
from proxy.policies.circuit_breaker_answers import BreakerState
from proxy.policies.circuit_breaker_config import CircuitBreakerConfig
from proxy.telemetry import process_log
from proxy.telemetry.line_writer import LineWriter

Read = Callable[[], list[str]]


@pytest.fixture
def install() -> Iterator[Callable[[LogFormat], Read]]:
    """Install the log to a pipe; what it returns gives the lines so far."""
    undo: list[Callable[[], None]] = []
    level = logging.getLogger().level

    def start(log_format: LogFormat) -> Read:
        read, write = os.pipe()
        handler = process_log.install(LineWriter(write), log_format)

        def end() -> None:
            process_log.uninstall(handler)
            os.close(read)
            os.close(write)

        undo.append(end)

        def lines() -> list[str]:
            handler.flush()
            os.set_blocking(read, False)
            try:
                return os.read(read, 65536).decode().splitlines()
            except BlockingIOError:
                return []

        return lines

    yield start
    for each in undo:
        each()
    logging.getLogger().setLevel(level)


def test_json(install: Callable[[LogFormat], Read]) -> None:
    lines = install(LogFormat.JSON)
    process_log.LOGGER.info("drain began", extra={"fields": {"timeout_s": 25.0, "level": "no"}})
    logging.getLogger("proxy.lifecycle").warning("cut %s", "r-1\n")
    first, second = map(json.loads, lines())
    assert list(first) == ["time", "level", "message", "timeout_s"]
    assert (first["level"], first["message"], first["timeout_s"]) == ("info", "drain began", 25.0)
    assert (second["logger"], second["level"]) == ("proxy.lifecycle", "warning")
    assert second["message"] == "cut r-1\n"


def test_a_bug_comes_with_its_traceback_in_one_line(install: Callable[[LogFormat], Read]) -> None:
    lines = install(LogFormat.JSON)
    try:
        raise ZeroDivisionError("x")
    except ZeroDivisionError as error:
        process_log.bug("counting failed", error, route="stock")
    (line,) = lines()
    event = json.loads(line)
    assert (event["level"], event["message"]) == ("error", "bug: counting failed")
    assert event["route"] == "stock"
    assert event["traceback"].endswith("ZeroDivisionError: x")


def test_text(install: Callable[[LogFormat], Read]) -> None:
    lines = install(LogFormat.TEXT)
    process_log.LOGGER.info("hello\x1b[2J", extra={"fields": {"path": "/a\nb"}})
    try:
        raise ZeroDivisionError("x")
    except ZeroDivisionError as error:
        process_log.bug("counting failed", error)
    first, second, *traceback = lines()
    assert first.endswith("Z INFO hello\\x1b[2J path=/a\\nb")
    assert second.endswith("Z ERROR bug: counting failed")
    assert traceback[0] == "    Traceback (most recent call last):"
    assert traceback[-1] == "    ZeroDivisionError: x"


def test_libraries_are_heard_from_warning_on(install: Callable[[LogFormat], Read]) -> None:
    lines = install(LogFormat.JSON)
    logging.getLogger("asyncio").info("chatter")
    logging.getLogger("asyncio").warning("slow callback")
    (line,) = lines()
    assert json.loads(line)["logger"] == "asyncio"


def test_breaker_transitions(install: Callable[[LogFormat], Read]) -> None:
    lines = install(LogFormat.JSON)
    breaker = CircuitBreaker("stock", CircuitBreakerConfig())
    breaker.on_transition = process_log.breaker_transition
    breaker.transition_to_open(10.0, 30.0)
    breaker.reset(11.0)
    opened, closed = map(json.loads, lines())
    assert opened == opened | {
        "level": "warning",
        "message": "circuit breaker open",
        "name": "stock",
        "from": "closed",
        "to": "open",
        "failure_rate": -1.0,
        "calls": 0,
        "next_probe_in_s": 30.0,
    }
    assert (closed["level"], closed["to"]) == ("info", BreakerState.CLOSED.value)


@pytest.mark.parametrize(
    ("wanted", "terminal", "written"),
    [
        (LogFormat.AUTO, True, LogFormat.TEXT),
        (LogFormat.AUTO, False, LogFormat.JSON),
        (LogFormat.JSON, True, LogFormat.JSON),
        (LogFormat.TEXT, False, LogFormat.TEXT),
    ],
)
def test_auto_is_text_on_a_terminal(wanted: LogFormat, terminal: bool, written: LogFormat) -> None:
    master, slave = os.openpty() if terminal else os.pipe()
    try:
        assert process_log.format_for(slave, wanted) is written
    finally:
        os.close(master)
        os.close(slave)
    assert process_log.format_for(None, LogFormat.AUTO) is LogFormat.JSON


def test_the_least_that_is_logged(install: Callable[[LogFormat], Read]) -> None:
    lines = install(LogFormat.TEXT)
    process_log.set_level(LogLevel.ERROR)
    process_log.LOGGER.warning("not this")
    process_log.set_level(LogLevel.DEBUG)
    process_log.LOGGER.debug("this")
    assert process_log.level() is LogLevel.DEBUG
    told = "\n".join(lines())
    assert "not this" not in told
    assert "DEBUG this" in told
