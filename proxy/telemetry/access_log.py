"""Access log: one line for each settled exchange that the configuration selects.

Exchanges with trouble are those with a reason (answers of the proxy, truncated responses, clients
that left), 5xx, failed gRPC calls, those with a second attempt, fallbacks, and those that a policy
in mode observe would have treated differently. A line never contains the value of a header or a
query, and no byte of a request can end it or start another: everything that is not printable ASCII
is escaped.
"""

import json
import time
from collections.abc import Callable
from typing import Protocol

from proxy.clock import Clock, Random, WallClock
from proxy.config.server_model import AccessLogConfig, LogFormat
from proxy.grpc_status import name_of
from proxy.telemetry.observed import AttemptRecord, Exchange
from proxy.telemetry.timestamps import Timestamps

_quoted: Callable[[str], str] = json.JSONEncoder().encode
"""A JSON string, all ASCII."""


class TakesLines(Protocol):
    """The part of `LineWriter` that this file needs."""

    def write(self, line: bytes) -> None:
        """Accept one line with its newline."""


class AccessLog:
    """`record` is the observer of settled exchanges."""

    __slots__ = (
        "_clock",
        "_errors",
        "_format",
        "_random",
        "_ratio",
        "_timestamps",
        "_wall_clock",
        "_writer",
    )

    def __init__(
        self,
        config: AccessLogConfig,
        random: Random,
        writer: TakesLines,
        wall_clock: WallClock = time.time,
        clock: Clock = time.monotonic,
    ) -> None:
        self._errors = config.errors
        self._ratio = config.ratio
        self._random = random
        self._writer = writer
        self._wall_clock = wall_clock
        self._clock = clock
        # Microseconds, because what is played again from a log keeps its order by them.
        self._timestamps = Timestamps(6)
        self._format = _FORMATS[config.format]

    def record(self, exchange: Exchange) -> None:
        """Log the exchange if it is selected. Cheap if it is not."""
        if exchange.troubled:
            if not self._errors:
                return
        elif self._ratio <= 0.0 or (self._ratio < 1.0 and self._random() >= self._ratio):
            return
        # Not from the duration: what runs between the end and here would make the time too late.
        began = self._timestamps.text(self._wall_clock() - (self._clock() - exchange.started))
        self._writer.write(self._format(exchange, began).encode("ascii") + b"\n")


def as_json(exchange: Exchange, began: str) -> str:
    """The members in the documented order. Assembled by hand, in a third of the time that encoding
    a dictionary takes: this runs for every request if all are logged.
    """
    upstream, started = exchange.upstream, exchange.started
    attempts = ",".join(
        [_attempt_json(attempt, upstream, started) for attempt in exchange.attempts]
    )
    return (
        f'{{"time":"{began}"'
        f',"listener":"{exchange.listener.value}"'
        f',"client":{_quoted(exchange.client)}'
        f',"method":{_quoted(exchange.method)}'
        f',"host":{_quoted(exchange.host)}'
        f',"path":{_quoted(exchange.path)}'
        f',"route":{_quoted(exchange.route)}'
        f',"upstream":{_quoted(upstream)}'
        f',"status":{exchange.status}'
        f',"reason":{_quoted(exchange.reason)}'
        f',"duration_ms":{exchange.duration * 1000:.3f}'
        f',"bytes_in":{exchange.bytes_in}'
        f',"bytes_out":{exchange.bytes_out}'
        f',"request_id":{_quoted(exchange.request_id)}'
        f',"trace_id":{_quoted(exchange.trace_id)}'
        f',"attempts":[{attempts}]'
        f"{_why_json(exchange)}}}"
    )


def _why_json(exchange: Exchange) -> str:
    """Optional members that explain an exchange with trouble."""
    members = f',"queued_ms":{exchange.queued * 1000:.3f}' if exchange.queued else ""
    if exchange.grpc_status:
        members += f',"grpc_status":"{exchange.grpc_status}"'
    hedged = exchange.hedged if len(exchange.attempts) > 1 else 0
    if hedged:
        members += f',"hedged":{hedged}'
    if exchange.inherited_from:
        members += f',"inherited_from":{_quoted(exchange.inherited_from)}'
    if exchange.mirrored:
        members += f',"mirrored":{_quoted(exchange.mirrored)}'
    if exchange.idempotency:
        members += f',"idempotency":"{exchange.idempotency}"'
    if exchange.fault:
        members += f',"fault":"{exchange.fault}"'
    if exchange.outbox_id:
        members += f',"outbox_id":{_quoted(exchange.outbox_id)}'  # a table's rows name themselves
    if exchange.saga:
        members += f',"saga":"{exchange.saga}"'
    if exchange.retry_refused:
        members += f',"retry_refused":"{exchange.retry_refused}"'
    if exchange.observed:
        observed = ",".join([f'"{what}"' for what in exchange.observed])
        members += f',"observed":[{observed}]'
    if exchange.fallback:
        members += ',"fallback":true'
    if exchange.troubled:  # by this, what counts whole seconds is played again (JSON only)
        members += f',"monotonic_s":{exchange.started:.6f}'
    if exchange.detail:
        members += f',"detail":{_quoted(exchange.detail)}'
    return members


