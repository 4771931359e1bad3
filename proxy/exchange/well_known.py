"""Addresses of the proxy's own on a listener: the state of what was accepted there.

An address that the store does not know is an ordinary request and takes its route, because another
proxy's may be meant.
"""

from collections.abc import Coroutine
from time import monotonic
from typing import Any, Final, Protocol

from proxy.errors import ProxyError
from proxy.exchange.answers import Answer
from proxy.exchange.exchange import Exchange

WELL_KNOWN: Final = "/.well-known/resilience-proxy/"


class Places(Protocol):
    """Answers for these addresses. (A protocol: only their requests pay for its slower calls.)"""

    def answer(self, carrier: Any) -> Coroutine[None, Any, Any]:
        """An `Answer`; None: the request takes its route."""


class WellKnownExchange(Exchange):
    """A request for one of these addresses."""

    __slots__ = ("known",)

    known: Places

    async def run(self) -> None:
        answer: Answer | None = None
        failure: Exception | None = None
        try:
            answer = await self.known.answer(self)
        except ProxyError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - a bug in one request must not affect others
            failure = error
        if failure is not None:
            self._fail(failure)
        elif answer is not None:
            self._commit(answer)
        else:
            self.request.timing.started = monotonic()
            await Exchange.run(self)
            return
        self._settle()
