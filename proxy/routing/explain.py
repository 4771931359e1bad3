"""Explains which route takes a request, why the earlier ones do not, and what happens next."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf
from typing import Any
from urllib.parse import urlsplit

from proxy.config.loading import Loaded
from proxy.config.model import (
    DEFAULT_INBOUND,
    DEFAULT_OUTBOUND,
    Config,
    Listener,
    RouteConfig,
    UpstreamConfig,
)
from proxy.config.names import check_header_name, check_header_value, check_method
from proxy.config.sources import Setting
from proxy.config.summary import describe_key, describe_mirror
from proxy.errors import ProxyError
from proxy.http.authority import DEFAULT_PORTS, Authority, parse_authority
from proxy.http.grpc import is_call
from proxy.http.hash_key import HashSource
from proxy.http.message import RequestHead, Shared, make_field
from proxy.policies.split import Split
from proxy.routing.destination import Destinations
from proxy.routing.egress import EgressRules
from proxy.routing.outlook import Longest, Repeats, accepts, longest, repeats
from proxy.routing.own_addresses import OwnAddresses
from proxy.routing.placing import Placing
from proxy.routing.promised import MINTED, Promised
from proxy.routing.table import Route, RouteTable
from proxy.units import format_ratio


@dataclass(frozen=True, slots=True)
class DescribedRequest:
    """A request from a command line; it is a `Head` for routing.

    `url` is as given; `port` is the authority's, by default the scheme's.
    """

    url: str
    method: str
    host: str
    port: int
    path: str
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def version(self) -> int:
        """A gRPC call comes with HTTP/2; to routing all else looks the same in every version."""
        return 20 if is_call(self.method, self.values(b"content-type")) else 11

    def values(self, name: bytes) -> list[bytes]:
        wanted = name.decode("latin-1")
        found = [value.encode("latin-1") for field, value in self.headers if field == wanted]
        if wanted == "host" and not found and self.host:
            return [self._host.encode("latin-1")]
        return found

    @property
    def _host(self) -> str:
        """The Host that a client sends for `url`."""
        return self.url if self.method == "CONNECT" else urlsplit(self.url).netloc


def describe_request(method: str, url: str, headers: Iterable[str]) -> DescribedRequest:
    """From an absolute URL, a path with a Host header, or ``host:port`` for CONNECT.

    `headers` are lines such as ``name: value``. Raises ValueError with a sentence.
    """
    check_method(method)
    fields = tuple(map(_field, headers))
    if not url.isprintable() or " " in url:
        raise ValueError(f"{url!r} is not a URL: it has blanks or control characters")
    if method == "CONNECT":
        if "/" in url:
            raise ValueError(f"CONNECT needs HOST:PORT such as shop:443, not {url!r}")
        authority = parse_authority(url)
        if authority.port is None or not authority.host:
            raise ValueError(f"CONNECT needs HOST:PORT such as {url}:443")
        return DescribedRequest(url, method, authority.host, authority.port, "*", "", fields)
    hosts = [value for name, value in fields if name == "host"]
    authority = parse_authority(hosts[0] if hosts else "")
    scheme, target = "http", url
    if not url.startswith("/") and url != "*":
        try:
            parts = urlsplit(url)
        except ValueError:
            raise ValueError(f"{url!r} is not a URL: its host cannot be read") from None
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


@dataclass(frozen=True, slots=True)
class Asked:
    """A route up to the one that takes the request; `mismatch` is None for that one."""

    name: str
    mismatch: str | None
    source: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The proxy's own answer, instead of a destination."""

    status: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """The whole explanation. One of `upstream`, `authority` and `refused` is set,
    none if the route has a fixed answer. `split`: the upstreams and their shares; `upstream` is
    then the one that this request's value goes to, None if only chance or its client decides."""

    request: DescribedRequest
    listener: Listener
    asked: tuple[Asked, ...]
    route: RouteConfig
    path: str
    settings: tuple[Setting, ...]
    repeats: Repeats
    longest: Longest
    upstream: UpstreamConfig | None = None
    split: tuple[tuple[UpstreamConfig, float], ...] = ()
    authority: Authority | None = None
    refused: Refused | None = None
    plain_http: bool = False
    promised: Promised = Promised()

    @property
    def tunnel(self) -> bool:
        """Whether a CONNECT opens a tunnel; otherwise plain HTTP must follow."""
        return self.request.method == "CONNECT" and not self.plain_http

    @property
    def placings(self) -> list[Placing]:
        """Of each upstream that may take the request."""
        upstreams = [one for one, share in self.split if share > 0]
        if self.upstream is not None:
            upstreams = [self.upstream]
        head = _head(self.request)
        return [Placing.of(upstream, head) for upstream in upstreams]

    def text(self, now: Sequence[str] = ()) -> str:
        """Lines for a terminal. `now`: what a running proxy says of the destination."""
        request, route = self.request, self.route
        lines = [f"{request.method} {request.url} at the {self.listener.value} listener", ""]
        lines += ["routes, in order", *self._routes()]
        lines += ["", *self._destination()]
        if now:
            lines += ["", *now]
        if self.refused is None:
            lines += self.promised.lines()
        if self.refused is None and self.route.respond is None and self.route.saga is None:
            sources = {setting.key: setting.source for setting in self.settings}
            lines += ["", self.repeats.sentence(route.policies.retry, sources)]
            lines += [self.longest.sentence(sources)]
        lines += ["", f"policy {route.policy}, in effect for route {route.name}"]
        settings = self.settings
        widths = [max(len(s.key) for s in settings), max(min(len(s.text), 32) for s in settings)]
        lines += [f"  {s.key:{widths[0]}}  {s.text:{widths[1]}}  {s.source}" for s in settings]
        return "\n".join(lines)

    def document(self) -> dict[str, Any]:
        """Plain data for programs."""
        request = self.request
        promised = self.promised if self.refused is None else Promised()
        return {
            "request": {
                "listener": self.listener.value,
                "method": request.method,
                "url": request.url,
            },
            "routes": [
                {"name": one.name, "mismatch": one.mismatch, "source": one.source}
                for one in self.asked
            ],
            "route": self.route.name,
            "destination": self._destination_document(),
            "idempotency": promised.key or None,
            "outbox": promised.stored or None,
            "path": self.path,
            "host": self.route.rewrite.host,
            "repeats": {
                "attempts": self.repeats.attempts,
                "after_sending": self.repeats.after_sending,
                "on": list(self.repeats.on),
                "why_not": self.repeats.why_not or None,
            },
            "longest_s": round(self.longest.seconds, 6) if self.longest.seconds < inf else None,
            "policy": self.route.policy,
            "settings": [
                {"key": one.key, "value": one.value, "source": one.source} for one in self.settings
            ],
        }

    def _routes(self) -> Iterator[str]:
        rows = [(one.name, one.mismatch or "takes it", one.source) for one in self.asked]
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        for number, (name, why, source) in enumerate(rows, 1):
            mark = ">" if number == len(rows) else " "
            yield f"{mark} {number}. {name:{widths[0]}}  {why:{widths[1]}}  {source}"

    def _destination(self) -> Iterator[str]:
        route = self.route
        if self.refused is not None:
            yield f"refused: {self.refused.status} {self.refused.reason}"
            yield f"  {self.refused.detail}"
            return
        if self.route.respond is not None:
            yield f"answers {self.route.respond.status}: the route has a fixed answer (respond)"
            return
        if self.route.saga is not None:
            yield f"starts the saga {self.route.saga!r} (saga), and answers when it is committed"
            return
        if self.split:
            yield from self._split()
        elif self.upstream is not None:
            placing = Placing.of(self.upstream, _head(self.request))
            yield f"goes to upstream {self.upstream.name}{placing.balanced()}"
            yield from placing.lines()
        else:
            tunnel = " through a tunnel" if self.tunnel else ""
            yield f"goes to {self.authority}{tunnel}, as the caller asks (egress.allow permits it)"
            if self.plain_http:
                yield f"port {self.request.port} is not in egress.connect_ports: no tunnel, but 200"
                yield "and then plain HTTP/1.1; each request in it is routed like any other"
        if route.mirror is not None and not self.tunnel:
            limit = route.mirror.max_in_flight
            yield f"{describe_mirror(route.mirror)}, up to {limit} at once"
        yield from self._changes()

    def _split(self) -> Iterator[str]:
        key = self.route.split_by
        by = "" if key is None else describe_key(key)
        if self.upstream is not None:
            yield f"goes to upstream {self.upstream.name}, as its {by} decides (split_by)"
        elif key is not None and key.source is HashSource.CLIENT:
            yield "goes to one of these, as its client's address decides (split_by)"
        else:
            without = f", because it has no {by} (split_by)" if key is not None else ""
            yield f"goes to one of these by chance{without}"
        for upstream, share in self.split:
            endpoints = ", ".join(map(str, upstream.endpoints))
            yield f"  {format_ratio(round(share, 4))} {upstream.name}: {endpoints}"
        for placing in self.placings:
            if placing.unusual:
                yield f"upstream {placing.upstream.name}{placing.balanced()}"
                yield from placing.lines()

    def _changes(self) -> Iterator[str]:
        route = self.route
        if self.path != self.request.path:
            yield f"path {self.request.path} becomes {self.path}"
        if route.rewrite.host is not None:
            yield f"Host becomes {route.rewrite.host}"
        for label, rules in (
            ("request", route.request_headers),
            ("response", route.response_headers),
        ):
            names = [f"sets {name}" for name, _ in rules.set]
            names += [f"removes {name}" for name in sorted(rules.remove)]
            if names:
                yield f"{label} headers: {', '.join(names)}"

    def _destination_document(self) -> dict[str, Any]:
        if self.refused is not None:
            return {"refused": asdict(self.refused)}
        if self.route.respond is not None:
            return {"respond": self.route.respond.status}
        if self.route.saga is not None:
            return {"saga": self.route.saga}
        shares = {upstream.name: round(share, 6) for upstream, share in self.split}
        split = {"split": shares} if shares else {}
        if self.upstream is not None:
            endpoints = list(map(str, self.upstream.endpoints))
            hashed = Placing.of(self.upstream, _head(self.request)).document()
            return {"upstream": self.upstream.name, "endpoints": endpoints, **hashed, **split}
        if split:
            return {"upstream": None, **split}
        return {
            "authority": str(self.authority),
            "tunnel": self.tunnel,
            "plain_http": self.plain_http,
        }


