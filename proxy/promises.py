"""The store of the process and what keeps promises in it: made only where a file names a store."""

import asyncio
import logging
from typing import TYPE_CHECKING

from proxy.config.model import Config, StoreConfig
from proxy.config.outbox_checks import needs_outbox
from proxy.delivery.well_known import WellKnown
from proxy.exchange.gateway import Gateway
from proxy.exchange.idempotency import Idempotency, Keys
from proxy.exchange.promise import Promise
from proxy.routing.table import Route
from proxy.startup import CannotStart
from proxy.store.opening import make_store
from proxy.store.operations import CountEntries
from proxy.store.store import CannotOpen, Store

if TYPE_CHECKING:
    from proxy.delivery.outbox import Outbox

_log = logging.getLogger("proxy.store")


class Promises:
    """Opened before the listeners are, closed after them.

    `of_route` makes the promises of a route, in the order in which they are asked. `outbox` is made
    when a route accepts, or the store has entries of it.
    """

    _gateway: Gateway

    def __init__(self, config: StoreConfig) -> None:
        self._config = config
        self.store: Store = make_store(config)
        self._keys = Keys(self.store)
        self.outbox: Outbox | None = None
        self._places = WellKnown()
        self._starting: asyncio.Task[None] | None = None
        self._opened = False

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
                self._config.url.text,
            )
        left = await self.store.do(CountEntries())
        if self.outbox is None and left:
            self._make_outbox()
        if self.outbox is not None:
            await self.outbox.start()

    # --- for bindings and reloads -----------------------------------------------------------------

    def of_route(self, route: Route) -> list[Promise]:
        later: list[Promise] = []
        accepting = None if self.outbox is None else self.outbox.promise(route)
        if accepting is not None:
            later.append(accepting)
        if route.config.policies.idempotency.on:
            return [Idempotency(self._keys, route.config, later), *later]
        return later

    def adopt(self, config: Config) -> None:
        """Another configuration is about to be used: make what it needs."""
        self._need(config)

    def adopted(self) -> None:
        """The gateway has another configuration."""
        if self.outbox is not None:
            self.outbox.reconfigure()

    def _need(self, config: Config) -> None:
        if self.outbox is None and needs_outbox(config):
            outbox = self._make_outbox()
            if self._opened:
                self._starting = asyncio.get_running_loop().create_task(outbox.start())

    def _make_outbox(self) -> "Outbox":
        """Imported only where something is accepted."""
        from proxy.delivery.outbox import Outbox

        outbox = self.outbox = Outbox(
            self.store, self._gateway, record_bytes=self._config.record_bytes
        )
        self._places.add("outbox/", outbox.places.answer)
        return outbox

    # --- the end ----------------------------------------------------------------------------------

    def begin_drain(self, seconds: float) -> None:
        """The process ends in that time: claim nothing more that another process will do."""
        if self.outbox is not None:
            self.outbox.begin_drain(seconds)

    @property
    def busy(self) -> bool:
        """Whether the drain should wait for deliveries."""
        return self.outbox is not None and self.outbox.busy

    async def finish(self) -> int:
        """End the deliveries; returns how many entries are lost with the pod."""
        if self.outbox is None or not self._opened:
            return 0
        await self.outbox.stop()
        return self.outbox.left

    async def close(self) -> None:
        await self.store.close()
