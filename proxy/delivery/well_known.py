"""The addresses under ``/.well-known/resilience-proxy/``, by what answers for them."""

from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from proxy.exchange.answers import Answer
from proxy.exchange.carrier import Carrier
from proxy.exchange.well_known import WELL_KNOWN

Handler: TypeAlias = Callable[[Carrier, str], Coroutine[None, Any, Answer | None]]
"""Gets the rest of the path after its prefix; None: it does not know this address."""


class WellKnown:
    """Finds the handler of an address."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}

    def add(self, prefix: str, handler: Handler) -> None:
        """`prefix` follows ``/.well-known/resilience-proxy/``, and ends with a slash."""
        self._handlers[prefix] = handler

    async def answer(self, carrier: Carrier) -> Answer | None:
        path = carrier.request.head.path.removeprefix(WELL_KNOWN)
        for prefix, handler in self._handlers.items():
            if path.startswith(prefix):
                return await handler(carrier, path.removeprefix(prefix))
        return None
