"""Authorities: the ``host[:port]`` of a Host field or a URL (RFC 3986 section 3.2)."""

from typing import NamedTuple

DEFAULT_PORTS = {"http": 80, "https": 443}

# The unreserved characters of RFC 3986. No name in use needs more: with percent-encoding one would
# compare unequal to itself, and the sub-delims are where parsers disagree ("a,b": two hosts?).
_REG_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")
_IPV6 = frozenset("0123456789abcdefABCDEF:.")


class Authority(NamedTuple):
    """`host` in lower case and without brackets; `port` None where none was given."""

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
    if text.startswith("["):
        host, bracket, after = text[1:].partition("]")
        if not bracket or not host or not _IPV6.issuperset(host):
            raise ValueError("an IPv6 address in brackets is malformed")
        if after and not after.startswith(":"):
            raise ValueError("only a port may follow an IPv6 address in brackets")
        port = after[1:]
    else:
        host, _, port = text.partition(":")
        if not _REG_NAME.issuperset(host):
            raise ValueError("a host name has characters that none may have")
        if not host and port:
            raise ValueError("a port without a host")
    return Authority(host.lower(), _parse_port(port) if port else None)


def _parse_port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536):
        raise ValueError("a port is a number from 1 to 65535")
    return int(text)
