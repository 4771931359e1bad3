"""One panel of the Grafana dashboard."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: `queries` are pairs of PromQL and legend, `width` and `height` in grid units."""

    title: str
    tells: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    height: int = 8
    more: dict[str, Any] = field(default_factory=dict)
