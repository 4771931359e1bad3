"""Names to addresses: literals without a look-up, one look-up at a time for each name."""

import asyncio
import socket
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from ipaddress import ip_address
from typing import Any, TypeAlias

from proxy.errors import DnsFailure
from proxy.upstream.tasks import Tasks

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
    """What the system's resolver says: hosts file, search domains and all.

    Addresses of a family that this machine has no address of are left out (AI_ADDRCONFIG, RFC
    3493 section 6.1), except for localhost, where the loopback interface is enough.
    """
    local = host == "localhost" or host.endswith(".localhost")
    found = await asyncio.get_running_loop().getaddrinfo(
        host, None, type=socket.SOCK_STREAM, flags=0 if local else socket.AI_ADDRCONFIG
    )
    return [str(info[4][0]) for info in found]


class Resolver:
    """Runs look-ups; who asks for a name that is being looked up gets the same answer."""

    def __init__(self, tasks: Tasks, lookup: Lookup = system_lookup) -> None:
        self._tasks = tasks
        self._lookup = lookup
        self._flights: dict[str, list[OnLookedUp]] = {}

    def look_up(self, host: str, on_done: OnLookedUp) -> None:
        """Look a name up; `on_done` hears exactly once, from the loop."""
        flight = self._flights.get(host)
        if flight is not None:
            flight.append(on_done)
            return
        self._flights[host] = [on_done]
        task = self._tasks.start(self._lookup(host))
        task.add_done_callback(partial(self._landed, host))

    def _landed(self, host: str, task: asyncio.Task[Sequence[str]]) -> None:
        answer = self._answer(host, task)
        for on_done in self._flights.pop(host):
            on_done(answer)

    def _answer(self, host: str, task: asyncio.Task[Sequence[str]]) -> Addresses | DnsFailure:
        if task.cancelled():
            return DnsFailure(f"The look-up of {host} was given up: the proxy is shutting down.")
        error = task.exception()
        if error is None:
            addresses = tuple(dict.fromkeys(task.result()))
            if addresses:
                return addresses
            return DnsFailure(f"{host} has no address: check its records in the DNS.")
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
