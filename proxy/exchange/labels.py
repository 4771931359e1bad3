"""Metric labels of caller-named authorities: the first ones get a label, others are ``other``.

An authority keeps its label. Names that do not exist could use up all labels, so most are reserved
for authorities whose name was resolved; a few go to unresolved ones, so that a dependency that is
missing from the start is visible.
"""

MAX_LABELS = 100
"""Maximum authorities with their own label."""
MAX_UNKNOWN = 20
"""Maximum of these whose name was not resolved yet."""

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
        """Whether an authority has a label, or gets one now. `found`: its name was resolved."""
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
