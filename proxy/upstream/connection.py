"""What the pool needs of the things around it, as protocols.

The pool keeps books; it does not know what a connection speaks, how one is opened or what turns
the clock. `proxy.wire` provides the connections, asyncio (or uvloop) the loop.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from proxy.errors import ConnectError

if TYPE_CHECKING:
    from proxy.upstream.endpoint import Endpoint


class PooledConnection(Protocol):
    """A connection as the pool sees it; it belongs to one exchange at a time, or is idle."""

    endpoint: Any
    idle_since: float

    @property
    def usable(self) -> bool:
        """Open, no exchange on it, and neither an end nor a stray byte was seen."""

    @property
    def exchanges(self) -> int:
        """Exchanges begun on it so far."""

    def close(self) -> None:
        """End it in good order, what is buffered included."""

    def abort(self) -> None:
        """End it at once; what is buffered is dropped. Harmless on a closed one."""


OnClosed: TypeAlias = Callable[[PooledConnection], None]
"""Called exactly once, when the transport is lost or closed, busy or idle."""

ConnectionFactory: TypeAlias = Callable[[OnClosed], Any]
"""Makes what is at once an asyncio protocol, by its methods, and a `PooledConnection`."""

OnConnected: TypeAlias = Callable[[PooledConnection | ConnectError], None]


class Connects(Protocol):
    """Opens connections for a pool."""

    def connect(
        self, endpoint: "Endpoint", timeout: float, on_closed: OnClosed, on_done: OnConnected
    ) -> None:
        """Start one; `on_done` hears exactly once, from the loop, what became of it.

        `timeout` covers TCP and TLS, in seconds.
        """


class Ticket(Protocol):
    """A claim to an answer that comes later."""

    def cancel(self) -> None:
        """Give the claim up: its callback is not called any more. Harmless afterwards."""


class Scheduler(Protocol):
    """The part of an event loop that the synchronous code here uses."""

    def time(self) -> float:
        """Monotonic seconds."""

    def call_soon(self, callback: Callable[..., object], *args: Any) -> Ticket:
        """Call it in the loop's next turn."""

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Ticket:
        """Call it after `delay` seconds."""
