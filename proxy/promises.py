"""The store of the process and what keeps promises in it: made only where a file names a store."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from proxy.config.model import Config
from proxy.config.outbox_checks import needs_outbox
from proxy.config.store_model import StoreConfig
from proxy.delivery.well_known import WellKnown
from proxy.errors import StoreFailed
from proxy.exchange.gateway import Gateway
from proxy.exchange.held_key import Keys
from proxy.exchange.idempotency import Idempotency
from proxy.exchange.promise import Promise
from proxy.policies.outbox import ResultConfig
from proxy.routing.table import Route
from proxy.startup import CannotStart
from proxy.store.opening import make_store
from proxy.store.operations import CountEntries, CountSagas, Put
from proxy.store.store import CannotOpen, Store

if TYPE_CHECKING:
    from proxy.delivery.outbox import Outbox
    from proxy.delivery.sagas import Sagas

_log = logging.getLogger("proxy.store")

_AGAIN: Final = 1.0
"""Seconds until what a store refused that could not be reached is asked for again."""


class Promises:
    """Opened before the listeners are, closed after them.

    `of_route` makes the promises of a route, in the order in which they are asked. `outbox` is made
    when a route accepts, or the store has entries of it; `sagas` when there are some in the
    configuration or the store.
    """

    _gateway: Gateway

    def __init__(self, config: StoreConfig) -> None:
        self._config = config
        self.store: Store = _make_store(config)
        self._keys = Keys(self.store)
        self.outbox: Outbox | None = None
        self.sagas: Sagas | None = None
        self._places = WellKnown()
        self._starting: asyncio.Task[None] | None = None
        self._opened = False
        self._begun = False

    def serve(self, gateway: Gateway) -> None:
        """Keep the promises of this gateway, whose bindings ask `of_route`."""
        self._gateway = gateway
        for gate in gateway.gates.values():
            gate.places = self._places
        self._need(gateway.config)

    async def open(self, patience: float) -> None:
        """Raises CannotStart if the store cannot be used within `patience` seconds."""
        try:
            await self.store.open(patience)
        except CannotOpen as error:
            raise CannotStart(str(error)) from None
        self._opened = True
        if self._config.dies_with_pod:
            _log.warning(
                "what the store keeps is lost with the pod (store.persistent): %s",
                self._config.url.shown,
            )
        try:
            await self._begin()
        except StoreFailed:
            if not self.store.recovers:
                raise
            self._starting = asyncio.get_running_loop().create_task(self._begin_later())

    async def _begin(self) -> None:
        """Begin with what a former process left, and with what the configuration needs."""
        left = await self.store.do(CountEntries())
        sagas = await self.store.do(CountSagas())
        if self.outbox is None and left:
            self._make_outbox()
        if self.sagas is None and sagas:
            self._make_sagas()
        self._begun = True
        if self.sagas is not None:
            self.sagas.start()
        if self.outbox is not None:
            await self._start(self.outbox)

    async def _begin_later(self) -> None:
        """Begin when the store's server can be reached."""
        changed = asyncio.Event()
        self.store.watch(changed.set)
        while not self._begun:
            await changed.wait()
            changed.clear()
            with suppress(StoreFailed):
                await self._begin()

    # --- for bindings and reloads -----------------------------------------------------------------

    def of_route(self, route: Route) -> list[Promise]:
        later: list[Promise] = []
        accepting = None if self.outbox is None else self.outbox.promise(route)
        if accepting is not None:
            later.append(accepting)
        starting = None if self.sagas is None else self.sagas.promise(route)
        if starting is not None:
            later.append(starting)
        if route.config.policies.idempotency.on and route.config.respond is None:
            return [Idempotency(self._keys, route.config, later), *later]
        return later

    def adopt(self, config: Config) -> None:
        """Another configuration is about to be used: make what it needs."""
        self._need(config)
        if self.sagas is not None:
            self.sagas.adopt(config)

    def adopted(self) -> None:
        """The gateway has another configuration."""
        if self.outbox is not None:
            self.outbox.reconfigure()

    def _need(self, config: Config) -> None:
        told = any(saga.result is not None for saga in config.sagas.values())
        if self.outbox is None and (told or needs_outbox(config)):
            self._begin_outbox()
        if self.sagas is None and config.sagas:
            sagas = self._make_sagas()
            if self._begun:
                sagas.start()

    def _begin_outbox(self) -> "Outbox":
        outbox = self._make_outbox()
        if self._begun:
            self._starting = asyncio.get_running_loop().create_task(self._start(outbox))
        return outbox

    async def _start(self, outbox: "Outbox") -> None:
        try:
            await outbox.start()
        except StoreFailed as failure:
            if self.store.recovers:
                self._starting = asyncio.get_running_loop().create_task(self._start_later(outbox))
            else:
                _log.error("the outbox does not begin: %s", failure.detail)

    async def _start_later(self, outbox: "Outbox") -> None:
        await asyncio.sleep(_AGAIN)
        await self._start(outbox)

    def _make_outbox(self) -> "Outbox":
        """Imported only where something is accepted."""
        from proxy.delivery.outbox import Outbox

        outbox = self.outbox = Outbox(
            self.store, self._gateway, record_bytes=self._config.record_bytes
        )
        self._places.add("outbox/", outbox.places.answer)
        return outbox

    def _make_sagas(self) -> "Sagas":
        """Imported only where there are sagas."""
        from proxy.delivery.sagas import Sagas

        sagas = self.sagas = Sagas(
            self.store, self._gateway, record_bytes=self._config.record_bytes, tell=self._tell
        )
        self._places.add("sagas/", sagas.answer)
        return sagas

    def _tell(self, token: str, target: ResultConfig, document: Mapping[str, Any]) -> Put:
        """The entry that tells how a saga ended. Its id is the saga's: it is told once."""
        outbox = self.outbox or self._begin_outbox()
        from proxy.delivery.results import put_result

        put = put_result(target, token, document)
        outbox.worker.queue(put.queue)  # from now on the worker looks at it
        return put

    # --- the end ----------------------------------------------------------------------------------

    def begin_drain(self, seconds: float) -> None:
        """The process ends in that time: claim nothing more that another process will do."""
        for part in (self.sagas, self.outbox):
            if part is not None:
                part.begin_drain(seconds)

    @property
    def busy(self) -> bool:
        """Whether the drain should wait for deliveries and sagas."""
        return any(part is not None and part.busy for part in (self.sagas, self.outbox))

    async def finish(self) -> int:
        """End deliveries and sagas; returns how many are lost with the pod."""
        left = 0
        if self._starting is not None:
            self._starting.cancel()
        for part in (self.sagas, self.outbox) if self._opened else ():
            if part is not None:
                await part.stop()
                left += part.left
        return left

    async def close(self) -> None:
        await self.store.close()


def _make_store(config: StoreConfig) -> Store:
    try:
        return make_store(config)
    except CannotOpen as error:
        raise CannotStart(str(error)) from None
