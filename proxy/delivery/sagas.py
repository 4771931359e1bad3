"""All sagas of the process: started, run, shown, and given orders."""

import asyncio
import json
import logging
from os import urandom
from random import random
from typing import Any, Final

from proxy.config.model import Config, Listener
from proxy.config.saga_model import SagaConfig
from proxy.delivery.places import document_answer
from proxy.delivery.saga_documents import operator_document, row_document, status_document
from proxy.delivery.saga_record import Accepted, unpack
from proxy.delivery.saga_runner import LEASE, SagaRunner, TellResult
from proxy.delivery.saga_sender import SagaSender
from proxy.delivery.saga_start import SagaStart, begin_saga, check_same, saga_id_of
from proxy.delivery.saga_stats import SagaStats
from proxy.delivery.tries import StoredExchange
from proxy.errors import SagaInvalid, StoreFailed
from proxy.exchange.answers import Answer
from proxy.exchange.carrier import Carrier
from proxy.exchange.gateway import Gateway
from proxy.exchange.promise import Promise
from proxy.exchange.promised import promised
from proxy.policies.saga import Order, Saga, SagaState
from proxy.routing.table import Route
from proxy.store.operations import CountSagas, GetSaga, ListSagas, TakeSaga, UpdateSaga
from proxy.store.records import SagaRecord
from proxy.store.store import Store
from proxy.templates import Unusable, read_document

_STUCK: Final = SagaState.STUCK.value
_UNFINISHED: Final = (SagaState.RUNNING.value, SagaState.UNDOING.value, _STUCK)
_SHOWN: Final = 20
_OLD: Final = 5
"""Of each saga and state, the oldest that are shown."""
_KINDS: Final = 60
"""Sagas and states of which the oldest are read: a file may define any number of sagas."""
_REFRESH: Final = 1.0
_REFRESH_SHARED: Final = 5.0
"""Seconds between two readings for documents."""
_LAST_TRIES: Final = 1.0
"""Seconds for the outcomes of tries that the end of a drain cut."""

_log = logging.getLogger("proxy.saga")


class NoSuchSaga(LookupError):
    """There is no saga of that token or id."""


