"""Opens all addresses of the proxy, or reports all that cannot be bound and what to do."""

import errno
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

from proxy.config.model import Config, Listener
from proxy.config.overrides import ADMIN, INBOUND, OUTBOUND, variable_of
from proxy.config.server_model import Address
from proxy.wire.tls import ListenerContext, alpn_protocols

Bound = tuple[str, int]
Open = Callable[[Address], Awaitable[Bound]]

_KEYS = {
    OUTBOUND: "listeners.outbound.address",
    INBOUND: "listeners.inbound.address",
    ADMIN: "admin.address",
}
_FREE = {OUTBOUND: 17070, INBOUND: 17071, ADMIN: 17072}
"""Ports that the advice proposes, far from the usual ones."""


class CannotListen(Exception):
    """Addresses cannot be bound; the text names all of them, and what to do."""


class Listening:
    """Tries every address, so that one start reports all that are in use."""

    def __init__(self) -> None:
        self._refused: list[tuple[str, Address, OSError]] = []
        self.bound: dict[str, list[Address]] = {}

    async def open(self, flag: str, address: Address, opener: Open) -> Address | None:
        """The bound address; None if that failed, which `complete` reports."""
        try:
            bound = Address(*await opener(address))
        except OSError as error:
            self._refused.append((flag, address, error))
            return None
        self.bound.setdefault(flag, []).append(bound)
        return bound

    def complete(self, sources: Mapping[str, str]) -> None:
        """Raises CannotListen if an address could not be bound.

        `sources`: the source of each address, by flag.
        """
        if self._refused:
            raise CannotListen(_told(self._refused, sources))


def listener_contexts(config: Config) -> dict[Listener, ListenerContext]:
    """The contexts of the listeners with TLS. Raises UnusableTls."""
    return {
        listener: ListenerContext(
            f"listeners.{listener.value}.tls", tls, alpn_protocols(config.listeners.of(listener))
        )
        for listener in Listener
        if (tls := config.listeners.of(listener).tls) is not None
    }


def banner(
    bound: Mapping[str, Sequence[Address]], service: str, scheme: str, file: str
) -> Iterator[str]:
    """The addresses, and how to use them. `scheme` is the outbound listener's."""
    shown = {flag: ", ".join(map(str, bound[flag])) for flag in (OUTBOUND, INBOUND, ADMIN)}
    door = local_url(bound[OUTBOUND][0], scheme)
    use = {
        OUTBOUND: f"the service's own calls:  export HTTP_PROXY={door}",
        INBOUND: f"for its callers, forwarded to {service}",
        ADMIN: f"status page:  {local_url(bound[ADMIN][0])}/   also /metrics /health/ready",
    }
    yield f"resilience-proxy is serving (configuration: {file})"
    for flag, text in use.items():
        yield f"  {flag:8}  {shown[flag]}   {text}"


def local_url(address: Address, scheme: str = "http") -> str:
    """The URL of an address for this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(address.host, address.host)
    return f"{scheme}://{Address(host, address.port)}"


def _told(refused: list[tuple[str, Address, OSError]], sources: Mapping[str, str]) -> str:
    lines = [
        f"cannot listen on {address} ({_KEYS[flag]}, {sources[flag]}): {_reason(error)}"
        for flag, address, error in refused
    ]
    flags = list(dict.fromkeys(flag for flag, _, _ in refused))
    advice = " ".join(f"--{flag} {_other(flag, refused)}" for flag in flags)
    names = " or ".join(f"${variable_of(flag)}" for flag in flags)
    lines.append(f"choose another address: run {advice} (also {names}, or in the file)")
    return "\n".join(lines)


def _other(flag: str, refused: list[tuple[str, Address, OSError]]) -> str:
    address, error = next((address, error) for each, address, error in refused if each == flag)
    if error.errno == errno.EADDRNOTAVAIL:
        return str(Address("127.0.0.1", address.port))  # the host is not an address of this machine
    taken = {each.port for _, each, _ in refused}
    port = _FREE[flag]
    while port in taken:
        port += 1000
    return str(Address(address.host, port))


def _reason(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "another process listens there"
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address"
        case errno.EACCES:
            return "ports below 1024 need a privilege"
        case _:
            return error.strerror or str(error)
