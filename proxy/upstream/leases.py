"""Protocols of what pools and discovery need from outside.

They only do bookkeeping. asyncio (or uvloop) provides the loop and the clock,
`proxy.upstream.connector` the connections.
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from proxy.errors import ConnectError
from proxy.upstream.address import Address
from proxy.wire.streams import UpstreamSession

OnClosed: TypeAlias = Callable[[UpstreamSession], None]
"""Called exactly once, when a session's connection is lost or closed."""

ConnectionFactory: TypeAlias = Callable[[OnClosed], Any]
"""Makes an asyncio protocol (by its methods) with a `session`."""

OnConnected: TypeAlias = Callable[[UpstreamSession | ConnectError], None]


class Connects(Protocol):
    """Opens connections for a pool."""

    def connect(
        self, address: Address, timeout: float, on_closed: OnClosed, on_done: OnConnected
    ) -> None:
        """Start one; `on_done` is called exactly once, from the loop, with its result.

        `timeout` covers TCP and TLS, in seconds.
        """


class Ticket(Protocol):
    """A claim to a later answer."""

    def cancel(self) -> None:
        """Cancel the claim: its callback is not called. No effect afterwards."""


class Scheduler(Protocol):
    """The part of an event loop that the synchronous code here uses."""

    def time(self) -> float:
        """Monotonic seconds."""

    def call_soon(self, callback: Callable[..., object], *args: Any) -> Ticket:
        """Call the callback in the loop's next turn."""

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Ticket:
        """Call the callback after `delay` seconds."""
