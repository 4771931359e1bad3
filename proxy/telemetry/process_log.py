"""The proxy's own log: events of the process rather than of one request.

Events use the standard `logging`, under the logger `proxy` and its children, and become one line
each, JSON or text, on standard error. An event's fields are passed as
``LOGGER.info("drain began", extra={"fields": {"timeout_s": 25}})``.
"""

import json
import logging
import os
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from proxy.config.server_model import LogFormat, LogLevel
from proxy.policies.circuit_breaker import CircuitBreaker
from proxy.policies.circuit_breaker_answers import BreakerState
from proxy.telemetry.access_log import TakesLines
from proxy.telemetry.line_writer import LineWriter
from proxy.telemetry.timestamps import Timestamps

LOGGER = logging.getLogger("proxy")

_FLUSH_WITHIN = 1.0
"""Seconds at the process's end."""


class _Formatter(logging.Formatter):
    """The parts of both formats: time, fields, traceback."""

    def __init__(self) -> None:
        super().__init__()
        self._timestamps = Timestamps()

    def _time(self, record: logging.LogRecord) -> str:
        return self._timestamps.text(record.created)

    @staticmethod
    def _fields(record: logging.LogRecord) -> Mapping[str, Any]:
        fields: Mapping[str, Any] = getattr(record, "fields", {})
        return fields

    def _traceback(self, record: logging.LogRecord) -> str:
        return self.formatException(record.exc_info) if record.exc_info else ""


class JsonFormatter(_Formatter):
    """One object a line: time, level, logger unless it is the proxy's, message, fields."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {"time": self._time(record), "level": record.levelname.lower()}
        if record.name != LOGGER.name:
            line["logger"] = record.name
        line["message"] = record.getMessage()
        for name, value in self._fields(record).items():
            line.setdefault(name, value)
        if traceback := self._traceback(record):
            line["traceback"] = traceback
        return json.dumps(line, separators=(",", ":"), default=str)


class TextFormatter(_Formatter):
    """One line of text; a traceback follows on separate indented lines."""

    def format(self, record: logging.LogRecord) -> str:
        words = [self._time(record), record.levelname, _printable(record.getMessage())]
        words += [
            f"{name}={_printable(str(value))}" for name, value in self._fields(record).items()
        ]
        lines = [" ".join(words)]
        lines += ["    " + _printable(line) for line in self._traceback(record).splitlines()]
        return "\n".join(lines)


def _printable(text: str) -> str:
    """`text` with control characters escaped: they could end a line or control a terminal."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


class EventHandler(logging.Handler):
    """Passes lines to a writer. `flush`, which also runs at the interpreter's exit, writes them."""

    def __init__(self, writer: LineWriter, log_format: LogFormat) -> None:
        super().__init__()
        self._writer: TakesLines = writer
        self._flush = writer.flush
        self.use(log_format)

    def use(self, log_format: LogFormat) -> None:
        """The format from the next line on."""
        self.setFormatter(JsonFormatter() if log_format is LogFormat.JSON else TextFormatter())

    def write_line(self, line: bytes) -> None:
        """Write a line that is not an event, with its newline. Thread-safe, as events are."""
        with self.lock or nullcontext():
            self._writer.write(line)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - like logging itself: a faulty event must not raise
            self.handleError(record)
            return
        self._writer.write(line.encode(errors="backslashreplace") + b"\n")

    def flush(self) -> None:
        self._flush(_FLUSH_WITHIN)


def format_for(descriptor: int | None, wanted: LogFormat) -> LogFormat:
    """JSON or text: resolves `auto` for the output to a descriptor."""
    if wanted is not LogFormat.AUTO:
        return wanted
    terminal = descriptor is not None and os.isatty(descriptor)
    return LogFormat.TEXT if terminal else LogFormat.JSON


def set_level(level: LogLevel) -> None:
    """Log the proxy's own events from this level on."""
    LOGGER.setLevel(level.name)


def level() -> LogLevel:
    """The level of the last `set_level`."""
    return LogLevel.__members__.get(logging.getLevelName(LOGGER.level), LogLevel.INFO)


def install(
    writer: LineWriter, log_format: LogFormat, least: LogLevel = LogLevel.INFO
) -> EventHandler:
    """Send all logging to `writer`: the proxy's from `least` on, of libraries from WARNING on."""
    handler = EventHandler(writer, log_format)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    set_level(least)
    return handler


def uninstall(handler: EventHandler) -> None:
    """Write remaining lines, and remove `handler`."""
    logging.getLogger().removeHandler(handler)
    handler.flush()
    handler.close()


# --- events of the data plane -------------------------------------------------------------------


def breaker_transition(
    breaker: CircuitBreaker, left: BreakerState, entered: BreakerState, now: float
) -> None:
    """A `TransitionListener`: logs the change with the window's rates."""
    snapshot = breaker.snapshot(now)
    fields: dict[str, Any] = {"name": breaker.name, "from": left.value, "to": entered.value}
    if entered is BreakerState.OPEN:
        fields |= {
            "failure_rate": round(snapshot.failure_rate, 2),
            "slow_call_rate": round(snapshot.slow_call_rate, 2),
            "calls": snapshot.calls,
        }
        if snapshot.next_probe_in_s is not None:
            fields["next_probe_in_s"] = round(snapshot.next_probe_in_s, 3)
    level = logging.WARNING if entered in _REFUSING else logging.INFO
    LOGGER.log(level, "circuit breaker %s", entered.value, extra={"fields": fields})


_REFUSING = (BreakerState.OPEN, BreakerState.FORCED_OPEN)


def bug(what: str, error: BaseException, **fields: Any) -> None:
    """Log a bug with its traceback."""
    LOGGER.error("bug: %s", what, exc_info=error, extra={"fields": fields})
