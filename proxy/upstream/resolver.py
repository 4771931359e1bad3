"""Resolves names to addresses: literals without a look-up, one look-up at a time per name."""

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from ipaddress import ip_address
from typing import Any, TypeAlias

from proxy.errors import DnsFailure
from proxy.upstream.shortages import look_up_shortage
from proxy.upstream.tasks import Tasks
from proxy.upstream.threads import in_thread

LOOK_UPS_AT_ONCE = 256
"""Maximum concurrent look-ups; each costs a thread, 25 KiB while its name servers hang."""

Addresses: TypeAlias = tuple[str, ...]
"""Distinct IP addresses without brackets; never empty as a result."""

Lookup: TypeAlias = Callable[[str], Coroutine[Any, Any, Sequence[str]]]
"""Looks one name up. Raises OSError (socket.gaierror) or ValueError (an invalid name)."""

OnLookedUp: TypeAlias = Callable[[Addresses | DnsFailure], None]


def literal(host: str) -> str | None:
    """The canonical form if `host` is an address, None if it is a name."""
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        return str(ip_address(bare))
    except ValueError:
        return None


async def system_lookup(host: str) -> Sequence[str]:
    """The answer of the system's resolver, with hosts file, search domains and service modules.

    It blocks while name servers hang, so each call has its own thread (docs/adr/0038).
    """
    return await in_thread(partial(_getaddrinfo, host))


def _getaddrinfo(host: str) -> Sequence[str]:
    """Addresses in the order of preference (RFC 6724).

    Addresses of a family that this machine does not have are omitted (AI_ADDRCONFIG, RFC 3493
    section 6.1), except for localhost, where the loopback interface is enough.
    """
    local = host == "localhost" or host.endswith(".localhost")
    flags = 0 if local else socket.AI_ADDRCONFIG
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=flags)
    except socket.gaierror:
        # Without a free descriptor glibc reports an unknown name.
        socket.socket(type=socket.SOCK_DGRAM).close()
        raise
    except UnicodeError:
        raise ValueError("a part of its name between two dots is longer than 63 bytes") from None
    return [str(info[4][0]) for info in found]


class _Flight:
    """A running or queued look-up, and its waiters."""

    __slots__ = ("begun", "on_begun", "on_done")

    def __init__(self) -> None:
        self.begun = False
        self.on_begun: list[Callable[[], None]] = []
        self.on_done: list[OnLookedUp] = []


class Resolver:
    """Runs look-ups; concurrent requests for one name share a look-up.

    At most `at_once` run; the others are queued.
    """

    def __init__(
        self, tasks: Tasks, lookup: Lookup = system_lookup, at_once: int = LOOK_UPS_AT_ONCE
    ) -> None:
        self._tasks = tasks
        self._lookup = lookup
        self._at_once = at_once
        self._flights: dict[str, _Flight] = {}
        self._line: deque[str] = deque()
        self._running = 0

    def look_up(self, host: str, on_begun: Callable[[], None], on_done: OnLookedUp) -> None:
        """Look a name up; `on_done` is called exactly once, from the loop.

        `on_begun` is called once before that, when the look-up leaves the queue, perhaps at once.
        """
        flight = self._flights.get(host)
        if flight is None:
            flight = self._flights[host] = _Flight()
            self._line.append(host)
        flight.on_done.append(on_done)
        if flight.begun:
            on_begun()
            return
        flight.on_begun.append(on_begun)
        self._begin()

    def _begin(self) -> None:
        while self._line and self._running < self._at_once:
            host = self._line.popleft()
            self._running += 1
            flight = self._flights[host]
            flight.begun = True
            task = self._tasks.start(self._lookup(host))
            task.add_done_callback(partial(self._landed, host))
            for on_begun in flight.on_begun:
                on_begun()

    def _landed(self, host: str, task: asyncio.Task[Sequence[str]]) -> None:
        self._running -= 1
        answer = self._answer(host, task)
        for on_done in self._flights.pop(host).on_done:
            on_done(answer)
        self._begin()

    def _answer(self, host: str, task: asyncio.Task[Sequence[str]]) -> Addresses | DnsFailure:
        if task.cancelled():
            return DnsFailure(f"The look-up of {host} was cancelled: the proxy is shutting down.")
        error = task.exception()
        if error is None:
            addresses = tuple(dict.fromkeys(task.result()))
            if addresses:
                return addresses
            return DnsFailure(f"{host} has no address: check its records in the DNS.")
        shortage = look_up_shortage(error, host)
        if shortage is not None:
            return shortage
        if not isinstance(error, (OSError, ValueError)):
            self._tasks.report(f"The look-up of {host} failed unexpectedly", error)
        return DnsFailure(
            f"{host} could not be looked up ({describe(error)}): "
            "check its spelling and this machine's DNS settings."
        )


def describe(error: BaseException) -> str:
    """An exception's own message, or its type without one."""
    strerror = error.strerror if isinstance(error, OSError) else None
    return str(strerror or error or type(error).__name__)