def explain(loaded: Loaded, listener: Listener, request: DescribedRequest) -> Explanation:
    """Make the gateway's decisions, without sending anything."""
    table = RouteTable(loaded.config)
    taken = table.match(listener, request)
    headers = dict(reversed(request.headers))
    promised = Promised.of(request.method, headers, taken.config, loaded.config)
    if accepts(request.method, headers, taken.config.policies) or promised.key == MINTED:
        headers.setdefault("idempotency-key", "of the entry")  # every try has one
    asked = repeats(request.method, headers, taken.config.policies)
    answer = Explanation(
        request,
        listener,
        tuple(_asked(table.of(listener), taken, request, loaded)),
        taken.config,
        request.path,
        tuple(loaded.sources.settings(taken.config)),
        asked,
        longest(asked, headers, taken.config.policies),
        promised=promised,
    )
    if taken.alone:
        return answer
    config = loaded.config
    destinations = Destinations(
        EgressRules(config.egress), _own_addresses(config), inbound=listener is Listener.INBOUND
    )
    authority = Authority(request.host, request.port) if request.host else None
    try:
        named = destinations.named_by_caller(taken, request.method, "http", authority)
        answer = replace(answer, path=taken.rewrite_path(request.path))
    except ProxyError as error:
        return replace(answer, refused=Refused(error.status, error.reason, error.detail))
    if named is not None:
        plain = request.method == "CONNECT" and not destinations.tunnels_to(request.port)
        return replace(answer, authority=named, plain_http=plain)
    if taken.split is not None:
        return _with_split(answer, taken, taken.split, config)
    assert taken.config.upstream is not None
    return replace(answer, upstream=config.upstreams[taken.config.upstream])


