"""Kinds of names in networks and HTTP: hosts, addresses, methods, headers, paths."""

import re
from collections.abc import Collection
from typing import Any, Final

from proxy.config.advice import upstream_name
from proxy.config.cursor import Cursor
from proxy.config.kinds import ENVIRONMENT, JsonSchema, Kind, Leaf, Text
from proxy.config.model import EndpointConfig
from proxy.config.regex import Regex
from proxy.config.server_model import Address
from proxy.config.suggestions import did_you_mean
from proxy.http.authority import DEFAULT_PORTS, MAX_HOST_BYTES, parse_authority

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"([\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?)?")
_PATH = re.compile(r"/[!$%&'()*+,\-./0-9:;=@A-Z_a-z~]*")
_GRPC_METHOD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_GRPC_SERVICE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_NUMBERS = re.compile(r"[0-9.]+")

KNOWN_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")

# The proxy writes these itself: another value would break the message's framing or the
# request's routing.
_OWN_HEADERS = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def check_name(text: str) -> str:
    """Names become metric labels and parts of URLs, so the characters are limited."""
    if not _NAME.fullmatch(text):
        raise ValueError(
            f"{text!r} is not usable as a name: letters, digits, '.', '_' and '-', at most 128, "
            "a letter or digit first"
        )
    return text


def check_service(text: str) -> str:
    if not text or len(text) > 128 or not all(" " <= c <= "~" and c not in '"\\' for c in text):
        raise ValueError("must be 1 to 128 visible ASCII characters, without quotes or backslashes")
    return text


def check_host(text: str) -> str:
    """A host name or IP address, in lower case and without a final dot; an IPv6 address has no
    brackets."""
    host = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if host.count(":") > 1 or _NUMBERS.fullmatch(host):
        import ipaddress

        try:
            return str(ipaddress.ip_address(host))
        except ValueError:
            raise ValueError(f"{text!r} is not an IP address{_port_hint(text)}") from None
    name = host.lower().removesuffix(".")
    if len(name) > MAX_HOST_BYTES or not all(map(_LABEL.fullmatch, name.split("."))):
        raise ValueError(f"{text!r} is not a host name{_scheme_hint(text)}")
    return name


def check_network(text: str) -> str:
    """An IP network in CIDR notation, or a single address."""
    import ipaddress

    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is not a network such as 10.0.0.0/8") from None
    if "/" in text and network.network_address != ipaddress.ip_interface(text).ip:
        raise ValueError(f"{text!r} is an address within a network; did you mean {str(network)!r}?")
    return str(network)


def check_host_pattern(text: str) -> str:
    """``*``, ``*.suffix`` or a host, in lower case, without a port."""
    if text == "*":
        return text
    if text.startswith("*."):
        return "*." + check_host(text[2:])
    if "*" in text:
        raise ValueError(f"{text!r}: a * must be alone or first, as in *.shop.svc")
    return check_host(text)


def check_egress_pattern(text: str) -> str:
    """A host pattern with or without a port; IPv6 addresses have brackets."""
    scheme, separator, rest = text.partition("://")
    if separator and scheme in DEFAULT_PORTS:
        authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
        raise ValueError(f"{text!r} is a URL; did you mean '{authority}'?")
    host, port = split_port(text)
    pattern = check_host_pattern(host)
    shown = f"[{pattern}]" if ":" in pattern else pattern
    return shown if port is None else f"{shown}:{port}"


