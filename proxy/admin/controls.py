"""What the admin API asks of the process: drain and reload. Floor 8 implements it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from proxy.telemetry.observed import Lifecycle

if TYPE_CHECKING:
    from proxy.delivery.outbox import Outbox
    from proxy.delivery.sagas import Sagas
    from proxy.delivery.tables.tables import OutboxTables


class Rejection(Enum):
    """Why a reload changed nothing; the value completes "Nothing has changed: "."""

    INVALID = "the file has problems"
    NEEDS_RESTART = "its change needs a restart"
    NO_FILE = "there is no file"


@dataclass(frozen=True, slots=True)
class Reload:
    """The result of a reload. If it was applied, `problems` are the file's warnings."""

    problems: tuple[str, ...]
    rejection: Rejection | None

    @property
    def applied(self) -> bool:
        return self.rejection is None

    @property
    def result(self) -> str:
        """For documents and metrics."""
        return "applied" if self.applied else "rejected"


class Controls(Lifecycle, Protocol):
    """`started` is monotonic; `ready`: the listeners are open and routes usable.

    `config_file` None: the embedded default runs. `config_loaded_at` is in seconds since the
    Unix epoch, `last_reload` a JSON value, None before the first.
    """

    @property
    def draining(self) -> bool: ...
    @property
    def ready(self) -> bool: ...
    @property
    def started(self) -> float: ...
    @property
    def config_file(self) -> str | None: ...
    @property
    def config_loaded_at(self) -> float: ...
    @property
    def last_reload(self) -> Mapping[str, Any] | None: ...

    @property
    def deliveries(self) -> "Outbox | None":
        """The outbox; None without one."""

    @property
    def outbox_tables(self) -> "OutboxTables | None":
        """The tables of the service's own; None without one."""

    @property
    def sagas(self) -> "Sagas | None":
        """The sagas; None where configuration and store have none."""

    async def turn_bypass(self, on: bool) -> None:
        """Suspend policies that may make an outage worse for a while, or use them again.

        Returns when that is in effect. It must not be cancelled.
        """

    def begin_drain(self) -> None:
        """Start the drain that SIGTERM also starts; no effect if it has begun."""

    async def inbound_drained(self) -> bool:
        """Wait until the service gets no more requests through the proxy.

        False after a while if no drain begins. May be cancelled.
        """

    async def drained(self) -> int:
        """Wait until the drain has ended; returns how many exchanges it cut. May be cancelled."""
