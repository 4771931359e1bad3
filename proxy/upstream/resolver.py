"""Names to addresses: literals without a look-up, one look-up at a time for each name."""

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
"""Each costs a thread, 25 KiB while its name servers hang."""

Addresses: TypeAlias = tuple[str, ...]
"""IP addresses, without brackets, none of them twice; never empty where it is a result."""

Lookup: TypeAlias = Callable[[str], Coroutine[Any, Any, Sequence[str]]]
"""Looks one name up. Raises OSError (socket.gaierror) or ValueError (no name at all)."""

OnLookedUp: TypeAlias = Callable[[Addresses | DnsFailure], None]


def literal(host: str) -> str | None:
    """The address that `host` is, in its canonical form, or None: then it is a name."""
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        return str(ip_address(bare))
    except ValueError:
        return None


async def system_lookup(host: str) -> Sequence[str]:
    """What the system's resolver says: hosts file, search domains, name service modules and all.

    It blocks for as long as the name servers hang, so each call has a thread (docs/adr/0038).
    """
    return await in_thread(partial(_getaddrinfo, host))


def _getaddrinfo(host: str) -> Sequence[str]:
    """Addresses in the order in which they are to be tried (RFC 6724).

    Those of a family that this machine has no address of are left out (AI_ADDRCONFIG, RFC 3493
    section 6.1), except for localhost, where the loopback interface is enough.
    """
    local = host == "localhost" or host.endswith(".localhost")
    flags = 0 if local else socket.AI_ADDRCONFIG
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=flags)
    except socket.gaierror:
        # Without a descriptor for its socket or its files, glibc says that the name is not known.
        socket.socket(type=socket.SOCK_DGRAM).close()
        raise
    return [str(info[4][0]) for info in found]


class _Flight:
    """A look-up that is under way or in line, and those who wait for it."""

    __slots__ = ("begun", "on_begun", "on_done")

    def __init__(self) -> None:
        self.begun = False
        self.on_begun: list[Callable[[], None]] = []
        self.on_done: list[OnLookedUp] = []


class Resolver:
    """Runs look-ups; whoever asks for a name that is being looked up gets the same answer.

    At most `at_once` are under way; the others wait in line.
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

        `on_begun` is called once before, when the look-up leaves the line: it may be now.
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
            return DnsFailure(f"The look-up of {host} was given up: the proxy is shutting down.")
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
            self._tasks.report(f"The look-up of {host} failed in an unforeseen way", error)
        return DnsFailure(
            f"{host} could not be looked up ({describe(error)}): "
            "check its spelling and this machine's DNS settings."
        )


def describe(error: BaseException) -> str:
    """An exception in the words of its maker, or its type where it has none."""
    strerror = error.strerror if isinstance(error, OSError) else None
    return str(strerror or error or type(error).__name__)
