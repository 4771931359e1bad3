"""Accepting: a request becomes an entry of the outbox, and its caller gets the answer now.

The answer is given after the commit has returned. Nothing is accepted that could not be delivered
as it came: credentials are never stored, so a request with credentials that the route neither
replaces nor declares as not needed is refused.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any, Final

from proxy.config.model import RouteConfig
from proxy.delivery.entries import StoredHead, instant
from proxy.delivery.held import held_fields
from proxy.delivery.queues import Queue
from proxy.errors import (
    BadRequest,
    BodyTooLarge,
    ClientGone,
    OutboxCredentials,
    OutboxFull,
    ProxyError,
    StoreFailed,
    StoreFull,
)
from proxy.exchange.answers import Answer, add_own, fallback_answer, own_answer
from proxy.exchange.carrier import Carrier
from proxy.exchange.gathering import gather
from proxy.exchange.heads import REQUEST_ID
from proxy.exchange.promised import promised
from proxy.exchange.request import Request
from proxy.exchange.stored_answer import pack
from proxy.exchange.well_known import WELL_KNOWN
from proxy.http.message import Field, make_field, named_field
from proxy.http.retry_after import parse_retry_after
from proxy.outcome import of_status
from proxy.policies.outbox import (
    UNSTORED_METHODS,
    OutboxConfig,
    OutboxMode,
    may_store,
    prefers_async,
)
from proxy.store.operations import FinishKey, Operation, Put
from proxy.store.store import Store
from proxy.templates import (
    Scope,
    Unusable,
    at_pointer,
    parse_pointer,
    read_document,
    render_json,
)

_log = logging.getLogger("proxy.outbox")

PLACE: Final = f"{WELL_KNOWN}outbox/"
"""Where an entry's state is, on the listener that accepted it."""
_KEY_FIELDS: Final = (b"idempotency-key", b"x-idempotency-key")
_LONGEST_LANE: Final = 200
_PREFERENCE: Final = make_field(b"Preference-Applied", b"respond-async")


