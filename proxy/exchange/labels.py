"""Metric labels of authorities that callers name: the first ones, the rest count as ``other``.

An authority keeps its label once it has one. Names that do not exist would take all of them, so
most are for authorities whose name was found; a few go to those whose name was not found yet, so
that a dependency which is missing from the start is seen.
"""

MAX_LABELS = 100
"""Authorities with a label of their own."""
MAX_UNKNOWN = 20
"""Of these, those whose name was not found yet."""

OTHER = "other"


class Labels:
    """At most `MAX_LABELS` names, each a host and a port."""

    __slots__ = ("_names", "_unknown")

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._unknown: set[str] = set()

    def __contains__(self, authority: object) -> bool:
        return authority in self._names

    def __len__(self) -> int:
        return len(self._names)

    def claim(self, authority: str, *, found: bool) -> bool:
        """Whether an authority has a label; it gets one if one is left. `found`: its name was."""
        if found:
            self._unknown.discard(authority)
        if authority in self._names:
            return True
        if len(self._names) >= MAX_LABELS:
            return False
        if not found:
            if len(self._unknown) >= MAX_UNKNOWN:
                return False
            self._unknown.add(authority)
        self._names.add(authority)
        return True
