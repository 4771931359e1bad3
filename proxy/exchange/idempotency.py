"""Idempotency keys: the first request with a key is answered, repeats get the same answer.

    enter ─ the body ─▶ ClaimKey ─┬─ claimed ──▶ the request goes on ──▶ keep ─ FinishKey ─▶ answer
                                  ├─ done ─────▶ the stored answer
                                  ├─ in flight ─▶ wait, then ask again
                                  └─ another request, unknown, not kept ──▶ refused

The claim is committed before the request goes on, and the answer before it is sent. What ends
without an answer of the upstream is recorded when the exchange settles: released if no service can
have seen the request, else unknown.
"""

from asyncio import Future
from collections.abc import Sequence
from secrets import token_hex

from proxy.config.model import Listener, RouteConfig
from proxy.errors import (
    IdempotencyKeyInvalid,
    IdempotencyKeyMissing,
    ProxyError,
)
from proxy.exchange.answers import Answer
from proxy.exchange.carrier import Carrier
from proxy.exchange.gathering import gather_up_to
from proxy.exchange.held_key import HeldKey, Keys
from proxy.exchange.lease import present
from proxy.exchange.promise import Promise
from proxy.exchange.promised import heard, promised
from proxy.exchange.request import Request
from proxy.http.message import make_field
from proxy.policies.idempotency import (
    CLIENT_CERTIFICATE,
    HEADER_SCOPE,
    IdempotencyMode,
    OnUnknown,
)
from proxy.policies.idempotency_keys import (
    KeyInvalid,
    begin_body,
    body_digest,
    head_digest,
    key_digest,
    parse_key,
    scope_digest,
)
from proxy.store.operations import ClaimKey, ReleaseKey
from proxy.store.records import KeyRecord


class Idempotency(Promise):
    """The idempotency of one route."""

    def __init__(self, keys: Keys, route: RouteConfig, others: Sequence[Promise] = ()) -> None:
        """`others`: the promises that are asked after it."""
        self._keys = keys
        self._route = route.name
        self._config = config = route.policies.idempotency
        self._methods = frozenset(config.methods)
        self._names = [name.encode() for name in config.headers]
        self._fields = [name.encode() for name in config.fingerprint.headers]
        self._mints = config.mint and route.listener is Listener.OUTBOUND
        self._limit = route.policies.retry.body_limit
        self._others = others

    def accepts(self, carrier: Carrier) -> bool:
        return False

    async def enter(self, carrier: Carrier) -> Answer | None:
        request = carrier.request
        head = request.head
        if head.method not in self._methods or request.grpc or head.upgrade is not None:
            return None
        key = self._key(request)
        if key is None:
            self._without_key(request)
            return None
        first = await self._first_part(carrier)
        ask = ClaimKey(
            self._route,
            self._scope(request),
            key_digest(key),
            first,
            self._config.lease,
            self._config.keep,
            self._config.on_unknown is OnUnknown.EXECUTE,
        )
        claim = HeldKey(self._keys, self._config, ask, request.binding.stats)
        request.claim = claim
        if any(other.accepts(carrier) for other in self._others):
            return None
        return await self._claim(carrier, claim)

    async def _claim(self, carrier: Carrier, claim: HeldKey) -> Answer | None:
        while True:
            since = present()
            future = self._keys.store.do(claim.ask)
            try:
                record = await promised(carrier, future)
            except ProxyError:
                future.add_done_callback(self._give_back)
                raise
            if record.claimed:
                claim.claimed(carrier, record, since)
                return None
            answer = await claim.found(carrier, record)
            if answer is not None:
                return answer

    def _give_back(self, future: "Future[KeyRecord]") -> None:
        """The exchange ended before it had the claim."""
        if not future.cancelled() and future.exception() is None:
            record = future.result()
            if record.claimed:
                self._keys.store.do(ReleaseKey(record.ref)).add_done_callback(heard)

    # --- the request --------------------------------------------------------------------------

    def _key(self, request: Request) -> bytes | None:
        values = [value for name in self._names for value in request.head.values(name)]
        try:
            return parse_key(values)
        except KeyInvalid as error:
            self._refused(request, "key-invalid")
            raise IdempotencyKeyInvalid(str(error)) from None

    def _without_key(self, request: Request) -> None:
        if self._mints:
            # Only the upstream remembers it: no caller knows it, so none can repeat it here.
            name = self._names[0]
            field = make_field(name, token_hex(16).encode())
            request.send_too(field)
            request.minted = True
            request.record.idempotency = "minted"
            request.binding.stats.count_idempotency("minted")
        elif self._config.mode is IdempotencyMode.REQUIRED:
            self._refused(request, "key-missing")
            names = " or ".join(self._config.headers)
            raise IdempotencyKeyMissing(f"This request needs an idempotency key ({names}).")

    def _refused(self, request: Request, result: str) -> None:
        request.record.idempotency = result
        request.binding.stats.count_idempotency(result)

    def _scope(self, request: Request) -> bytes:
        parts: list[bytes | None] = []
        for scope in self._config.scope:
            if scope == CLIENT_CERTIFICATE:
                parts.append(request.stream.certificate or None)
            else:
                name = scope.removeprefix(HEADER_SCOPE).encode()
                values = request.head.values(name)
                parts.append(b",".join(values) if values else None)
        return scope_digest(parts)

    async def _first_part(self, carrier: Carrier) -> bytes:
        """The fingerprint as far as it is known: a body beyond `body_limit` follows later."""
        request = carrier.request
        head, body = request.head, request.body
        target = head.path if head.query_text is None else f"{head.path}?{head.query_text}"
        first = head_digest(head.method, target, [head.values(name) for name in self._fields])
        if body is None:
            return first + body_digest(b"", ())
        if await gather_up_to(carrier, self._limit):
            return first + body_digest(body.content, self._config.fingerprint.ignore)
        start, body.digest = begin_body(body.content, self._limit)
        return first + start
