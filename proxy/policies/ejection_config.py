"""The settings of outlier ejection (`proxy.policies.ejection`)."""

from dataclasses import dataclass
from enum import Enum

from proxy.policies.gate import Mode


class OnNone(Enum):
    """What to do when no endpoint can be used."""

    USE_ALL = "use-all"
    REFUSE = "refuse"


@dataclass(frozen=True)
class FailureRateConfig:
    """`rate` 0 to 1, of at least `minimum_calls` in the last `window` whole seconds."""

    rate: float = 0.5
    minimum_calls: int = 20
    window: float = 30.0


@dataclass(frozen=True)
class EjectForConfig:
    """Seconds."""

    initial: float = 30.0
    max: float = 300.0


@dataclass(frozen=True)
class OutlierConfig:
    """`consecutive_failures` 0 and `failure_rate` None: not judged. `max_ejected` is a ratio."""

    mode: Mode = Mode.ENFORCE
    consecutive_failures: int = 5
    failure_rate: FailureRateConfig | None = FailureRateConfig()
    eject_for: EjectForConfig = EjectForConfig()
    max_ejected: float = 0.5
    on_none: OnNone = OnNone.USE_ALL

    @property
    def judges(self) -> bool:
        """Whether attempts may eject an endpoint."""
        return self.consecutive_failures > 0 or self.failure_rate is not None