class Sagas:
    """What the application has of sagas. `record_bytes`: the largest input and answer.

    `left`: sagas that the end of the process loses with the pod.
    """

    def __init__(
        self, store: Store, gateway: Gateway, *, record_bytes: int, tell: TellResult
    ) -> None:
        self._store = store
        self._definitions = gateway.config.sagas
        self._record_bytes = record_bytes
        self._sender = SagaSender(gateway)
        self._drained_at = 0.0
        self.left = 0
        self._shown: list[dict[str, Any]] = []
        self._oldest: dict[str, float] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self.stats = SagaStats()
        self.runner = SagaRunner(
            store,
            self._sender,
            stats=self.stats,
            tell=tell,
            record_bytes=record_bytes,
            random=random,
        )

    def promise(self, route: Route) -> Promise | None:
        """The promise of a route that starts a saga."""
        name = route.config.saga
        if name is None:
            return None
        return self._starting(self._definitions[name])

    def _starting(self, saga: SagaConfig) -> SagaStart:
        return SagaStart(
            saga,
            self._store,
            record_bytes=self._record_bytes,
            random=random,
            new_token=_new_token,
        )

    def adopt(self, config: Config) -> None:
        """Start sagas by this configuration from now on; those that run keep their definition."""
        self._definitions = config.sagas

    async def begin(self, name: str, key: str, body: bytes, request_id: str) -> None:
        """Start a saga without a request; returns when it is committed, or was before.

        `key`: its id where the definition has none. Raises SagaInvalid, SagaConflict, and what a
        store refuses with.
        """
        saga = self._definitions[name]
        try:
            document = read_document(body)
        except Unusable as problem:
            raise SagaInvalid(f"A saga's input must be JSON: {problem}.") from None
        saga_id = saga_id_of(saga, document, key)
        held = {"x-request-id": request_id}
        accepted = Accepted(saga_id, saga, document, held, Listener.OUTBOUND)
        ask = begin_saga(accepted, _new_token(), random, self._store.now())
        check_same(await self._store.do(ask), ask)

    # --- start and end ----------------------------------------------------------------------------

    def start(self) -> None:
        """Begin with what a former process left."""
        self.runner.start()
        self._refreshing = asyncio.get_running_loop().create_task(self._refresh())

    async def _refresh(self) -> None:
        """Keep `latest` fresh while anything changes; other replicas tell nothing."""
        seen = -1
        while True:
            changes = self.runner.changes
            try:
                if seen != changes or self._store.shared:
                    await self._read()
                    seen = changes
            except StoreFailed:
                if not self._store.recovers:
                    return
            await asyncio.sleep(_REFRESH_SHARED if self._store.shared else _REFRESH)

    async def _read(self) -> None:
        await self.counts()
        kinds = [kind for kind in self.stats.counts if kind[1] in _UNFINISHED]
        asked = [
            self._store.do(ListSagas(state=_STUCK, limit=_SHOWN)),
            *(
                self._store.do(ListSagas(name=name, state=state, limit=_OLD, oldest_first=True))
                for name, state in kinds[:_KINDS]
            ),
            self._store.do(ListSagas(limit=_SHOWN)),
        ]
        stuck, *old, newest = await asyncio.gather(*asked)
        oldest: dict[str, float] = {}
        for record in (one for found in old for one in found):
            oldest[record.name] = min(oldest.get(record.name, record.created_at), record.created_at)
        first = sorted((one for found in old for one in found), key=lambda one: one.created_at)
        shown = {one.token: one for one in [*stuck, *first[:_SHOWN], *newest]}
        self._oldest = oldest
        self._shown = [operator_document(record) for record in shown.values()]

    def begin_drain(self, seconds: float) -> None:
        """The process ends in that time: go on only with what would be lost with the pod."""
        self._drained_at = self._store.now() + seconds
        if not self._store.dies_with_pod:
            self.runner.stop_claiming()

    @property
    def busy(self) -> bool:
        """Whether the drain should wait."""
        if self.runner.in_hand:
            return True
        next_due = self.runner.next_due
        return self._store.dies_with_pod and next_due is not None and next_due < self._drained_at

    async def stop(self) -> None:
        """End the tries in flight, and name what would be lost with the pod."""
        if self._refreshing is not None:
            self._refreshing.cancel()
        self.runner.stop_claiming()
        self._sender.tries.cut()
        await self.runner.ended(_LAST_TRIES)
        await self.runner.stop()
        if not (self._store.dies_with_pod and self._store.finishes):
            return
        for (name, state), number in sorted((await self._store.do(CountSagas())).items()):
            if state in _UNFINISHED:
                self.left += number
                fields = {"saga": name, "state": state, "sagas": number}
                _log.error(
                    "sagas are left in a store that is lost with the pod", extra={"fields": fields}
                )

    # --- what is shown ----------------------------------------------------------------------------

    @property
    def tries(self) -> list[StoredExchange]:
        """Those of steps in flight."""
        return list(self._sender.tries.exchanges)

    async def answer(self, carrier: Carrier, token: str) -> Answer | None:
        """The state at a saga's address, for the listener that started it; None: no such saga."""
        request = carrier.request
        record = await promised(carrier, self._store.do(GetSaga(token=token))) if token else None
        if record is None or unpack(record.input).listener is not request.terms.listener:
            return None
        if request.head.method not in ("GET", "HEAD"):
            return document_answer(carrier, 405, status_document(record), allow="GET, HEAD")
        return document_answer(carrier, 200, status_document(record))

    async def rows(
        self, *, name: str | None = None, state: str | None = None, limit: int = 100
    ) -> list[dict[str, Any]]:
        """The newest first."""
        found = await self._store.do(ListSagas(name=name, state=state, limit=limit))
        return [row_document(record) for record in found]

    async def counts(self) -> list[dict[str, Any]]:
        """How many of each saga and state."""
        self.stats.counts = await self._store.do(CountSagas())
        return self._counts()

    def _counts(self) -> list[dict[str, Any]]:
        return [
            {"saga": name, "state": state, "count": number}
            for (name, state), number in sorted(self.stats.counts.items())
        ]

    @property
    def latest(self) -> dict[str, Any]:
        """As of a moment ago, because a document cannot wait for the store: how many there are, how
        old the unfinished ones are, and the stuck, the oldest and the newest ones with their tries.
        """
        return {
            "counts": self._counts(),
            "unfinished": [self._unfinished(name) for name in sorted(self._oldest)],
            "sagas": self._shown,
        }

    def _unfinished(self, name: str) -> dict[str, Any]:
        counts = {state: self.stats.counts.get((name, state), 0) for state in _UNFINISHED}
        age = max(0.0, self.runner.now() - self._oldest[name])
        return {"saga": name, **counts, "oldest_s": round(age, 3)}

    async def show(self, which: str) -> dict[str, Any]:
        """Everything about one, by its token or its id. Raises NoSuchSaga."""
        return operator_document(await self._find(which))

    async def _find(self, which: str) -> SagaRecord:
        record = await self._store.do(GetSaga(token=which))
        if record is not None:
            return record
        for name in sorted({name for name, _ in await self._store.do(CountSagas())}):
            record = await self._store.do(GetSaga(name=name, id=which))
            if record is not None:
                return record
        raise NoSuchSaga(which)

    # --- orders -----------------------------------------------------------------------------------

    async def order(self, which: str, word: str) -> dict[str, Any] | None:
        """Obey an operator (resume, skip, abort); what it is then, None if it is not stuck.

        Raises NoSuchSaga, or ValueError for another word.
        """
        order = Order(word)
        record = await self._find(which)
        taken = await self._store.do(TakeSaga(record.token, [_STUCK], LEASE))
        if taken is None:
            return None
        accepted = unpack(taken.input)
        now = self.runner.now()
        saga = Saga.load(accepted.saga.rules, json.loads(taken.journal), now, random)
        saga.order(order, now)
        journal = json.dumps(saga.dump(), separators=(",", ":")).encode()
        # Also after an abort: its owner tells the result, and keeps it as long as it should.
        state = SagaState.UNDOING.value if saga.ended else saga.state.value
        await self._store.do(UpdateSaga(taken.ref, state, journal, release=True, due_in=0.0))
        return await self.show(record.token)


def _new_token() -> str:
    """128 random bits."""
    return urandom(16).hex()
