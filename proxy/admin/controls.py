"""What the admin side may ask of the process's life: floor 8 does it."""

from collections.abc import Mapping
from typing import Any, Protocol

from proxy.telemetry.observed import Lifecycle


class Controls(Lifecycle, Protocol):
    """`started` is monotonic; `ready`: the listeners are open and routes can be used.

    `config_file` None: the embedded default runs. `config_loaded_at` is in seconds since the
    Unix epoch, `last_reload` what JSON can hold, None before the first.
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

    def begin_drain(self) -> None:
        """Start the drain, the one that SIGTERM starts; nothing happens where it has begun."""

    async def drained(self) -> int:
        """Wait until that drain has ended; how many exchanges it cut. May be cancelled."""
