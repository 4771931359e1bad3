"""Says for `explain` which endpoint of its upstream takes a request, and which endpoints are out.

The file knows the rules, and the endpoint that a hash decides on if all endpoints are addresses.
Which endpoints are out, and the addresses of names, only a running proxy knows (`now_lines`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from proxy.config.model import (
    EndpointConfig,
    HealthCheckConfig,
    LoadBalancing,
    UpstreamConfig,
)
from proxy.config.summary import describe_key
from proxy.http.hash_key import HashKey, HashSource
from proxy.http.message import RequestHead
from proxy.policies.ejection import Why
from proxy.policies.ejection_config import OnNone, OutlierConfig
from proxy.policies.gate import Mode
from proxy.policies.rendezvous import draw, endpoint_name, hash_of, seed_of, wait
from proxy.units import format_duration, format_ratio


@dataclass(frozen=True, slots=True)
class Placing:
    """How an upstream chooses the endpoint of one request.

    `key`: what it is hashed by, None: it is not. `value`: the request's; b"": it has none.
    """

    upstream: UpstreamConfig
    key: HashKey | None
    value: bytes

    @classmethod
    def of(cls, upstream: UpstreamConfig, head: RequestHead) -> "Placing":
        hashes = upstream.load_balancing is LoadBalancing.CONSISTENT_HASH
        key = upstream.hash if hashes else None
        return cls(upstream, key, b"" if key is None else key.of(head, ""))

    @property
    def owner(self) -> EndpointConfig | None:
        """The endpoint that the hash decides on, if the file says enough to know."""
        endpoints = self.upstream.endpoints
        if not self.value or not all(_is_address(one.host) for one in endpoints):
            return None
        first = {_label(one): one for one in reversed(endpoints)}
        places = [(label.encode(), float(one.weight)) for label, one in first.items()]
        return list(first.values())[owner_of(self.value, places)]

    def balanced(self) -> str:
        """How the endpoint is chosen, if not in the usual way."""
        kind = self.upstream.load_balancing
        if self.key is not None:
            return f", {kind.value} by {describe_key(self.key)}"
        return "" if kind is LoadBalancing.LEAST_REQUEST else f", {kind.value}"

    @property
    def unusual(self) -> bool:
        """Whether there is more to say than the endpoints."""
        return self.key is not None or self._leaves_out or self.upstream.slow_start > 0

    def lines(self) -> Iterator[str]:
        """The endpoints, and the rules by which they are chosen and left out."""
        owner = self.owner
        for endpoint in self.upstream.endpoints:
            weight = f"  weight {endpoint.weight}" if endpoint.weight != 1 else ""
            here = "  takes this request (hash)" if endpoint is owner else ""
            yield f"  {endpoint}{weight}{here}"
        if self.key is not None and owner is None:
            yield f"  {self._why_unknown(self.key)}"
        if self.upstream.slow_start:
            took = format_duration(self.upstream.slow_start)
            yield f"  a new or returned endpoint gets its whole share after {took} (slow_start)"
        if self.upstream.health_check is not None:
            yield f"  {_checked(self.upstream.health_check)} (health_check)"
        if self.upstream.outlier_detection is not None:
            limits = self.upstream.outlier_detection
            yield f"  {_ejected(limits)} (outlier_detection)"
        if self._leaves_out:
            yield f"  {self._on_none()}; --admin HOST:PORT asks a running proxy which are out"

    def document(self) -> dict[str, Any]:
        if self.key is None:
            return {}
        value = self.value.decode("latin-1") or None
        owner = None if self.owner is None else str(self.owner)
        return {"hash": {"by": describe_key(self.key), "value": value, "endpoint": owner}}

    @property
    def _leaves_out(self) -> bool:
        return self.upstream.outlier_detection is not None or self.upstream.health_check is not None

    @property
    def _refuses(self) -> bool:
        limits = self.upstream.outlier_detection
        return limits is not None and limits.on_none is OnNone.REFUSE

    def _on_none(self) -> str:
        if self._refuses:
            return "without a usable endpoint requests are refused (on_none)"
        return "without a usable endpoint all are used (on_none)"

    def _why_unknown(self, key: HashKey) -> str:
        what = describe_key(key)
        if key.source is HashSource.CLIENT:
            return "its client's address decides, which only the proxy sees (hash)"
        if not self.value:
            return f"it has no {what}: the less busy of two endpoints takes it (hash)"
        return (
            f"its {what} decides among the addresses of these names (hash); "
            "--admin HOST:PORT asks a running proxy which one that is"
        )

    # --- what a running proxy says ----------------------------------------------------------------

    def now_lines(self, endpoints: Sequence[dict[str, Any]]) -> Iterator[str]:
        """A line for each endpoint of the upstream's row in ``/upstreams``.

        Raises KeyError, TypeError or ValueError for what is no such row.
        """
        owner = self._owner_now(endpoints)
        width = max((len(one["address"]) for one in endpoints), default=0)
        for one in endpoints:
            here = "; takes this request (hash)" if one is owner else ""
            yield f"  {one['address']:{width}}  {self._standing(one)}{here}"
        if not endpoints:
            yield "  no address: its names are not resolved yet, or cannot be"

    def owner_now(self, endpoints: Sequence[dict[str, Any]]) -> str | None:
        """The address of the endpoint that the hash decides on now."""
        owner = self._owner_now(endpoints)
        return None if owner is None else str(owner["address"])

    def _owner_now(self, endpoints: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
        if not self.value:
            return None
        usable = [one for one in endpoints if not self._is_out(one)]
        if not usable and not self._refuses:
            usable = list(endpoints)
        reachable = [one for one in usable if not one["avoided"]]
        usable = reachable or usable
        places = [
            (endpoint_name(one["scheme"], one["host"], one["address"]), float(one["weight"]))
            for one in usable
        ]
        return usable[owner_of(self.value, places)] if places else None

    def _is_out(self, one: dict[str, Any]) -> bool:
        return one["health"] == "unhealthy" or (bool(one["ejected"]) and not one.get("observed"))

    def _standing(self, one: dict[str, Any]) -> str:
        parts = []
        if one["health"] == "unhealthy":
            found = f" ({one['last_check']})" if one["last_check"] else ""
            parts.append(f"out: its health checks fail{found}")
        if one["ejected"]:
            parts.append(self._ejection(one))
        if one["avoided"]:
            parts.append("avoided: a connect has failed")
        if not parts:
            parts.append("in use")
        if one["weight"] != 1:
            parts.append(f"weight {one['weight']:g}")
        return ", ".join(parts)

    def _ejection(self, one: dict[str, Any]) -> str:
        seconds = float(one["ejected_for_s"])
        until = (
            f"for {seconds:g} s more, then one request decides"
            if seconds
            else "until a request that goes there succeeds"
        )
        row = int(one["ejections_in_a_row"])
        again = f", {row} times in a row" if row > 1 else ""
        observed = one.get("observed")
        out = "used (outlier_detection observes); ejected" if observed else "ejected"
        return f"{out} {until}{again}: {_WHY[Why(one['ejected_why'])]}"


_WHY = {
    Why.CONSECUTIVE_FAILURES: "consecutive_failures",
    Why.FAILURE_RATE: "failure_rate",
    Why.PROBE_FAILED: "the request that decided about its return failed",
}


def owner_of(value: bytes, places: Sequence[tuple[bytes, float]]) -> int:
    """Which of `places` (name and weight) takes a value under ``consistent_hash``."""
    hashed = hash_of(value)
    waits = [wait(draw(hashed, seed_of(name)), weight) for name, weight in places]
    return waits.index(min(waits))


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _label(endpoint: EndpointConfig) -> str:
    """What an endpoint with this address is called (`upstream.address`)."""
    host = endpoint.host
    return f"[{host}]:{endpoint.port}" if ":" in host else f"{host}:{endpoint.port}"


def _ejected(limits: OutlierConfig) -> str:
    """The rules of ejection in words."""
    if not limits.judges:
        return "no endpoint is ejected"
    reasons = []
    if limits.consecutive_failures:
        reasons.append(f"{_count(limits.consecutive_failures, 'failure')} in a row")
    rate = limits.failure_rate
    if rate is not None:
        reasons.append(
            f"{format_ratio(rate.rate)} of at least {rate.minimum_calls} requests in "
            f"{format_duration(rate.window)}"
        )
    least, longest = map(format_duration, (limits.eject_for.initial, limits.eject_for.max))
    out = "would be left out" if limits.mode is Mode.OBSERVE else "is left out"
    why = " or ".join(reasons)
    most = f"at most {format_ratio(limits.max_ejected)}, but one of two or more"
    return f"an endpoint {out} for {least} to {longest} after {why}; {most}"


def _checked(check: HealthCheckConfig) -> str:
    """The rules of health checks in words."""
    if check.path is not None:
        asked = f"GET {check.path} must be answered {', '.join(check.expect)}"
    else:
        asked = f"grpc.health.v1 must answer SERVING for {check.grpc or 'the server'}"
    return (
        f"every {format_duration(check.interval)} {asked} within {format_duration(check.timeout)}; "
        f"an endpoint is left out after {_count(check.unhealthy, 'failure')} in a row, and back "
        f"after {_count(check.healthy, 'pass', 'es')}"
    )


def _count(number: int, what: str, plural: str = "s") -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}{plural}"
