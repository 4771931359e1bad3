"""The store of the process and what keeps promises in it: made only where a file names a store."""

import logging

from proxy.config.model import StoreConfig
from proxy.exchange.idempotency import Idempotency, Keys
from proxy.exchange.promise import Promise
from proxy.routing.table import Route
from proxy.startup import CannotStart
from proxy.store.opening import make_store
from proxy.store.store import CannotOpen, Store

_log = logging.getLogger("proxy.store")


class Promises:
    """Opened before the listeners are, closed after them.

    `of_route` makes the promises of a route, in the order in which they are asked.
    """

    def __init__(self, config: StoreConfig) -> None:
        self._config = config
        self.store: Store = make_store(config)
        self._keys = Keys(self.store)

    def of_route(self, route: Route) -> list[Promise]:
        later: list[Promise] = []
        if route.config.policies.idempotency.on:
            return [Idempotency(self._keys, route.config, later), *later]
        return later

    async def open(self, patience: float) -> None:
        """Raises CannotStart if the store cannot be used within `patience` seconds."""
        try:
            await self.store.open(patience)
        except CannotOpen as error:
            raise CannotStart(str(error)) from None
        if self._config.dies_with_pod:
            _log.warning(
                "what the store keeps is lost with the pod (store.persistent): %s",
                self._config.url.text,
            )

    async def close(self) -> None:
        await self.store.close()
