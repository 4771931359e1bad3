"""What a script that carries a whole request is, to the pages that it is written on."""

from typing import Any

from proxy.exchange.attempt import Attempt
from proxy.exchange.request import Request
from proxy.exchange.script import Script


class Carrier(Script):
    """Carries one request: the exchange, as `queueing`, `retrying` and `fallback` know it.

    `under_way`: the attempts that are under way.
    """

    __slots__ = ("request", "under_way")

    request: Request
    under_way: list[Attempt]

    async def wait(self, until: float) -> Any:
        """What happens next; ALARM at `until` (monotonic seconds) at the latest.

        Raises what ends the exchange: a ProxyError that something woke it with.
        """
        raise NotImplementedError

    async def pause(self, seconds: float) -> None:
        """The wait before another attempt."""
        raise NotImplementedError
