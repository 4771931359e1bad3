"""The inbound listener's X-Forwarded-* fields, and which peers it trusts to have set them.

The peer is appended to X-Forwarded-For. -Proto, -Host and -Port of a trusted peer are kept: an edge
that ended TLS knows better. Such fields of other peers are dropped, and new ones are written.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, TypeAlias

from proxy.config.server_model import Trust
from proxy.http.lists import appended, joined
from proxy.http.message import FieldName, OwnFields, RequestHead

FORWARDED_FIELDS: Final = frozenset({b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"})
"""Written by the inbound listener; the outbound one passes them unchanged."""

_FOR: Final = FieldName(b"X-Forwarded-For")
_PROTO: Final = FieldName(b"X-Forwarded-Proto")
_HOST: Final = FieldName(b"X-Forwarded-Host")
_FAMILY: Final = b"x-forwarded-"
_KIN: Final = frozenset({b"forwarded", b"x-real-ip"})
_IMITATED: Final = _KIN | {b"x-request-id", b"x-request-timeout-ms", b"x-retry-attempt"}
_MAX_PEERS: Final = 1000
_MAX_HOPS: Final = 50
"""Members of X-Forwarded-For that are read: a caller could send thousands, and 32 µs each."""

_Address: TypeAlias = IPv4Address | IPv6Address


class Forwarded:
    """The rules of `listeners.inbound.forwarded`."""

    __slots__ = ("_all", "_networks", "_peers")

    def __init__(self, trust: Trust) -> None:
        self._all = trust.everyone
        self._networks = tuple(ip_network(text) for text in trust.networks)
        self._peers: dict[str, bool] = {}

    def keeps_out(self, name: bytes) -> bool:
        """Whether fields of this lower-case name are not forwarded as received.

        They are ``Proxy``, which CGI takes for HTTP_PROXY, and spellings with underscores that
        CGI and WSGI cannot tell from the proxy's own fields. Unless all peers are trusted,
        fields about the client are kept in `RequestHead.held` until the peer is known.
        """
        if name == b"proxy":
            return True
        dashed = name.replace(b"_", b"-")
        if dashed != name:
            return dashed.startswith(_FAMILY) or dashed in _IMITATED
        return not self._all and (name.startswith(_FAMILY) or name in _KIN)

    def add_to(self, own: OwnFields, head: RequestHead, peer: str, scheme: bytes) -> None:
        """Add the fields that go to the service."""
        held = head.held
        address = peer.encode("latin-1")
        if not self._trusts(peer):
            own.append((_FOR, address))
            own.append((_PROTO, scheme))
            _add_host(own, head)
            return
        chain = held.get(b"x-forwarded-for")
        own.append((_FOR, appended(chain, address) if chain else address))
        proto = held.get(b"x-forwarded-proto")
        own.append((_PROTO, scheme if proto is None else joined(proto) or scheme))
        host = held.get(b"x-forwarded-host")
        hosts = b"" if host is None else joined(host)
        if hosts:
            own.append((_HOST, hosts))
        else:
            _add_host(own, head)
        if not self._all:
            self._add_the_rest(own, held)

    def client(self, head: RequestHead, peer: str) -> str:
        """The client, for limits that apply to each client.

        It is the peer; if the peer is trusted, the nearest address of X-Forwarded-For that is
        not, within `_MAX_HOPS`. With `all`, which names no proxy, it is always the peer.
        """
        if self._all or not self._trusts(peer):
            return peer
        chain = b",".join(head.held.get(b"x-forwarded-for", ()))
        members = chain.rsplit(b",", _MAX_HOPS)[-_MAX_HOPS:]
        for member in reversed(members):
            text = member.strip()
            if not text:  # means nothing in a list (RFC 9110 section 5.6.1)
                continue
            address = _address(text.decode("latin-1"))
            if address is None:
                break
            peer = str(address)
            if not self._covers(address):
                break
        return peer

    def _trusts(self, peer: str) -> bool:
        if self._all:
            return True
        if not self._networks:
            return False
        known = self._peers.get(peer)
        if known is None:
            if len(self._peers) >= _MAX_PEERS:
                self._peers.clear()
            address = _address(peer)
            known = self._peers[peer] = address is not None and self._covers(address)
        return known

    def _covers(self, address: _Address) -> bool:
        return any(address in network for network in self._networks)

    def _add_the_rest(self, own: OwnFields, held: dict[bytes, list[bytes]]) -> None:
        for name, values in held.items():
            rest = name.startswith(_FAMILY) and name not in FORWARDED_FIELDS
            if rest or name in _KIN:
                own.extend((FieldName(name.title()), value) for value in values)


def _add_host(own: OwnFields, head: RequestHead) -> None:
    if head.authority is not None:
        own.append((_HOST, str(head.authority).encode("latin-1")))


def _address(text: str) -> _Address | None:
    """An address, also as ``host:port`` or in brackets; an IPv4-mapped one is IPv4."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.version == 6 and address.ipv4_mapped) or address
