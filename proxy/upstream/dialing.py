"""Connects to an endpoint or, if its address fails, to another address of its name.

    first address ──fails──▶ next address ──fails──▶ …      at once
          └──250 ms without an answer──▶ next address in parallel, if the name has both families

It is one connect with one time limit (Happy Eyeballs, RFC 8305 sections 4 and 5). A TLS failure and
a shortage of this process are final, because the next address would fail in the same way.
"""

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from proxy.config.model import UpstreamProtocol
from proxy.errors import ConnectError, TlsFailure
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.leases import Scheduler, Ticket
from proxy.upstream.pool import Pool
from proxy.wire.streams import UpstreamStream

ATTEMPT_DELAY: Final = 0.25
"""Seconds until the next address is tried in parallel (RFC 8305 section 8)."""
MOST_ADDRESSES: Final = 16


class Connected:
    """A lease, its endpoint, and the pool that it goes back to.

    `failed`: the endpoints whose connect failed before that.
    """

    __slots__ = ("endpoint", "failed", "pool", "stream")

    def __init__(
        self, endpoint: Endpoint, pool: Pool, stream: UpstreamStream, failed: list[Endpoint]
    ) -> None:
        self.endpoint = endpoint
        self.pool = pool
        self.stream = stream
        self.failed = failed


class Alternatives(Protocol):
    """The other addresses of an endpoint's name."""

    def dual(self, endpoint: Endpoint) -> bool:
        """Whether its name has addresses of both families."""

    def alternative(self, tried: list[Endpoint]) -> Endpoint | None:
        """The next one to try after these, or None."""


class Dial:
    """A `Ticket`. `on_ready` is called exactly once, from the loop, unless it was cancelled."""

    __slots__ = (
        "_deadline",
        "_error",
        "_failed",
        "_loop",
        "_on_ready",
        "_others",
        "_protocol",
        "_tickets",
        "_timer",
        "_tried",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        others: Alternatives | None,
        loop: Scheduler,
        on_ready: Callable[[Connected | ConnectError], None],
        timeout: float,
        protocol: UpstreamProtocol | None = None,
    ) -> None:
        """`others` None: only this endpoint. `timeout`: seconds for everything except waits for
        room in a pool. `protocol`: of the connection; None: the endpoint's usual one.
        """
        self._others = others
        self._protocol = protocol or endpoint.address.protocol
        self._loop = loop
        self._on_ready = on_ready
        self._deadline = loop.time() + timeout
        self._tried: list[Endpoint] = []
        self._failed: list[Endpoint] = []
        self._tickets: dict[Endpoint, Ticket] = {}
        self._error: ConnectError | None = None
        self._timer: Ticket | None = None
        self._request(endpoint, timeout)

    def cancel(self) -> None:
        """Cancel it: no callback is called. No effect afterwards."""
        self._stop_timer()
        tickets, self._tickets = self._tickets, {}
        for ticket in tickets.values():
            ticket.cancel()

    def _request(self, endpoint: Endpoint, seconds: float) -> None:
        self._tried.append(endpoint)
        pool = endpoint.pool_of(self._protocol)
        self._tickets[endpoint] = pool.request(partial(self._answered, endpoint, pool), seconds)
        others = self._others
        if others is not None and others.dual(endpoint):
            self._timer = self._loop.call_later(ATTEMPT_DELAY, self._on_time)

    def _answered(
        self, endpoint: Endpoint, pool: Pool, answer: UpstreamStream | ConnectError
    ) -> None:
        self._tickets.pop(endpoint, None)
        if isinstance(answer, UpstreamStream):
            self._finish(Connected(endpoint, pool, answer, self._failed))
            return
        self._failed.append(endpoint)
        if self._error is None:
            self._error = answer
        if answer.condition is None or isinstance(answer, TlsFailure):
            self._finish(answer)
        elif not self._next() and not self._tickets:
            self._finish(self._error)

    def _on_time(self) -> None:
        self._timer = None
        self._next()

    def _next(self) -> bool:
        """Try another address; False: there is none, or no time left."""
        self._stop_timer()
        left = self._deadline - self._loop.time()
        if self._others is None or left <= 0 or len(self._tried) >= MOST_ADDRESSES:
            return False
        endpoint = self._others.alternative(self._tried)
        if endpoint is None:
            return False
        pool = endpoint.pool_of(self._protocol)
        stream = pool.take()
        if stream is not None:
            self._finish(Connected(endpoint, pool, stream, self._failed))
        else:
            self._request(endpoint, left)
        return True

    def _finish(self, answer: Connected | ConnectError) -> None:
        self.cancel()
        self._on_ready(answer)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
