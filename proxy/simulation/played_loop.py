"""The loop of a simulation: a granted permit reaches its exchange as late as it did in the log."""

from collections.abc import Callable
from typing import Any

from proxy.exchange.events import GRANTED
from proxy.exchange.exchange import Exchange
from proxy.simulation.sides import PlayedAlarm
from proxy.simulation.virtual_time import Handle, VirtualLoop


class PlayedLoop(VirtualLoop):
    """An exchange is told of its permit in the next turn of the loop, and a turn takes time: what
    comes in between finds the permit taken, and the attempt not yet begun.
    """

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: object = None
    ) -> Handle:
        if args == (GRANTED,):
            exchange = getattr(callback, "__self__", None)
            alarm = exchange.request.stream.alarm if isinstance(exchange, Exchange) else None
            if isinstance(alarm, PlayedAlarm):
                return self.call_at(alarm.rings(self.now), callback, *args)
        return super().call_soon(callback, *args, context=context)
