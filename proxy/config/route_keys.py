"""The keys of routes, and of the policies that routes name."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from proxy.config.cursor import Cursor, Reported
from proxy.config.fallback_keys import RESPONSE
from proxy.config.hash_kinds import HashKeyKind
from proxy.config.kinds import Boolean, Choice, JsonSchema, Kind, Text
from proxy.config.match import GrpcMatch, MatchConfig, ValueMatch
from proxy.config.model import (
    APP_UPSTREAM,
    DEFAULT_INBOUND,
    DEFAULT_OUTBOUND,
    DEFAULT_POLICY,
    HeaderRules,
    Listener,
    PolicyConfig,
    RewriteConfig,
    RouteConfig,
    default_policy,
)
from proxy.config.names import (
    GRPC_METHOD,
    GRPC_SERVICE,
    HEADER_NAME,
    HOST_PATTERN,
    METHOD,
    NAME,
    PATH,
    PREFIX,
    REGEX,
    REMOVED_HEADER,
    WRITTEN_HEADER,
    PolicyName,
    SagaName,
    check_authority,
    check_header_value,
)
from proxy.config.policy_keys import POLICY
from proxy.config.record import Field, Given, ListOf, NamedRecords, PairsOf, Record, SetOf, Values
from proxy.config.target_kinds import TargetKind
from proxy.config.traffic_keys import MIRROR


class ValueMatchKind(Kind[ValueMatch]):
    """``gold``, ``{regex: "g.*"}`` or ``{present: true}`` (false: must be absent)."""

    def __init__(self, text: Text) -> None:
        self._text = text
        self._regex = Text("a regular expression", REGEX.parse, secret=True)
        self._present = Boolean()

    def read(self, at: Cursor, base: ValueMatch | None = None) -> ValueMatch:
        members = at.members()
        if members is None:
            return ValueMatch(exact=self._text.read(at))
        given = at.entries(("regex", "present"))
        if members.keys() - {"regex", "present"}:
            raise Reported  # each is an alternative
        if len(given) != 1:
            raise at.error("must be a text, {regex: ...} or {present: true}")
        if "regex" in given:
            return ValueMatch(regex=self._regex.read(given["regex"]))
        return ValueMatch(present=self._present.read(given["present"]))

    def dump(self, value: ValueMatch, reveal: bool) -> Any:
        if value.exact is not None:
            return self._text.dump(value.exact, reveal)
        if value.regex is not None:
            return {"regex": self._regex.dump(value.regex, reveal)}
        return {"present": value.present}

    def schema(self) -> JsonSchema:
        def one(key: str, kind: Kind[Any]) -> JsonSchema:
            return {
                "type": "object",
                "additionalProperties": False,
                "required": [key],
                "properties": {key: kind.schema()},
            }

        return {
            "anyOf": [self._text.schema(), one("regex", self._regex), one("present", self._present)]
        }


def _settle_match(values: Values, given: Given, at: Cursor) -> None:
    paths = [key for key in ("prefix", "path", "regex") if key in given]
    for key in paths[1:]:
        given[key].error(f"use one of prefix, path and regex; '{paths[0]}' is already there")
    grpc: GrpcMatch | None = values["grpc"]
    if grpc is not None and grpc.service and paths:
        given[paths[0]].error("grpc.service already says which paths it takes")
    methods = values["methods"]
    if grpc is not None and methods and "POST" not in methods:
        given["methods"].error("gRPC calls have the method POST, so this can never match")


def _check_grpc_match(value: GrpcMatch, given: Given, at: Cursor) -> None:
    if value.method and not value.service:
        at.error("'method' needs a 'service'")


GRPC_MATCH = Record(
    GrpcMatch,
    {
        "service": Field(
            GRPC_SERVICE, "The full name of the service, such as shop.v1.Inventory; case counts."
        ),
        "method": Field(GRPC_METHOD, "One method of the service; default: all of them."),
    },
    check=_check_grpc_match,
    sparse=True,
    definition="grpc_match",
)


MATCH = Record(
    MatchConfig,
    {
        "hosts": Field(
            ListOf(HOST_PATTERN, "hosts such as inventory or *.shop.svc", minimum=1),
            "The host of the URL or the Host field, without port; *.suffix covers all names below.",
        ),
        "prefix": Field(PREFIX, "Whole segments: /api covers /api and /api/x, not /apix."),
        "path": Field(PATH, "The exact path."),
        "regex": Field(
            REGEX,
            "A regular expression (RE2's: linear time, no look-around, no back references) that "
            "covers the whole path.",
        ),
        "methods": Field(SetOf(METHOD, "methods such as GET", minimum=1), "The request's method."),
        "headers": Field(
            PairsOf(
                HEADER_NAME,
                ValueMatchKind(Text("a header value", check_header_value, blank=True, secret=True)),
            ),
            "Required header fields: the value, {regex: ...} or {present: true}.",
        ),
        "query": Field(
            PairsOf(
                Text("a parameter's name"),
                ValueMatchKind(Text("a parameter's value", blank=True, secret=True)),
            ),
            "Required query parameters, as for headers; compared after decoding.",
        ),
        "grpc": Field(
            GRPC_MATCH, "gRPC calls: {} for all of them, or those of a service, or of a method."
        ),
    },
    settle=_settle_match,
    sparse=True,
    definition="match",
)

REWRITE = Record(
    RewriteConfig,
    {
        "prefix": Field(PREFIX, "Replaces the matched prefix, or the whole path."),
        "host": Field(Text("a host, with or without port", check_authority), "The Host to send."),
    },
    sparse=True,
    definition="rewrite",
)

HEADER_RULES = Record(
    HeaderRules,
    {
        "set": Field(
            PairsOf(
                WRITTEN_HEADER,
                Text("a header value", check_header_value, blank=True, secret=True),
                any_case=True,
            ),
            "Fields to set; an existing field of that name is replaced.",
        ),
        "remove": Field(SetOf(REMOVED_HEADER, "header names"), "Fields to remove."),
    },
    sparse=True,
    definition="header_rules",
)


@dataclass(frozen=True, slots=True)
class _Headers:
    request: HeaderRules = HeaderRules()
    response: HeaderRules = HeaderRules()


class HeadersKind(Kind[tuple[HeaderRules, HeaderRules]]):
    """``{request: ..., response: ...}``: one key for two attributes of a route."""

    _record = Record(
        _Headers,
        {
            "request": Field(HEADER_RULES, "On requests, before they go upstream."),
            "response": Field(HEADER_RULES, "On responses, before they go to the client."),
        },
        sparse=True,
    )

    def read(self, at: Cursor, base: Any = None) -> tuple[HeaderRules, HeaderRules]:
        headers = self._record.read(at)
        return headers.request, headers.response

    def dump(self, value: tuple[HeaderRules, HeaderRules], reveal: bool) -> dict[str, Any]:
        return self._record.dump(_Headers(*value), reveal)

    def schema(self) -> JsonSchema:
        return self._record.schema()


def check_route_name(text: str) -> str:
    if text in (DEFAULT_OUTBOUND, DEFAULT_INBOUND):
        raise ValueError(f"{text!r} is reserved for the route that takes all other requests")
    return NAME.parse(text)


LISTENER = Choice(Listener)

ROUTE = Record(
    RouteConfig,
    {
        "name": Field(
            Text("a name", check_route_name), "Unique; label of metrics and traces.", required=True
        ),
        "listener": Field(LISTENER, "The listener whose requests it takes."),
        "match": Field(MATCH, "All given conditions must hold; an empty match takes everything."),
        "upstream": Field(
            TargetKind(),
            "Default: the authority that the caller asked for (outbound), or app (inbound). "
            "{v1: 95, v2: 5}: several upstreams by weight.",
            ("upstream", "split"),
        ),
        "split_by": Field(
            HashKeyKind(),
            "Equal values go to the same upstream of a split: {header: user-id}, {cookie: ...}, "
            "{query: ...} or client. Default: by chance.",
        ),
        "mirror": Field(
            MIRROR, "Copies of requests for another upstream, whose answers are dropped."
        ),
        "respond": Field(
            RESPONSE, "A fixed answer instead of an upstream: status, headers, json or body."
        ),
        "saga": Field(
            SagaName(), "The saga that a POST starts, instead of an upstream; takes POST alone."
        ),
        "policy": Field(
            PolicyName(),
            "The policy that applies; default: default (outbound) or inbound (inbound).",
        ),
        "rewrite": Field(REWRITE, "Changes of the request's path and Host."),
        "headers": Field(
            HeadersKind(), "Headers to set and remove.", ("request_headers", "response_headers")
        ),
    },
)


def _of_saga(route: RouteConfig, given: Given) -> RouteConfig:
    """The route with the one method that starts a saga."""
    for key in ("upstream", "split_by", "respond", "mirror", "rewrite"):
        if key in given:
            raise given[key].error(f"give either 'saga' or '{key}'")
    if route.match.grpc is not None:
        raise given["match"].error("a gRPC call cannot start a saga: its input is JSON")
    if route.match.methods and route.match.methods != {"POST"}:
        raise given["match"].error("only POST starts a saga: leave 'methods' out")
    return replace(route, match=replace(route.match, methods=frozenset({"POST"})))


class RouteKind(Kind[RouteConfig]):
    """A route's own keys, and a policy's keys, which override the policy that it names."""

    @property
    def keys(self) -> Mapping[str, Field]:
        return ROUTE.keys | POLICY.keys

    def read(self, at: Cursor, base: RouteConfig | None = None) -> RouteConfig:
        given = at.entries(self.keys)
        name = self._policy_name(given)
        policies = POLICY.fill(given, at, at.reading.policies[name])
        route = ROUTE.fill(given, at, None, policy=name, policies=policies)
        if route.saga is not None:
            return _of_saga(route, given)
        if route.respond is not None:
            if "upstream" in given:
                raise given["respond"].error("give either 'upstream' or 'respond'")
            for key in ("split_by", "mirror"):
                if key in given:
                    raise given[key].error("has no meaning with 'respond': nothing is sent")
        elif "split_by" in given and not route.split:
            raise given["split_by"].error("needs a split: upstream: {v1: 95, v2: 5}")
        elif route.upstream is None and route.listener is Listener.INBOUND:
            return replace(route, upstream=APP_UPSTREAM.name)
        return route

    @staticmethod
    def _policy_name(given: Given) -> str:
        """The route's base policy. A bad name or listener is reported when its key is read."""
        listener = Listener.OUTBOUND
        if "listener" in given:
            with suppress(Reported):
                listener = LISTENER.read(given["listener"])
        if "policy" in given:
            with suppress(Reported):
                return PolicyName().read(given["policy"])
        return default_policy(listener)

    def dump(self, value: RouteConfig, reveal: bool) -> dict[str, Any]:
        return next(self.dump_all((value,), reveal))

    def dump_all(self, values: Sequence[RouteConfig], reveal: bool) -> Iterator[dict[str, Any]]:
        """`dump` of each in turn, as `Record.dump_all`."""
        policies = POLICY.dump_all((route.policies for route in values), reveal)
        for own, policy in zip(ROUTE.dump_all(values, reveal), policies, strict=True):
            yield own | policy

    def schema(self) -> JsonSchema:
        route, policy = ROUTE.object_schema(), POLICY.object_schema()
        return route | {"properties": route["properties"] | policy["properties"]}