def _with_split(answer: Explanation, taken: Route, split: Split, config: Config) -> Explanation:
    """The upstream that the request's own value goes to; of its client nothing is known."""
    upstreams = [config.upstreams[name] for name in split.names]
    by = taken.config.split_by
    value = b"" if by is None else by.of(_head(answer.request), "")
    chosen = upstreams[split.choose_by(value)] if value else None
    return replace(answer, upstream=chosen, split=tuple(zip(upstreams, split.shares, strict=True)))


def _head(request: DescribedRequest) -> RequestHead:
    """The fields and the query of a described request, as a message has them."""
    head = RequestHead()
    fields = [make_field(*(text.encode("latin-1") for text in field)) for field in request.headers]
    head.shared = Shared([*fields], {})
    head.own = []
    head.held = {}
    head.query_text = request.query or None
    return head


def _asked(
    routes: Iterable[Route], taken: Route, request: DescribedRequest, loaded: Loaded
) -> Iterator[Asked]:
    """Each route up to the one that takes the request."""
    for route in routes:
        written = route.name not in (DEFAULT_OUTBOUND, DEFAULT_INBOUND)
        source = loaded.sources.route(route.config) if written else "takes all other requests"
        yield Asked(route.name, route.mismatch(request), source)
        if route is taken:
            return


def _own_addresses(config: Config) -> OwnAddresses:
    """From the file alone: of the proxy's machine only loopback is known."""
    own = OwnAddresses(lambda address: False)
    for listener in Listener:
        for address in config.listeners.of(listener).addresses:
            own.add(address.host, address.port)
    own.add(config.admin.address.host, config.admin.address.port)
    return own
