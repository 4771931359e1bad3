"""The outbox tables of the process: made only where a file has some."""

import logging
from typing import TYPE_CHECKING

from proxy.config.model import Config
from proxy.errors import StoreFailed
from proxy.exchange.gateway import Gateway
from proxy.startup import CannotStart

if TYPE_CHECKING:
    from proxy.delivery.tables.tables import OutboxTables
    from proxy.promises import Promises


_log = logging.getLogger("proxy.outbox")


class Tables:
    """`running` None: no configuration had a table so far."""

    def __init__(self) -> None:
        self._gateway: Gateway | None = None
        self._promises: Promises | None = None
        self.running: OutboxTables | None = None

    def need(self, config: Config) -> None:
        """Import what this configuration needs. Raises CannotStart."""
        if not config.outbox_tables:
            return
        try:
            import proxy.delivery.tables.tables  # noqa: F401
        except ModuleNotFoundError as error:
            if error.name != "asyncpg":
                raise
            raise CannotStart(
                "outbox_tables needs the extra postgres: pip install 'resilience-proxy[postgres]'"
            ) from None

    def start(self, gateway: Gateway, promises: "Promises | None") -> None:
        """Deliver the rows of this gateway's tables."""
        self._gateway, self._promises = gateway, promises
        self.adopted()

    def adopted(self) -> None:
        """The gateway has another configuration."""
        if self._gateway is None:
            return
        if self.running is None and self._gateway.config.outbox_tables:
            try:
                self.need(self._gateway.config)
            except CannotStart as problem:
                _log.error("no row is delivered: %s", problem)
                return
            from proxy.delivery.tables.tables import OutboxTables

            self.running = OutboxTables(self._gateway, self._start_saga)
        if self.running is not None:
            self.running.reconfigure()

    async def _start_saga(self, saga: str, key: str, body: bytes, request_id: str) -> None:
        sagas = None if self._promises is None else self._promises.sagas
        if sagas is None:
            raise StoreFailed("There is no store for sagas.")
        await sagas.begin(saga, key, body, request_id)

    # --- the end ----------------------------------------------------------------------------------

    def begin_drain(self) -> None:
        if self.running is not None:
            self.running.begin_drain()

    @property
    def busy(self) -> bool:
        """Whether the drain should wait."""
        return self.running is not None and self.running.busy

    async def finish(self) -> None:
        if self.running is not None:
            await self.running.stop()
