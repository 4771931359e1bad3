"""Which route takes a request, why the earlier ones do not, and what happens to it then."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from proxy.config.loading import Loaded
from proxy.config.model import DEFAULT_INBOUND, DEFAULT_OUTBOUND, Config, Listener
from proxy.config.names import check_header_name, check_header_value, check_method
from proxy.errors import ProxyError
from proxy.http.authority import DEFAULT_PORTS, Authority, parse_authority
from proxy.routing.destination import Destinations
from proxy.routing.egress import EgressRules
from proxy.routing.own_addresses import OwnAddresses
from proxy.routing.table import Route, RouteTable


@dataclass(frozen=True, slots=True)
class DescribedRequest:
    """A request as somebody describes it on a command line; it is a `Head` for routing.

    `url` is as it was given; `port` that of the authority, the scheme's if it names none.
    """

    url: str
    method: str
    host: str
    port: int
    path: str
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()

    def values(self, name: bytes) -> list[bytes]:
        wanted = name.decode("latin-1")
        return [value.encode("latin-1") for field, value in self.headers if field == wanted]


def describe_request(method: str, url: str, headers: Iterable[str]) -> DescribedRequest:
    """From an absolute URL, a path with a Host header, or ``host:port`` for CONNECT.

    `headers` are lines such as ``name: value``. Raises ValueError with a sentence.
    """
    check_method(method)
    fields = tuple(map(_field, headers))
    if not url.isprintable() or " " in url:
        raise ValueError(f"{url!r} is not a URL: it has blanks or control characters")
    if method == "CONNECT":
        authority = parse_authority(url)
        if authority.port is None or not authority.host:
            raise ValueError(f"CONNECT wants HOST:PORT such as {url}:443")
        return DescribedRequest(url, method, authority.host, authority.port, "*", "", fields)
    hosts = [value for name, value in fields if name == "host"]
    authority = parse_authority(hosts[0] if hosts else "")
    scheme, target = "http", url
    if not url.startswith("/") and url != "*":
        parts = urlsplit(url)
        scheme = parts.scheme
        if scheme not in DEFAULT_PORTS or not parts.netloc:
            raise ValueError(f"{url!r} is neither an http or https URL nor a path")
        authority = parse_authority(parts.netloc)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    path, _, query = target.partition("#")[0].partition("?")
    port = authority.port or DEFAULT_PORTS[scheme]
    return DescribedRequest(url, method, authority.host, port, path, query, fields)


def _field(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon:
        raise ValueError(f"{line!r} is not a header; write 'name: value'")
    value = value.strip(" \t")
    try:
        return check_header_name(name), check_header_value(value)
    except ValueError as error:
        raise ValueError(f"header {line!r}: {error}") from None


def explain(loaded: Loaded, listener: Listener, request: DescribedRequest) -> str:
    """The whole answer, as text for a terminal."""
    table = RouteTable(loaded.config)
    taken = table.match(listener, request)
    lines = [f"{request.method} {request.url} at the {listener.value} listener", ""]
    lines += ["routes, in the order they are asked"]
    lines += _asked(table.of(listener), taken, request, loaded)
    lines += ["", *_destination(listener, taken, request, loaded)]
    lines += ["", f"policy {taken.config.policy}, as route {taken.name} has it in effect"]
    settings = loaded.sources.settings(taken.config)
    widths = [max(len(s.key) for s in settings), max(min(len(s.text), 32) for s in settings)]
    lines += [f"  {s.key:{widths[0]}}  {s.text:{widths[1]}}  {s.source}" for s in settings]
    return "\n".join(lines)


def _asked(
    routes: Iterable[Route], taken: Route, request: DescribedRequest, loaded: Loaded
) -> Iterator[str]:
    """One line for each route up to the one that takes the request."""
    rows: list[tuple[str, str, str]] = []
    for route in routes:
        written = route.name not in (DEFAULT_OUTBOUND, DEFAULT_INBOUND)
        source = loaded.sources.route(route.config) if written else "takes what no other claims"
        rows.append((route.name, route.mismatch(request) or "takes it", source))
        if route is taken:
            break
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for number, (name, why, source) in enumerate(rows, 1):
        mark = ">" if number == len(rows) else " "
        yield f"{mark} {number}. {name:{widths[0]}}  {why:{widths[1]}}  {source}"


def _destination(
    listener: Listener, route: Route, request: DescribedRequest, loaded: Loaded
) -> Iterator[str]:
    config = loaded.config
    destinations = Destinations(
        EgressRules(config.egress), _own_addresses(config), inbound=listener is Listener.INBOUND
    )
    authority = Authority(request.host, request.port) if request.host else None
    try:
        named = destinations.named_by_caller(route, request.method, "http", authority)
    except ProxyError as error:
        yield f"refused: {error.status} {error.reason}"
        yield f"  {error.detail}"
        return
    if named is not None:
        tunnel = " through a tunnel" if request.method == "CONNECT" else ""
        yield f"goes to {named}{tunnel}, as the caller asks (egress.allow has it)"
    elif route.config.upstream is not None:
        upstream = config.upstreams[route.config.upstream]
        yield f"goes to upstream {upstream.name}"
        for endpoint in upstream.endpoints:
            yield f"  {endpoint}"
    path = route.rewrite_path(request.path)
    if path != request.path:
        yield f"path {request.path} becomes {path}"
    if route.config.rewrite.host is not None:
        yield f"Host becomes {route.config.rewrite.host}"
    for label, rules in (
        ("request", route.config.request_headers),
        ("response", route.config.response_headers),
    ):
        names = [f"sets {name}" for name, _ in rules.set]
        names += [f"removes {name}" for name in sorted(rules.remove)]
        if names:
            yield f"{label} headers: {', '.join(names)}"


def _own_addresses(config: Config) -> OwnAddresses:
    """As far as the file tells: of the machine that the proxy runs on only loopback is known."""
    own = OwnAddresses(lambda address: False)
    for listener in Listener:
        for address in config.listeners.of(listener).addresses:
            own.add(address.host, address.port)
    own.add(config.admin.address.host, config.admin.address.port)
    return own
