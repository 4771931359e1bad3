"""The keys of an upstream's endpoints: weights, ejection, health checks."""

import re
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from proxy.config.cursor import Cursor, Reported, read_all
from proxy.config.kinds import (
    Choice,
    Duration,
    Integer,
    JsonSchema,
    Kind,
    Leaf,
    Ratio,
    Text,
)
from proxy.config.model import (
    EndpointConfig,
    HealthCheckConfig,
    LoadBalancing,
    UpstreamConfig,
    UpstreamProtocol,
)
from proxy.config.names import EndpointKind, check_grpc_service
from proxy.config.policy_kinds import StatusRange
from proxy.config.record import Field, Given, ListOf, Optional, Record, Values
from proxy.policies.ejection_config import EjectForConfig, FailureRateConfig, OnNone, OutlierConfig
from proxy.policies.gate import Mode
from proxy.units import format_duration

_MOST_WEIGHT = 1000
_LONGEST_WINDOW = 600.0
_TARGET = re.compile(r"/[!\"$-~]{0,1023}")


class _Weight(Integer):
    """Nothing is drained by its weight: 0 says what to do instead."""

    def parse(self, text: str) -> int:
        if text == "0":
            raise ValueError(
                "must be at least 1, not 0; to drain an endpoint leave it out of the list: its "
                "requests finish"
            )
        return super().parse(text)


class WeightedEndpoint(Kind[EndpointConfig]):
    """A URL, or ``{url: …, weight: 3}``."""

    _url = EndpointKind()
    _weight = _Weight(1, _MOST_WEIGHT)
    _kinds: Mapping[str, Leaf[Any]] = {"url": _url, "weight": _weight}

    def read(self, at: Cursor, base: EndpointConfig | None = None) -> EndpointConfig:
        members = at.members()
        if members is None:
            return self._url.read(at)
        given = at.entries(self._kinds)
        values = read_all(given.values(), lambda one: self._kinds[str(one.path[-1])].read(one))
        if members.keys() - self._kinds.keys():
            raise Reported
        if "url" not in given:
            raise at.error("'url' is missing")
        found = dict(zip(given, values, strict=True))
        endpoint: EndpointConfig = found["url"]
        return replace(endpoint, weight=found.get("weight", endpoint.weight))

    def dump(self, value: EndpointConfig, reveal: bool) -> Any:
        return str(value) if value.weight == 1 else {"url": str(value), "weight": value.weight}

    def schema(self) -> JsonSchema:
        url = self._url.schema()
        weighted = {
            "type": "object",
            "additionalProperties": False,
            "required": ["url"],
            "properties": {"url": url, "weight": self._weight.schema()},
        }
        return {"anyOf": [*url["anyOf"], weighted]}


def _check_rate(value: FailureRateConfig, given: Given, at: Cursor) -> None:
    if not 1.0 <= value.window <= _LONGEST_WINDOW or value.window != int(value.window):
        place = given.get("window", at)
        place.error(
            f"must be whole seconds between 1s and 10m, not {format_duration(value.window)}"
        )


def _check_times(value: EjectForConfig, given: Given, at: Cursor) -> None:
    if value.max >= value.initial:
        return
    initial, most = format_duration(value.initial), format_duration(value.max)
    if "max" in given:
        given["max"].error(f"must be at least initial ({initial}), not {most}")
    else:
        given["initial"].error(f"{initial} is more than max, which is {most}: write max too")


OUTLIERS = Record(
    OutlierConfig,
    {
        "mode": Field(
            Choice(Mode), "observe: counts what it would eject, and ejects nothing."
        ),
        "consecutive_failures": Field(
            Integer(0), "Failures in a row that eject, as circuit_breaker.failures; 0: never."
        ),
        "failure_rate": Field(
            Optional(
                Record(
                    FailureRateConfig,
                    {
                        "rate": Field(Ratio(zero=False), "Share of failures that ejects."),
                        "minimum_calls": Field(Integer(1), "Fewer are not judged."),
                        "window": Field(Duration(), "Whole seconds; at most 10m."),
                    },
                    check=_check_rate,
                    definition="ejecting_rate",
                )
            ),
            "Of the last `window`; none: only failures in a row eject.",
        ),
        "eject_for": Field(
            Record(
                EjectForConfig,
                {
                    "initial": Field(Duration(), "The first ejection, ±10 %."),
                    "max": Field(Duration(), "The longest; n in a row last n times as long."),
                },
                check=_check_times,
                definition="eject_for",
            ),
            "Then one request decides; with a health check that passes, after half of initial.",
        ),
        "max_ejected": Field(
            Ratio(zero=False),
            "Share of the endpoints, rounded down; one of two or more, but never the last one.",
        ),
        "on_none": Field(
            Choice(OnNone),
            "If no endpoint is left: use-all, or refuse (503 no-healthy-endpoint).",
        ),
    },
    definition="outlier_detection",
)  # fmt: skip