class Policies(NamedRecords[PolicyConfig]):
    """Policies by name: ``default`` and ``inbound`` override built-in values, the others override
    ``default``."""

    def __init__(self) -> None:
        super().__init__(NAME, POLICY)

    def read(
        self, at: Cursor, base: dict[str, PolicyConfig] | None = None
    ) -> dict[str, PolicyConfig]:
        named = dict(self._pairs.named(at))
        policies = at.reading.policies
        for name in sorted(named, key=lambda name: name != DEFAULT_POLICY):  # default first
            at.reading.given[named[name].path] = named[name].mark
            below = policies.get(name, policies[DEFAULT_POLICY])
            try:
                policies[name] = POLICY.read(named[name], below)
            except Reported:
                policies[name] = below
        return dict(policies)


class Routes(Kind[tuple[RouteConfig, ...]]):
    """Routes in the file's order, with unique names."""

    item = RouteKind()

    def read(
        self, at: Cursor, base: tuple[RouteConfig, ...] | None = None
    ) -> tuple[RouteConfig, ...]:
        cursors = at.items()
        if cursors is None:
            raise at.error("must be a list of routes; each begins with '- name:'")
        routes: dict[str, RouteConfig] = {}
        for cursor in cursors:
            try:
                route = self.item.read(cursor)
            except Reported:
                continue
            if route.name in routes:
                cursor.child("name").error(f"there is already a route named {route.name!r}")
            routes[route.name] = route
        return tuple(routes.values())

    def dump(self, value: tuple[RouteConfig, ...], reveal: bool) -> list[Any]:
        return [self.item.dump(route, reveal) for route in value]

    def schema(self) -> JsonSchema:
        return {"type": "array", "items": self.item.schema()}
