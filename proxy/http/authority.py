"""Authorities: the ``host[:port]`` of a Host field or a URL (RFC 3986 section 3.2)."""

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple, TypeAlias

from proxy.errors import BadRequest

DEFAULT_PORTS = {"http": 80, "https": 443}

# The unreserved characters of RFC 3986. No name in use needs more. A percent-encoded name would
# differ from its decoded form, and parsers disagree about sub-delims (is "a,b" two hosts?).
_REG_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")
_IPV6 = frozenset("0123456789abcdefABCDEF:.")

MAX_HOST_BYTES = 253
"""The longest host name, without a final dot (RFC 1035 section 3.1)."""
_HOSTS_BYTES = 64 * 1024
"""Maximum bytes of remembered parsed authorities."""


class Authority(NamedTuple):
    """`host` in lower case, without brackets and final dot; `port` None if none was given.

    An IPv6 address is in its canonical form (RFC 5952), so equal hosts are equal texts.
    """

    host: str
    port: int | None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"


def parse_authority(text: str) -> Authority:
    """The parts of ``host``, ``host:port`` or ``[v6]:port``.

    Raises ValueError, whose text says what is wrong, for anything else. User information is
    refused: RFC 9110 section 4.2.4 calls it an error in a request.
    """
    if "@" in text:
        raise ValueError("it has user information (user@), which a request must not have")
    if text.startswith("["):
        host, bracket, after = text[1:].partition("]")
        if not bracket or not host or not _IPV6.issuperset(host):
            raise ValueError("an IPv6 address in brackets is malformed")
        try:
            host = str(IPv6Address(host))
        except ValueError:
            raise ValueError("an IPv6 address in brackets is malformed") from None
        if after and not after.startswith(":"):
            raise ValueError("only a port may follow an IPv6 address in brackets")
        port = after[1:]
    else:
        host, _, port = text.partition(":")
        if not _REG_NAME.issuperset(host):
            raise ValueError("a host name contains a forbidden character")
        if not host and port:
            raise ValueError("a port without a host")
        if host.endswith("."):
            host = host[:-1]
            if not host or host.endswith("."):
                raise ValueError("a host name has an empty label at its end")
        if host.startswith(".") or ".." in host:
            raise ValueError("a host name has an empty label")
        if len(host) > MAX_HOST_BYTES:
            raise ValueError(f"a host name is longer than {MAX_HOST_BYTES} bytes")
    return Authority(host.lower(), _parse_port(port) if port else None)


Host: TypeAlias = tuple[str, Authority | None, str]
"""A parsed Host field: its text, its authority, and the authority's host."""


class HostMemory:
    """Remembers the parsed authorities of requests, by their text as received; bounded in bytes."""

    __slots__ = ("_bytes", "known")

    def __init__(self) -> None:
        self.known: dict[bytes, Host] = {}
        self._bytes = 0

    def learn(self, host: bytes) -> Host:
        """Parse an unknown one. Raises BadRequest."""
        text = host.decode("latin-1")
        try:
            authority = parse_authority(text)
        except ValueError as error:
            raise BadRequest(f"The request's authority is malformed: {error}.") from None
        if len(authority.host) > MAX_HOST_BYTES:
            raise BadRequest(f"The request's authority has more than {MAX_HOST_BYTES} bytes.")
        found = (text, authority if authority.host else None, authority.host)
        if self._bytes + len(host) > _HOSTS_BYTES:
            self.known.clear()
            self._bytes = 0
        self.known[host] = found
        self._bytes += len(host)
        return found


def _parse_port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536):
        raise ValueError("a port is a number from 1 to 65535")
    return int(text)


def literal_address(host: str) -> str | None:
    """The IP address that `host` (lower case, without brackets) spells; None: it is a name.

    System resolvers take more than the usual notations for IPv4: fewer than four parts, octal and
    hexadecimal ones (inet_aton(3)): ``127.1``, ``2130706433``, ``0x7f.1``, ``0177.0.0.1``.
    """
    if not host or not (host[0].isdigit() or ":" in host):
        return None
    try:
        return str(ip_address(host))
    except ValueError:
        return _classful(host)


def _classful(host: str) -> str | None:
    parts = host.split(".")
    if len(parts) > 4:
        return None
    try:
        numbers = [_number(part) for part in parts]
        *front, last = numbers
        if any(number > 255 for number in front) or last >= 256 ** (5 - len(parts)):
            return None
    except ValueError:
        return None
    value = last
    for index, number in enumerate(front):
        value += number << (24 - 8 * index)
    return str(IPv4Address(value))


def _number(text: str) -> int:
    """A part of an IPv4 address: C's notations. Raises ValueError."""
    if not text.isascii() or not text.isalnum() or len(text) > 32:
        raise ValueError(text)
    if text.startswith("0x"):
        return int(text[2:] or "0", 16)
    return int(text, 8 if text.startswith("0") else 10)