def split_port(text: str) -> tuple[str, int | None]:
    """The parts of ``host:port``; the port is optional. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]") or (":" in host and not host.endswith("]")):
        return text, None
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise ValueError(f"{text!r}: a port is a number from 1 to 65535")
    return host, int(port)


def check_authority(text: str) -> str:
    """``host`` or ``host:port``, for a Host field."""
    return check_egress_pattern(text) if "*" not in text else check_host(text)


def check_method(text: str) -> str:
    """A method is a token and case-sensitive (RFC 9110 section 9.1)."""
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"{text!r} is not a method")
    if text.upper() in KNOWN_METHODS and text not in KNOWN_METHODS:
        raise ValueError(f"methods are in upper case; did you mean '{text.upper()}'?")
    return text


def check_header_name(text: str) -> str:
    """A field name is a token (RFC 9110 section 5.1); returned in lower case."""
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"{text!r} is not a header name")
    return text.lower()


def check_written_header(text: str) -> str:
    """The name of a header that a user can set or remove; the spelling is kept."""
    name = check_header_name(text)
    if name == "host":
        raise ValueError("the Host header is changed with rewrite.host")
    if name in _OWN_HEADERS:
        raise ValueError(f"{text} cannot be changed: it belongs to the connection, not the message")
    if name == "via":
        raise ValueError("Via cannot be changed: proxies recognize loops by it")
    return text


def check_header_value(text: str) -> str:
    """RFC 9110 section 5.5, without its obsolete non-ASCII characters."""
    if not _VALUE.fullmatch(text):
        raise ValueError(
            "is not usable as a header value: visible ASCII characters, spaces and tabs between "
            "them, no line breaks"
        )
    return text


def check_path(text: str) -> str:
    """A path as in a request: percent-encoded, without query."""
    if not text.startswith("/"):
        raise ValueError(f"must begin with '/', as in '/{text}'")
    if "?" in text or "#" in text:
        raise ValueError("must not have a query or fragment; 'query:' matches those")
    if "*" in text or "{" in text:
        raise ValueError(
            f"{text!r}: paths have no wildcards; prefix covers all paths below, regex a pattern"
        )
    if not _PATH.fullmatch(text):
        raise ValueError(f"{text!r} is not a path: other characters are percent-encoded")
    return text


def check_prefix(text: str) -> str:
    """A path without a final slash: prefixes are whole segments, ``/api/`` equals ``/api``."""
    return check_path(text).rstrip("/") or "/"


def check_grpc_service(text: str) -> str:
    """A full name such as ``shop.v1.Inventory``."""
    if "/" in text:
        raise ValueError(f"{text!r}: give the service and the method as two keys")
    if not _GRPC_SERVICE.fullmatch(text):
        raise ValueError(f"{text!r} is not a full service name such as shop.v1.Inventory")
    return text


def check_grpc_method(text: str) -> str:
    if not _GRPC_METHOD.fullmatch(text):
        raise ValueError(f"{text!r} is not the name of a method such as Deduct")
    return text


def check_regex(text: str) -> str:
    return Regex(text).pattern


def check_file(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError("must be the path of a file")
    return text


class AddressKind(Leaf[Address]):
    """``host:port``. The host is required: who can connect is not a matter for a default."""

    wants = "HOST:PORT such as 127.0.0.1:7070"

    def parse(self, text: str) -> Address:
        host, colon, port = text.rpartition(":")
        if not colon or text.endswith("]"):
            example = f"127.0.0.1:{text}" if text.isdigit() else "127.0.0.1:7070"
            raise ValueError(f"{text!r} is not an address; write HOST:PORT such as {example}")
        if not host:
            raise ValueError(
                f"has no host; 127.0.0.1:{port} is for this machine only, 0.0.0.0:{port} for all"
            )
        if ":" in host and not (host.startswith("[") and host.endswith("]")):
            raise ValueError(f"an IPv6 address needs brackets: [{host}]:{port}")
        if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
            raise ValueError(f"{text!r}: a port is a number from 0 (any free one) to 65535")
        return Address(check_host(host), int(port))

    def dump(self, value: Address, reveal: bool) -> str:
        return str(value)

    def schema(self) -> JsonSchema:
        return {"anyOf": [{"type": "string", "pattern": "^.+:[0-9]{1,5}$"}, ENVIRONMENT]}


class Addresses(Kind[tuple[Address, ...]]):
    """One address, or a list of them."""

    _one = AddressKind()

    def read(self, at: Cursor, base: tuple[Address, ...] | None = None) -> tuple[Address, ...]:
        items = at.items()
        if items is None:
            return (self._one.read(at),)
        addresses: list[Address] = []
        for item in items:
            address = self._one.read(item)
            if address in addresses:
                raise item.error(f"{address} is already in this list")
            addresses.append(address)
        if not addresses:
            raise at.error(f"must be {self._one.wants}, or a list of at least one")
        return tuple(addresses)

    def dump(self, value: tuple[Address, ...], reveal: bool) -> Any:
        return str(value[0]) if len(value) == 1 else list(map(str, value))

    def schema(self) -> JsonSchema:
        one = self._one.schema()
        return {"anyOf": [*one["anyOf"], {"type": "array", "minItems": 1, "items": one}]}


_OTHER_SCHEMES: Final = {"grpc": "http", "h2c": "http", "grpcs": "https", "h2": "https"}
"""What is meant by schemes that name the protocol."""


class EndpointKind(Leaf[EndpointConfig]):
    """``scheme://host[:port]``: where to connect, without anything about requests."""

    wants = "a URL such as http://inventory:8080"

    def parse(self, text: str) -> EndpointConfig:
        scheme, separator, rest = text.partition("://")
        if not separator:
            raise ValueError(f"{text!r} has no scheme; did you mean 'http://{text}'?")
        scheme = scheme.lower()
        if scheme not in DEFAULT_PORTS:
            other = _OTHER_SCHEMES.get(scheme, "")
            hint = f"; did you mean '{other}://{rest}' with protocol: http2?" if other else ""
            raise ValueError(f"{text!r}: the scheme must be http or https{hint}")
        if "@" in rest:
            raise ValueError("an endpoint has no user name or password")
        if any(mark in rest for mark in "/?#"):
            bare = re.split(r"[/?#]", rest, maxsplit=1)[0]
            raise ValueError(
                f"an endpoint has no path or query; write {scheme}://{bare}, and "
                "rewrite.prefix on a route to change paths"
            )
        authority = parse_authority(rest)
        if not authority.host:
            raise ValueError(f"{text!r} has no host")
        port = DEFAULT_PORTS[scheme] if authority.port is None else authority.port
        host = check_host(authority.host)
        if rest.partition(":")[0].endswith("."):
            host += "."  # a final dot keeps the resolver from its search list
        return EndpointConfig(scheme, host, port)

    def dump(self, value: EndpointConfig, reveal: bool) -> str:
        return str(value)

    def schema(self) -> JsonSchema:
        pattern = r"^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@]+$"
        return {"anyOf": [{"type": "string", "pattern": pattern}, ENVIRONMENT]}


