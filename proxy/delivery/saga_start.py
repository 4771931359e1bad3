"""Starts a saga: the promise of a route that has one.

    POST ─▶ read the body ─▶ its id ─▶ definition and input committed ─▶ 202, Location

The same id with the same input is the same saga: the same Location, and nothing is started.
"""

import json
import re
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final, cast
from uuid import uuid4

from proxy.clock import Random
from proxy.config.saga_model import SagaConfig, is_given
from proxy.delivery.entries import instant
from proxy.delivery.held import held_fields
from proxy.delivery.saga_documents import accepted_document
from proxy.delivery.saga_record import Accepted, pack
from proxy.errors import InternalError, SagaConflict, SagaInvalid
from proxy.exchange.answers import Answer, fixed_answer
from proxy.exchange.carrier import Carrier
from proxy.exchange.gathering import gather
from proxy.exchange.held_key import HeldKey
from proxy.exchange.promise import Promise
from proxy.exchange.promised import promised
from proxy.exchange.request import Request
from proxy.exchange.stored_answer import pack as pack_answer
from proxy.policies.fallback import FallbackResponse
from proxy.policies.saga import Saga
from proxy.store.operations import BeginSaga, FinishKey, Operation
from proxy.store.records import KeyRecord, SagaRecord
from proxy.store.store import Store
from proxy.templates import Scope, Unusable, at_pointer, read_document, render_json

PLACE: Final = "/.well-known/resilience-proxy/sagas/"
"""Where a saga's state is, on the listener that started it."""
_ID: Final = re.compile(r"[A-Za-z0-9._~:-]{1,128}")
_Response = tuple[list[tuple[str, str]], bytes]
_KEY_FIELDS: Final = (b"idempotency-key", b"x-idempotency-key")


class SagaStart(Promise):
    """Starts the sagas of one definition. `record_bytes`: the largest input."""

    def __init__(
        self,
        saga: SagaConfig,
        store: Store,
        *,
        record_bytes: int,
        random: Random,
        new_token: Callable[[], str],
    ) -> None:
        self._saga = saga
        self._store = store
        self._record_bytes = record_bytes
        self._random = random
        self._new_token = new_token

    def accepts(self, carrier: Carrier) -> bool:
        return True

    async def enter(self, carrier: Carrier) -> Answer | None:
        request = carrier.request
        body = await gather(carrier, self._record_bytes, "store.record_bytes")
        if body is None:
            raise InternalError("The body of a saga's start is no longer here.")
        try:
            document = read_document(body)
        except Unusable as problem:
            raise SagaInvalid(f"A saga's input must be JSON: {problem}.") from None
        saga_id = saga_id_of(self._saga, document, _idempotency_key(request))
        held, listener = held_fields(request), request.terms.listener
        accepted = Accepted(saga_id, self._saga, document, held, listener)
        begin = begin_saga(accepted, self._new_token(), self._random, self._store.now())
        # What may fail comes before the commit.
        response = self._response(saga_id, document)
        if isinstance(request.claim, HeldKey):
            return await self._commit_with(request.claim, carrier, begin, response)
        record = await promised(carrier, self._store.do(begin))
        check_same(record, begin)
        request.record.saga = record.token
        return self._answer(request, accepted_document(record), record.token, response)

    async def _commit_with(
        self, claim: HeldKey, carrier: Carrier, begin: BeginSaga, response: _Response
    ) -> Answer:
        """Claim the idempotency key, begin the saga and record the answer, in one commit."""
        request = carrier.request
        token, begins = begin.token, True
        accepted_at = json.loads(begin.journal)["accepted_at"]
        told = {"id": begin.id, "state": begin.state, "accepted_at": instant(accepted_at)}
        while True:
            answer = self._answer(request, told, token, response)
            finish = FinishKey(
                None,
                self._saga.answer.status,
                pack_answer(answer),
                claim.whole_fingerprint(request),
            )
            steps: list[Operation[Any]] = [claim.ask, begin, finish]
            if not begins:
                steps.remove(begin)
            committed = await promised(carrier, self._store.commit(steps))
            if committed.unmet < 0:
                claim.stored(request.record)
                request.record.saga = token
                return answer
            if committed.unmet == 0:
                known = await claim.found(carrier, cast(KeyRecord, committed.results[0]))
                if known is not None:
                    return known
            else:  # the saga is there, under another key or begun before a crash
                record = cast(SagaRecord, committed.results[1])
                check_same(record, begin)
                token, begins, told = record.token, False, accepted_document(record)

    # --- the answer -------------------------------------------------------------------------------

    def _response(self, saga_id: str, document: Any) -> _Response:
        answer = self._saga.answer
        scope = Scope(saga_id, input=document)
        try:
            headers = [
                (name, value.header(scope).decode("latin-1")) for name, value in answer.headers
            ]
            body = render_json(answer.json, scope) if is_given(answer.json) else b""
        except Unusable as problem:
            raise SagaInvalid(f"The saga's answer cannot be made: {problem}.") from None
        return headers, body

    def _answer(
        self, request: Request, told: Mapping[str, Any], token: str, response: _Response
    ) -> Answer:
        """`told` is the body where the definition has none."""
        headers, body = response
        if not body:
            body = json.dumps(told).encode()
        if not any(name.lower() == "content-type" for name, _ in headers):
            headers = [*headers, ("Content-Type", "application/json")]
        headers = [*headers, ("Location", PLACE + token)]
        return fixed_answer(
            request, FallbackResponse(self._saga.answer.status, tuple(headers), body)
        )


def saga_id_of(saga: SagaConfig, document: Any, key: str) -> str:
    """The id of a saga with this input and idempotency key. Raises SagaInvalid."""
    pointer = saga.id
    found = _id_in(document, pointer) if pointer is not None else key or str(uuid4())
    if not _ID.fullmatch(found):
        raise SagaInvalid(
            "A saga's id has 1 to 128 of the characters A-Z a-z 0-9 . _ ~ : - (sagas.id)."
        )
    return found


def _id_in(document: Any, pointer: tuple[str, ...]) -> str:
    try:
        value = at_pointer(document, pointer)
    except Unusable:
        raise SagaInvalid(f"The input has no id at /{'/'.join(pointer)} (sagas.id).") from None
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise SagaInvalid(f"The id at /{'/'.join(pointer)} is neither a text nor a whole number.")


def begin_saga(accepted: Accepted, token: str, random: Random, now: float) -> BeginSaga:
    """The operation that starts it. `token`: 128 random bits, its name where it is shown. `now`: by
    the store's clock.
    """
    saga = Saga(accepted.saga.rules, now, random)
    return BeginSaga(
        token,
        accepted.saga.name,
        accepted.id,
        saga.state.value,
        _fingerprint(accepted.input),
        pack(accepted),
        json.dumps(saga.dump()).encode(),
    )


def check_same(record: SagaRecord, begin: BeginSaga) -> None:
    """Raises SagaConflict if the id was used with another input."""
    if not record.created and record.fingerprint != begin.fingerprint:
        raise SagaConflict(
            f"There is a saga {begin.name!r} with the id {begin.id!r} and another input."
        )


def _idempotency_key(request: Request) -> str:
    """The caller's key, a structured-field String or bare; "" without one."""
    for name in _KEY_FIELDS:
        for value in request.head.values(name):
            text = value.decode("latin-1").strip()
            if len(text) > 1 and text[0] == text[-1] == '"':
                text = text[1:-1]
            if text:
                return text
    return ""


def _fingerprint(document: Any) -> bytes:
    """Equal for equal JSON, whatever its order and spacing."""
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return sha256(canonical.encode()).digest()