def _check_target(text: str) -> str:
    if not _TARGET.fullmatch(text):
        raise ValueError(f"must be a path such as /health, not {text!r}")
    return text


def _check_service(text: str) -> str:
    if text.lower() in ("true", "false"):
        raise ValueError("must be the name of a gRPC service, or '' for the server as a whole")
    if "/" in text:
        raise ValueError(f"{text!r}: give the service without a method, such as shop.v1.Inventory")
    return check_grpc_service(text) if text else text


def _settle_check(values: Values, given: Given, at: Cursor) -> None:
    if "path" in given and "grpc" in given:
        lower, upper = sorted(("path", "grpc"), key=lambda key: given[key].mark.file)
        hint = ""
        if given[lower].mark.file != given[upper].mark.file:
            hint = f"; {lower}: null removes that of the other file"
        given[upper].error(f"is another kind of check than {lower}: leave one of them out{hint}")
    elif "path" not in given and "grpc" not in given:
        at.error("needs a 'path', such as /health, or 'grpc' with the name of a service")
    if "grpc" in given and "expect" in given:
        given["expect"].error("has no meaning with grpc: the service answers SERVING or not")
    if values["timeout"] > values["interval"]:
        timeout, interval = map(format_duration, (values["timeout"], values["interval"]))
        if "timeout" in given:
            given["timeout"].error(f"must be at most interval ({interval})")
        else:
            given["interval"].error(
                f"{interval} is less than timeout, which is {timeout}: write timeout too"
            )


HEALTH_CHECK = Record(
    HealthCheckConfig,
    {
        "path": Field(Text("a path such as /health", _check_target), "GET of this path."),
        "grpc": Field(
            Text("the name of a gRPC service", _check_service, blank=True),
            "grpc.health.v1 for this service instead; '': for the server.",
        ),
        "interval": Field(Duration(), "Between two checks of one endpoint."),
        "timeout": Field(Duration(), "Of one check, its connection included."),
        "healthy": Field(Integer(1), "Passes in a row that make it healthy."),
        "unhealthy": Field(Integer(1), "Failures in a row that make it unhealthy: unused."),
        "expect": Field(ListOf(StatusRange(), "statuses", minimum=1), "Statuses that pass."),
        "jitter": Field(Ratio(zero=True), "Of each interval, at random, so that proxies spread."),
    },
    settle=_settle_check,
    definition="health_check",
)


def _is_address(host: str) -> bool:
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def check_endpoints(value: UpstreamConfig, given: Given, at: Cursor) -> None:
    """What the balancing keys say together."""
    hashes = value.load_balancing is LoadBalancing.CONSISTENT_HASH
    if hashes and value.hash is None:
        given.get("load_balancing", at).error(
            "consistent_hash needs 'hash', such as hash: {header: user-id}"
        )
    if "hash" in given and not hashes:
        given["hash"].warning("has no effect without load_balancing: consistent_hash")
    _warn_twice(value, given, at)
    _check_outliers(value, given, at)
    check = value.health_check
    if check is not None and check.grpc is not None and value.protocol is UpstreamProtocol.HTTP1:
        given.get("health_check", at).error("gRPC needs HTTP/2, and protocol is http1")


def _check_outliers(value: UpstreamConfig, given: Given, at: Cursor) -> None:
    """Whether outlier detection can do anything: eject, or refuse what health checks leave none
    for.
    """
    outliers = value.outlier_detection
    if outliers is None or (outliers.on_none is OnNone.REFUSE and value.health_check is not None):
        return
    place = given.get("outlier_detection", at)
    only = value.endpoints[0].host if len(value.endpoints) == 1 else ""
    if not outliers.judges:
        place.error(
            "would eject nothing: consecutive_failures is 0 and failure_rate is none; leave "
            "outlier_detection out"
        )
    elif only == "localhost" or _is_address(only):
        place.warning("ejects nothing: there is one endpoint, and the last one is never ejected")


def _warn_twice(value: UpstreamConfig, given: Given, at: Cursor) -> None:
    """An endpoint that is in the list twice is one endpoint."""
    weights: dict[tuple[str, str, int], int] = {}
    for one in value.endpoints:
        first = weights.setdefault((one.scheme, one.host, one.port), one.weight)
        if first != one.weight:
            given.get("endpoints", at).warning(
                f"{one} is in this list twice: it is one endpoint, of weight {first}"
            )
