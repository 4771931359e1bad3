"""Where a row is delivered: a request for an upstream, or the start of a saga."""

import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from proxy.config.model import Config, Listener
from proxy.config.table_model import TableConfig
from proxy.delivery.saga_sender import address_of
from proxy.delivery.stored_request import StoredRequest, TryResult
from proxy.delivery.tables.catalog import Shape
from proxy.delivery.tables.identity import request_id, row_key
from proxy.delivery.tables.rows import HeldRow
from proxy.delivery.tries import StoredExchange, Tries
from proxy.errors import InternalError, ProxyError, StoreFailed, StoreFull
from proxy.exchange.gateway import Gateway
from proxy.policies.outbox import Fate, judge
from proxy.templates import BODY, Scope, Unusable, read_document

OnDone = Callable[[TryResult, Fate], object]
StartSaga = Callable[[str, str, bytes, str], Awaitable[None]]
"""Saga, idempotency key, input, X-Request-Id. Returns when it is committed, or was before; raises
ProxyError."""

_NO_JSON: Final = "outbox-row-invalid"
_MAY_HELP: Final = (StoreFull, StoreFailed)
_log = logging.getLogger("proxy.outbox")


class Target(Protocol):
    """`send` calls `on_done` once, in a later turn of the loop. `cut` ends all tries. `tries`: the
    requests in flight."""

    @property
    def tries(self) -> list[StoredExchange]: ...
    def send(self, row: HeldRow, shape: Shape, on_done: OnDone) -> None: ...
    def cut(self) -> None: ...


def outbox_id(table: TableConfig, row: str) -> str:
    """A row's name in logs, in the admin API, and in X-Outbox-Id."""
    return f"{table.name}/{row}"


def key_of(shape: Shape, row: str) -> str:
    return row_key(shape.database, shape.schema, shape.name, row)


def dead(why: str) -> tuple[TryResult, Fate]:
    """The row can never be delivered, and nothing was sent."""
    return TryResult(0, _NO_JSON, why, sent=False), Fate.DEAD


class UpstreamTarget:
    """Sends rows through the policies of the table's route."""

    def __init__(self, table: TableConfig, gateway: Gateway) -> None:
        self._table = table
        self._gateway = gateway
        self._tries = Tries(Listener.OUTBOUND, gateway.tell)

    def send(self, row: HeldRow, shape: Shape, on_done: OnDone) -> None:
        """Raises Unusable for a row that no request can be made of."""
        route = self._gateway.table.named(self._table.route_name)
        if route is None or route.config.upstream is None:
            raise LookupError(self._table.route_name)  # a reload has just removed it
        request = request_of(self._table, self._gateway.config, row, shape)
        request.lease = row.lease
        dead_on = self._table.outbox.dead_on

        def tried(result: TryResult) -> None:
            fate = judge(
                dead_on,
                result.status,
                reason=result.reason,
                retry_after=result.retry_after,
                postponed=result.postponed,
                unknown=result.unknown,
            )
            on_done(result, fate)

        terms = self._gateway.gates[Listener.OUTBOUND].terms
        self._tries.begin_try(terms, route, request, tried)

    @property
    def tries(self) -> list[StoredExchange]:
        return list(self._tries.exchanges)

    def cut(self) -> None:
        self._tries.cut()


def request_of(table: TableConfig, config: Config, row: HeldRow, shape: Shape) -> StoredRequest:
    """The request of a row's next try. Raises Unusable."""
    target, body = table.to, row.body or b""
    assert target.upstream is not None
    host, scheme = address_of(config, target.upstream)
    templates = [target.path, *(value for _, value in target.headers)]
    reads = any(one.word == BODY for template in templates for one in template.references)
    scope = Scope(row.id, body=read_document(body) if reads else None)
    key = key_of(shape, row.id)
    fields = [
        (b"Idempotency-Key", key.encode()),
        (b"X-Outbox-Id", _field(outbox_id(table, row.id))),
    ]
    if table.columns.attempts is not None:
        fields.append((b"X-Outbox-Attempt", b"%d" % (row.attempts + 1)))
    for name, value in ((b"X-Outbox-Key", row.key), (b"X-Outbox-Type", row.type)):
        if value is not None:
            fields.append((name, _field(value)))
    names = {name.lower() for name, _ in target.headers}
    if body and "content-type" not in names:
        binary = shape.columns["body"].type == "bytea"
        fields.append((b"Content-Type", b"application/octet-stream" if binary else _JSON))
    fields += [(name.encode("latin-1"), value.header(scope)) for name, value in target.headers]
    return StoredRequest(
        target.method,
        target.path.path(scope),
        fields,
        body,
        host=host,
        scheme=scheme,
        held={b"x-request-id": [request_id(key).encode()]},
        entry=outbox_id(table, row.id),
        number=row.attempts + 1,
    )


_JSON: Final = b"application/json"


def _field(text: str) -> bytes:
    """A value of any characters as a field's value: others than visible ASCII percent-encoded."""
    return b"".join(
        bytes((byte,)) if 0x21 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte
        for byte in text.encode()
    )


class SagaTarget:
    """Starts a saga with each row: its body is the input.

    A row that is delivered twice is one saga: its id is in the body, or is the row's key.
    """

    def __init__(self, table: TableConfig, start: StartSaga, run: Callable[..., object]) -> None:
        """`run` begins a coroutine as a task."""
        self._table = table
        self._start = start
        self._run = run

    def send(self, row: HeldRow, shape: Shape, on_done: OnDone) -> None:
        self._run(self._begin(row, key_of(shape, row.id), on_done))

    async def _begin(self, row: HeldRow, key: str, on_done: OnDone) -> None:
        on_done(*await self._started(row, key))

    async def _started(self, row: HeldRow, key: str) -> tuple[TryResult, Fate]:
        assert self._table.to.saga is not None
        try:
            await self._start(self._table.to.saga, key, row.body or b"", request_id(key))
        except _MAY_HELP as error:
            result = TryResult(error.status, error.reason, error.detail, sent=False, postponed=True)
            return result, Fate.POSTPONED
        except ProxyError as error:  # another input for this saga, or no input at all
            return TryResult(error.status, error.reason, error.detail, sent=False), Fate.DEAD
        except Exception:  # noqa: BLE001 - a bug must not keep the row for ever
            _log.exception("internal error in the start of a saga by row %s", row.id)
            return TryResult(0, InternalError.reason, sent=False), Fate.AGAIN
        return TryResult(202), Fate.DELIVERED

    @property
    def tries(self) -> list[StoredExchange]:
        return []

    def cut(self) -> None:
        """A start is one commit: it ends by itself."""


def unusable(problem: Unusable) -> tuple[TryResult, Fate]:
    return dead(f"The row makes no request: {problem}.")
