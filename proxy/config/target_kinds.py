"""The kind of a route's upstream: one name, or several by weight."""

import re
from typing import Any, Final, TypeAlias

from proxy.config.cursor import Cursor, Reported
from proxy.config.kinds import Integer, JsonSchema, Kind
from proxy.config.names import UpstreamName
from proxy.config.record import PairsOf
from proxy.policies.split import Shares

_PERCENT: Final = 100
_NEARLY: Final = 10
"""Weights whose sum is this close to 100 were probably meant as percent."""

Target: TypeAlias = tuple[str | None, Shares]
"""The upstream of a route, of a split the first one; and the split, empty without one."""


class _Weight(Integer):
    """A share is a weight divided by the sum of all."""

    def __init__(self) -> None:
        super().__init__(0, 1_000_000)

    def read(self, at: Cursor, base: int | None = None) -> int:
        if "weight" in (at.members() or {}):
            raise at.error("must be the weight itself: {v1: 95, v2: 5}")
        return super().read(at, base)

    def parse(self, text: str) -> int:
        try:
            return super().parse(text)
        except ValueError as error:
            percent = text.removesuffix("%")
            if percent != text and percent.isdigit():
                raise ValueError(f"{error}; did you mean {percent}?") from None
            if re.fullmatch(r"[0-9]*\.[0-9]+", text):
                raise ValueError(f"{error}; weights are relative: {{v1: 95, v2: 5}}") from None
            raise


class TargetKind(Kind[Target]):
    """``inventory``, or ``{inventory-v1: 95, inventory-v2: 5}``."""

    _one = UpstreamName()
    _shares = PairsOf(_one, _Weight())

    def read(self, at: Cursor, base: Target | None = None) -> Target:
        if at.items() is not None:
            raise at.error("must be the name of an upstream, or weights such as {v1: 95, v2: 5}")
        if at.members() is None:
            return self._one.read(at), ()
        members = at.members() or {}
        if "endpoints" in members and "endpoints" not in at.reading.upstreams:
            raise at.error(
                "must be the name of an upstream: write upstreams: {NAME: {endpoints: [...]}}, and "
                "NAME here"
            )
        for key, (mark, cursor) in members.items():
            hint = self._one.unknown(key, at.reading.upstreams)
            if hint:
                at.reading.problems.error(mark, cursor.path, hint)
        shares = self._shares.read(at)
        if any(name not in at.reading.upstreams for name, _ in shares):
            raise Reported
        if not any(weight for _, weight in shares):
            raise at.error("at least one upstream needs a weight above 0, as in {v1: 95, v2: 5}")
        whole = sum(weight for _, weight in shares)
        first, weight = max(shares, key=lambda share: share[1])
        if weight != whole != _PERCENT and abs(whole - _PERCENT) <= _NEARLY:
            at.warning(
                f"the weights' sum is {whole}, so {first} gets {100 * weight / whole:.1f} %, not "
                f"{weight} %: each is divided by the sum"
            )
        return shares[0][0], shares

    def dump(self, value: Target, reveal: bool) -> Any:
        upstream, shares = value
        return dict(shares) if shares else upstream

    def schema(self) -> JsonSchema:
        weights = {"type": "object", "minProperties": 1} | {
            "additionalProperties": {"type": "integer", "minimum": 0, "maximum": 1_000_000}
        }
        return {"anyOf": [*self._one.schema().get("anyOf", [self._one.schema()]), weights]}
