"""The event loop of these tests is turned by hand, and so is the data plane's clock."""

from proxy.simulation.virtual_time import VirtualLoop as HandLoop
from proxy.simulation.virtual_time import virtual_time as turned_by_hand

__all__ = ["HandLoop", "turned_by_hand"]
