"""How the engines' tables write states.

A state is a small number in a table: its place in `KEY_STATES` or `ENTRY_STATES`.
"""

from typing import Final

from proxy.store.records import EntryState, KeyState

KEY_STATES: Final = (KeyState.IN_FLIGHT, KeyState.DONE, KeyState.UNREPLAYABLE, KeyState.UNKNOWN)
ENTRY_STATES: Final = (
    EntryState.PENDING,
    EntryState.DELIVERING,
    EntryState.PARKED,
    EntryState.DELIVERED,
    EntryState.DEAD,
    EntryState.CANCELLED,
)
ENTRY_NUMBER: Final = {state: number for number, state in enumerate(ENTRY_STATES)}
MOST_IN_A_LIST: Final = 1000
MOST_COUNTED: Final = 10_000
"""Entries of a lane that are counted: counting reads each of them."""