def _attempt_json(attempt: AttemptRecord, upstream: str, since: float) -> str:
    """`status` or `failure`; both if the response's head arrived and the body did not.

    `upstream`: the request's; a fallback's attempt has another one, and names it. `since`: when
    the request started (monotonic); an attempt that starts later says how much.
    """
    status = f',"status":{attempt.status}' if attempt.status else ""
    failure = f',"failure":{_quoted(attempt.failure)}' if attempt.failure else ""
    if attempt.fault:
        failure += f',"fault":"{attempt.fault}"'
    if attempt.hedge:
        failure += ',"hedge":true'
    if attempt.grpc >= 0:
        status += f',"grpc_status":"{name_of(attempt.grpc)}"'
    if attempt.upstream != upstream:
        failure += f',"upstream":{_quoted(attempt.upstream)}'
    later = (attempt.started - since) * 1000
    started = f',"started_ms":{later:.3f}' if later > 0.0 else ""
    took, waited = attempt.duration * 1000, attempt.wait * 1000
    return (
        f'{{"endpoint":{_quoted(attempt.endpoint)}{status}{failure}'
        f',"duration_ms":{took:.3f},"wait_ms":{waited:.3f}{started}}}'
    )


def _as_text(exchange: Exchange, began: str) -> str:
    words = [
        began,
        exchange.listener.value,
        _word(exchange.client),
        _word(exchange.method),
        _word(exchange.host),
        _word(exchange.path),
        str(exchange.status),
        _word(exchange.reason),
        f"{exchange.duration * 1000:.3f}ms",
        f"route={_word(exchange.route)}",
        f"upstream={_word(exchange.upstream)}",
        f"in={exchange.bytes_in}",
        f"out={exchange.bytes_out}",
        f"request_id={_word(exchange.request_id)}",
        f"trace_id={_word(exchange.trace_id)}",
    ]
    upstream, started = exchange.upstream, exchange.started
    words += [_attempt_words(attempt, upstream, started) for attempt in exchange.attempts]
    _add_what_is_seldom(words, exchange)
    return " ".join(words)


def _add_what_is_seldom(words: list[str], exchange: Exchange) -> None:
    if exchange.queued:
        words.append(f"queued={exchange.queued * 1000:.3f}ms")
    if exchange.grpc_status:
        words.append(f"grpc_status={exchange.grpc_status}")
    if exchange.hedged:
        words.append(f"hedged={exchange.hedged}")
    if exchange.inherited_from:
        words.append(f"inherited_from={_word(exchange.inherited_from)}")
    if exchange.mirrored:
        words.append(f"mirrored={_word(exchange.mirrored)}")
    if exchange.idempotency:
        words.append(f"idempotency={exchange.idempotency}")
    if exchange.fault:
        words.append(f"fault={exchange.fault}")
    if exchange.outbox_id:
        words.append(f"outbox_id={_word(exchange.outbox_id)}")
    if exchange.saga:
        words.append(f"saga={exchange.saga}")
    if exchange.retry_refused:
        words.append(f"retry_refused={exchange.retry_refused}")
    if exchange.observed:
        words.append(f"observed={','.join(exchange.observed)}")
    if exchange.fallback:
        words.append("fallback")
    if exchange.detail:
        words.append(f"detail={_word(exchange.detail)}")


def _attempt_words(attempt: AttemptRecord, upstream: str, since: float) -> str:
    parts = (str(attempt.status or ""), name_of(attempt.grpc), attempt.failure)
    outcome = "+".join(filter(None, parts)) + (" hedge" if attempt.hedge else "")
    if attempt.upstream != upstream:
        outcome += f" upstream={_word(attempt.upstream)}"
    took, waited = attempt.duration * 1000, attempt.wait * 1000
    later = (attempt.started - since) * 1000
    started = f" started={later:.3f}ms" if later > 0.0 else ""
    return f"[{_word(attempt.endpoint)} {outcome} {took:.3f}ms wait={waited:.3f}ms{started}]"


def _word(text: str) -> str:
    """`text` as one word: a JSON string if it could be read as more than one, - if empty."""
    if not text:
        return "-"
    if text.isascii() and text.isprintable() and not _SEPARATORS.intersection(text):
        return text
    return _quoted(text).replace("\x7f", "\\u007f")


_SEPARATORS = frozenset(' "[]')

_FORMATS: dict[LogFormat, Callable[[Exchange, str], str]] = {
    LogFormat.JSON: as_json,
    LogFormat.TEXT: _as_text,
    LogFormat.AUTO: as_json,  # if `format_for` was not asked
}
