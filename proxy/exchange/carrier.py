"""The part of an exchange that `queueing`, `retrying` and `fallback` use."""

from typing import Any

from proxy.exchange.request import Request
from proxy.exchange.script import SUSPENDED, Script


class Carrier(Script):
    """Carries one request: the exchange, as `queueing`, `retrying` and `fallback` know it."""

    __slots__ = ("request",)

    request: Request

    async def wait(self, until: float) -> Any:
        """Wait for the next event, ALARM at `until` (monotonic seconds) at the latest.

        Raises the ProxyError that ends the exchange, if it was woken with one.
        """
        self.expect(until)
        await SUSPENDED
        return self.heard()

    def expect(self, until: float) -> None:
        """What `wait` does before it suspends; `heard` is what it does then.

        The three in one coroutine cost less than another coroutine for each wait.
        """
        raise NotImplementedError

    async def pause(self, seconds: float) -> None:
        """The wait before another attempt."""
        raise NotImplementedError