class Accepting:
    """The promise of one route. `record_bytes`: the largest head and body that are stored."""

    def __init__(
        self,
        store: Store,
        route: RouteConfig,
        queue: Queue,
        *,
        record_bytes: int,
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._route = route
        self._queue = queue
        self._record_bytes = record_bytes
        self._new_id = new_id
        self._config: OutboxConfig = route.policies.outbox
        self._needed = route.needed_credentials
        self._pointer: tuple[str, ...] | None = None
        kind, _, name = self._config.order_by.partition(":")
        self._lane_field = name.encode() if kind == "header" else b""
        if kind == "body":
            self._pointer = parse_pointer(name)

    # --- the promise ------------------------------------------------------------------------------

    def accepts(self, carrier: Carrier) -> bool:
        mode, request = self._config.mode, carrier.request
        if mode is OutboxMode.ALWAYS:
            return _may_wait(request)
        if mode is OutboxMode.PREFER:
            return prefers_async(request.head.values(b"prefer")) and _may_wait(request)
        return False

    async def enter(self, carrier: Carrier) -> Answer | None:
        if not self.accepts(carrier):
            return None
        request = carrier.request
        self._check_credentials(request)
        entry, put = await self._prepare(carrier)
        answer = self._answer(request, entry)
        return await self._commit(carrier, put, answer) or answer

    def covers(self, carrier: Carrier, error: ProxyError | None, status: int) -> bool:
        request = carrier.request
        if not _may_wait(request) or self._credentials_in(request):
            return False
        if not self._fails(error, status):
            return False
        if request.body is not None and not request.body.whole:
            return False
        sent = any(attempt.sent for attempt in request.record.attempts)
        return not sent or request.binding.retry.repeatable(request.head.method, request.keyed)

    async def rescue(
        self, carrier: Carrier, error: ProxyError | None, status: int
    ) -> Answer | None:
        request = carrier.request
        try:
            entry, put = await self._prepare(carrier)
            answer = self._rescued(request, entry, error, status)
            await self._commit(carrier, put, answer)
        except ClientGone:
            raise
        except ProxyError as refusal:
            _log.warning(
                "request %s failed and was not accepted either: %s", request.record.request_id,
                refusal.detail,
            )  # fmt: skip
            return None
        if request.record.fallback:
            request.binding.stats.fallbacks += 1
        return answer

    def _rescued(
        self, request: Request, entry: "_Accepted", error: ProxyError | None, status: int
    ) -> Answer:
        """The fallback's answer where it asks for the outbox, else the outbox's."""
        fallback = self._route.policies.fallback
        if fallback is None or not fallback.outbox or fallback.response is None:
            return self._answer(request, entry)
        status_field = request.terms.proxy_status.value(
            error=error, fallback=True, received_status=status or None
        )
        request.record.fallback = True
        # Among the response's own fields: repeats with an idempotency key get it too.
        location = ("Location", PLACE + entry.id)
        response = replace(fallback.response, headers=(*fallback.response.headers, location))
        return fallback_answer(request, response, status_field)

    def _fails(self, error: ProxyError | None, status: int) -> bool:
        config = self._config
        reason = error.reason if error is not None else ""
        final = of_status(status) if status else None
        named = reason in config.reasons or (final is not None and final in config.outcomes)
        if named and config.mode is OutboxMode.ON_FAILURE:
            return True
        fallback = self._route.policies.fallback
        if fallback is None or not fallback.outbox:
            return False
        return fallback.covers_reason(reason) or (final is not None and fallback.covers(final))

    # --- accepting --------------------------------------------------------------------------------

    async def _prepare(self, carrier: Carrier) -> tuple["_Accepted", Put]:
        """The entry, and the operation that stores it. Raises what refuses it."""
        request, config = carrier.request, self._config
        due_in = self._due_in(request)
        body = await gather(carrier, self._record_bytes, "store.record_bytes")
        assert body is not None  # `covers` has looked
        now = self._store.now()
        meta = self._head(request, now).pack()
        if len(meta) + len(body) > self._record_bytes:
            raise BodyTooLarge(
                f"The request's head and body have {len(meta) + len(body)} bytes; at most "
                f"{self._record_bytes} are stored (store.record_bytes)."
            )
        document = None
        if config.answer.reads_body or self._pointer is not None:
            document = _document(body, required=config.answer.reads_body)
        entry = _Accepted(self._new_id(), now, document)
        entry.content = self._content(entry)
        put = Put(
            entry.id,
            self._route.name,
            meta,
            body,
            lane=self._lane(request, document),
            due_in=due_in,
            give_up_in=due_in + config.max_age,
            max_pending=config.max_pending,
        )
        return entry, put

    async def _commit(self, carrier: Carrier, put: Put, answer: Answer) -> Answer | None:
        """Store it, and wait until that is committed; with an idempotency key the claim, the
        entry and the answer for repeats are one commit.

        Returns what a repeat gets instead. Raises what refuses it.
        """
        request = carrier.request
        claim: Any = request.claim  # an `exchange.held_key.HeldKey`
        while True:
            operations: list[Operation[Any]] = [put]
            if claim is not None:
                finish = FinishKey(
                    claim.ref if claim.held else None,
                    answer.head.status,
                    pack(answer),
                    claim.whole_fingerprint(request),
                )
                operations = [put, finish] if claim.held else [claim.ask, put, finish]
            try:
                committed = await promised(carrier, self._store.commit(operations))
            except StoreFull as full:
                raise self._full(full.detail) from None
            if committed.unmet < 0:
                break
            unmet = operations[committed.unmet]
            if unmet is put:
                raise self._full(
                    f"The outbox of route {self._route.name!r} has its maximum of "
                    f"{self._config.max_pending} entries (outbox.max_pending)."
                )
            if claim.held:
                raise StoreFailed("The claim of the idempotency key was lost.")
            found = await claim.found(carrier, committed.results[committed.unmet])
            if found is not None:
                replayed: Answer = found
                return replayed
        if claim is not None:
            claim.stored(request.record)
        request.record.outbox_id = put.id
        self._queue.accepted += 1
        return None

    def _full(self, detail: str) -> OutboxFull:
        self._queue.refused += 1
        return OutboxFull(detail, retry_after=self._queue.retry_after(self._config.max_pending))

    def _head(self, request: Request, now: float) -> StoredHead:
        head, keep = request.head, self._config.keep_headers
        fields: list[tuple[str, str]] = []
        key: tuple[str, str] | None = None
        for field in head.fields:
            name = field.name.lower
            if name in _KEY_FIELDS:
                if field.value:  # an empty key would not tell the receiver that a try is a repeat
                    key = key or _text_of(field)
            elif may_store(name.decode("latin-1"), keep):
                fields.append(_text_of(field))
        query = head.query_text
        return StoredHead(
            head.method,
            head.path if query is None else f"{head.path}?{query}",
            host=head.host_text,
            scheme=head.scheme,
            listener=request.terms.listener,
            fields=fields,
            key=key,
            held=held_fields(request),
            client=request.stream.client,
            accepted=now,
        )

    def _credentials_in(self, request: Request) -> list[str]:
        return [name for name in self._needed if request.head.values(name.encode())]

    def _check_credentials(self, request: Request) -> None:
        found = self._credentials_in(request)
        if found:
            names = " and ".join(name.capitalize() for name in found)
            raise OutboxCredentials(
                f"The request carries {names}, which is never stored. Let the route set its own "
                "(headers.request.set), or say that the receiver does not need it (outbox.without)."
            )

    def _due_in(self, request: Request) -> float:
        """Seconds until the first try. Raises BadRequest."""
        name = self._config.not_before
        values = request.head.values(name.lower().encode())
        if not values:
            return 0.0
        seconds = parse_retry_after(values, self._store.now())
        if seconds is None:
            raise BadRequest(f"{name} is neither a date nor a number of seconds.")
        if seconds > self._config.max_age:
            raise BadRequest(
                f"{name} is {seconds:g} s ahead; at most {self._config.max_age:g} s are possible "
                "(outbox.max_age)."
            )
        return seconds

    def _lane(self, request: Request, document: Any) -> str:
        """The lane's name, "" for an entry without order."""
        if self._lane_field:
            values = request.head.values(self._lane_field)
            return _lane_name(values[0].decode("latin-1")) if values else ""
        if self._pointer is None:
            return ""
        try:
            value = at_pointer(document, self._pointer)
        except Unusable:
            return ""
        if value is None:
            return ""
        return _lane_name(value if isinstance(value, str) else json.dumps(value))

    # --- the answer -------------------------------------------------------------------------------

    def _content(self, entry: "_Accepted") -> tuple[list[Field], bytes]:
        """Fields and body, before anything is stored. Raises BadRequest."""
        config = self._config.answer
        scope = Scope(entry.id, body=entry.document)
        try:
            fields = [
                make_field(name.encode("latin-1"), value.header(scope))
                for name, value in config.headers
            ]
            if config.json is not None:
                return fields, render_json(config.json, scope)
        except Unusable as problem:
            raise BadRequest(f"The outbox's answer cannot be made: {problem}.") from None
        # As `json.dumps` writes it: an id and a time have nothing to escape.
        told = f'{{"id": "{entry.id}", "state": "pending", "accepted_at": "{instant(entry.at)}"}}'
        return fields, told.encode()

    def _answer(self, request: Request, entry: "_Accepted") -> Answer:
        config = self._config.answer
        fields, body = entry.content
        if body:
            add_own(fields, _JSON)
        add_own(fields, make_field(b"Location", PLACE.encode() + entry.id.encode()))
        if prefers_async(request.head.values(b"prefer")):
            fields.append(_PREFERENCE)
        add_own(fields, named_field(REQUEST_ID, request.id))
        if config.status == _NO_CONTENT:
            body = b""
        return own_answer(request.terms, request.head.method, config.status, fields, body)


class _Accepted:
    """An entry that is being accepted."""

    __slots__ = ("at", "content", "document", "id")

    def __init__(self, entry_id: str, at: float, document: Any) -> None:
        self.id = entry_id
        self.at = at
        self.document = document
        self.content: tuple[list[Field], bytes] = ([], b"")


_NO_CONTENT: Final = 204
_JSON: Final = make_field(b"Content-Type", b"application/json")


def _text_of(field: Field) -> tuple[str, str]:
    return field.name.text.decode("latin-1"), field.value.decode("latin-1")


def _may_wait(request: Request) -> bool:
    head = request.head
    return not (head.method in UNSTORED_METHODS or request.grpc or head.upgrade is not None)


def _document(body: bytes, *, required: bool) -> Any:
    try:
        return read_document(body)
    except Unusable as problem:
        if required:
            raise BadRequest(f"The outbox's answer reads the request: {problem}.") from None
        return None


def _lane_name(value: str) -> str:
    """Bounded; "" is not a lane's name."""
    if len(value) > _LONGEST_LANE:
        return f"sha256:{sha256(value.encode()).hexdigest()}"
    return value
