"""Which endpoints of an upstream can be used, where ejection or health checks decide about it."""

import logging
from collections.abc import Callable, Collection, Iterable
from typing import Final, TypeAlias

from proxy.clock import Random
from proxy.config.model import UpstreamConfig
from proxy.policies.ejection import Ejection, Member, no_ejections
from proxy.policies.ejection_config import OnNone, OutlierConfig
from proxy.upstream.endpoint import Endpoint

LeftOut: TypeAlias = tuple[tuple[str, str], ...]
"""Endpoints that get no requests, each with the reason."""
NONE_LEFT_OUT: Final[LeftOut] = ()
MOST_TOLD: Final = 8
"""Endpoints of a `LeftOut`; of more, the last entry says how many."""
_NEVER_EJECTS: Final = OutlierConfig(consecutive_failures=0, failure_rate=None)
"""With health checks alone."""
_ONLY_OBSERVED: Final = " (outlier_detection.mode is observe: it is still used)"

_log = logging.getLogger("proxy.upstream")


class StandingCounts:
    """Of an upstream, over all reloads. `checks`: health checks by result."""

    __slots__ = ("checks", "ejections")

    def __init__(self) -> None:
        self.ejections = no_ejections()
        self.checks: dict[str, int] = {"passed": 0, "failed": 0}


class Standings:
    """`usable` are the endpoints that get requests, `left_out` names the others. `refuses`: if none
    is usable, requests are refused.

    `ejects`: outlier detection is on; else only health checks decide.
    """

    __slots__ = (
        "_endpoints",
        "_name",
        "_on_return",
        "_out",
        "counts",
        "ejection",
        "ejects",
        "left_out",
        "refuses",
        "usable",
    )

    def __init__(
        self,
        config: UpstreamConfig,
        random: Random,
        on_return: Callable[[list[Endpoint]], None],
        counts: StandingCounts,
    ) -> None:
        """`on_return` is called with endpoints that can be used again."""
        self._endpoints: list[Endpoint] = []
        self._name = config.name
        self._on_return = on_return
        self._out: dict[Endpoint, int] = {}
        self.usable: list[Endpoint] = []
        self.left_out = NONE_LEFT_OUT
        self.counts = counts
        self.ejection = Ejection(_settings(config), random, self._changed, counts.ejections)
        self.ejects = self.refuses = False
        self._settle(config)

    def adopt(self, config: UpstreamConfig, now: float) -> bool:
        """Go on with these settings; False: make others."""
        if not self.ejection.reconfigure(_settings(config), now):
            return False
        self._settle(config)
        return True

    def _settle(self, config: UpstreamConfig) -> None:
        self.ejects = config.outlier_detection is not None
        self.refuses = self.ejection.config.on_none is OnNone.REFUSE

    def join(self) -> Member:
        """The state of a new endpoint; `renew` follows."""
        return self.ejection.join()

    def renew(self, endpoints: list[Endpoint], gone: Iterable[Endpoint], now: float) -> None:
        """The upstream's endpoints are these; those that are `gone` have left."""
        self._endpoints = endpoints
        self._sort_out()
        for endpoint in gone:
            if endpoint.member is not None:
                self.ejection.leave(endpoint.member, now)

    def probe(self, exclude: Collection[Endpoint], now: float, *, always: bool) -> list[Endpoint]:
        """Endpoints whose return the next request at them decides.

        A repeated attempt probes none, unless `always`: it may be its request's last.
        """
        ejection = self.ejection
        if ejection.observes or (exclude and not always):
            return []
        found = [one for one in self._endpoints if _wants_probe(one, now)]
        if not found:
            ejection.plan()
        return found

    def _changed(self) -> None:
        before = self.usable
        self._sort_out()
        back = [one for one in self.usable if one not in before]
        if back:
            self._on_return(back)
        self._log_ejections()

    def _sort_out(self) -> None:
        self.usable = [one for one in self._endpoints if _usable(one)]
        if len(self.usable) == len(self._endpoints):
            self.left_out = NONE_LEFT_OUT
            return
        out = [(one.label, _why_out(one)) for one in self._endpoints if not _usable(one)]
        if len(out) > MOST_TOLD:
            rest = len(out) - MOST_TOLD + 1
            out = [*out[: MOST_TOLD - 1], (f"{rest} others", "ejected or unhealthy")]
        self.left_out = tuple(out)

    def _log_ejections(self) -> None:
        out: dict[Endpoint, int] = {}
        for endpoint in self._endpoints:
            member = endpoint.member
            if member is None or not member.ejected:
                continue
            out[endpoint] = member.row
            if self._out.get(endpoint) != member.row:
                _log.warning(
                    "endpoint %s of %s is ejected for %.0f s%s: %s, %d in a row",
                    endpoint.label,
                    self._name,
                    member.until - member.since,
                    _ONLY_OBSERVED if self.ejection.observes else "",
                    member.why.value,
                    member.row,
                )
        for endpoint in self._out:
            if endpoint not in out and endpoint in self._endpoints:
                _log.info("endpoint %s of %s is back", endpoint.label, self._name)
        self._out = out


def _settings(config: UpstreamConfig) -> OutlierConfig:
    return config.outlier_detection or _NEVER_EJECTS


def _usable(endpoint: Endpoint) -> bool:
    return endpoint.member is None or endpoint.member.usable


def _why_out(endpoint: Endpoint) -> str:
    member = endpoint.member
    if member is None or not member.ejected:
        return "unhealthy"
    return f"ejected: {member.why.value}"


def _wants_probe(endpoint: Endpoint, now: float) -> bool:
    return endpoint.member is not None and endpoint.member.wants_probe(now)