class UpstreamName(Text):
    """The name of an existing upstream (or ``app``)."""

    def __init__(self) -> None:
        super().__init__("the name of an upstream")

    def read(self, at: Cursor, base: str | None = None) -> str:
        name = self.read_checked(at)
        problem = self.unknown(name, at.reading.upstreams)
        if problem:
            raise at.error(problem)
        return name

    @staticmethod
    def unknown(name: str, known: Collection[str]) -> str:
        """What is wrong with a name that is not known, "" if it is."""
        if name in known:
            return ""
        return f"there is no upstream {name!r}{upstream_name(name, known)}"


class PolicyName(Text):
    """The name of an existing policy (or ``default``)."""

    def __init__(self) -> None:
        super().__init__("the name of a policy")

    def read(self, at: Cursor, base: str | None = None) -> str:
        name = self.read_checked(at)
        if name not in at.reading.policies:
            hint = did_you_mean(name, at.reading.policies)
            raise at.error(f"there is no policy {name!r}{hint}")
        return name


class SagaName(Text):
    """The name of an existing saga."""

    def __init__(self) -> None:
        super().__init__("the name of a saga")

    def read(self, at: Cursor, base: str | None = None) -> str:
        name = self.read_checked(at)
        if name not in at.reading.sagas:
            hint = did_you_mean(name, at.reading.sagas)
            raise at.error(f"there is no saga {name!r}{hint}")
        return name


NAME = Text("a name", check_name, pattern=_NAME.pattern.join("^$"))
HOST_PATTERN = Text("a host, or *.suffix", check_host_pattern)
METHOD = Text("a method such as GET", check_method)
HEADER_NAME = Text("a header name", check_header_name)
WRITTEN_HEADER = Text("a header name", check_written_header)
REMOVED_HEADER = Text("a header name", lambda text: check_written_header(text).lower())
PATH = Text("a path such as /api", check_path, pattern=r"^/|\$\{")
PREFIX = Text("a path such as /api", check_prefix, pattern=r"^/|\$\{")
GRPC_SERVICE = Text("a service such as shop.v1.Inventory", check_grpc_service)
GRPC_METHOD = Text("a method such as Deduct", check_grpc_method)
REGEX = Text("a regular expression", check_regex)
FILE = Text("the path of a file", check_file)


def _port_hint(text: str) -> str:
    host, colon, port = text.rpartition(":")
    return "; omit the port here" if colon and port.isdigit() and ":" not in host else ""


def _scheme_hint(text: str) -> str:
    return "; omit the scheme here" if "://" in text else _port_hint(text)
