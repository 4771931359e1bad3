"""All gates by kind and name: created when first needed, kept over a reload, dropped when unused.

Several bindings may share one gate. It is dropped with the last of them.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from time import monotonic
from typing import Any, TypeAlias

from proxy.exchange.labels import Labels
from proxy.policies import catalogue
from proxy.policies.circuit_breaker import CircuitBreaker
from proxy.policies.circuit_breaker_answers import BreakerState
from proxy.policies.gate import Family, Gate, GateKind, Snapshot

Labelled: TypeAlias = tuple[str, ...]
"""The values of a family's labels."""
Transition: TypeAlias = Callable[[CircuitBreaker, BreakerState, BreakerState, float], None]


class Entry:
    """A gate and its users.

    `authority`: the caller-named one, None if the file names the upstream. `holders`: the number of
    bindings that use it.
    """

    __slots__ = ("authority", "config", "gate", "holders", "kind", "route", "upstream")

    def __init__(
        self,
        kind: GateKind,
        gate: Gate,
        config: object,
        *,
        route: str,
        upstream: str,
        authority: str | None = None,
    ) -> None:
        self.kind = kind
        self.gate = gate
        self.config = config
        self.route = route
        self.upstream = upstream
        self.authority = authority
        self.holders = 0


class Gates:
    """The gates of one configuration. Bindings bound their number."""

    def __init__(self, labels: Labels, on_transition: Transition | None = None) -> None:
        self.labels = labels
        self._on_transition = on_transition
        self._entries: dict[str, dict[str, Entry]] = {}
        self._inherited: dict[str, dict[str, Entry]] = {}
        # Sums of dropped gates without a label: such a sum never falls.
        self._gone: dict[str, Counter[tuple[str, Labelled]]] = {}

    def of(self, kind: GateKind) -> dict[str, Entry]:
        """The gates of a kind, by name."""
        return self._entries.setdefault(kind.key, {})

    def labelled(self, entry: Entry) -> bool:
        """Whether it has its own metric label."""
        return entry.authority is None or entry.authority in self.labels

    def hold(
        self,
        kind: GateKind,
        name: str,
        config: object,
        *,
        route: str,
        upstream: str,
        authority: str | None,
    ) -> Entry:
        """The gate of that name, for another binding."""
        entries = self.of(kind)
        entry = entries.get(name)
        if entry is None:
            entry = entries[name] = Entry(
                kind,
                self._gate(kind, name, config, upstream),
                config,
                route=route,
                upstream=upstream,
                authority=authority,
            )
        entry.holders += 1
        return entry

    def release(self, entry: Entry) -> None:
        """A binding was dropped; with the last one the gate is dropped."""
        entry.holders -= 1
        entries = self.of(entry.kind)
        if entry.holders == 0 and entries.get(entry.gate.name) is entry:
            del entries[entry.gate.name]
            self._retire(entry)

    def take_over(self, before: "Gates") -> None:
        """Take over the gates of `before`: each one that is used by name before the next reload, if
        it accepts its new settings."""
        for kind in catalogue.kinds():
            for entry in before._inherited.get(kind.key, {}).values():
                before._retire(entry)
        self._inherited = {key: dict(entries) for key, entries in before._entries.items()}
        self._gone = before._gone

    def inherits(self, kind: GateKind, name: str) -> bool:
        """Whether a gate of that name waits to be taken over."""
        return name in self._inherited.get(kind.key, {})

    def gone(self, kind: GateKind) -> Mapping[tuple[str, Labelled], int]:
        """The sums of dropped gates without a label, by field and the labels' values."""
        return self._gone.get(kind.key, {})

    def is_labelled_now(self, entry: Entry) -> None:
        """The gate gets a label. What it has counted so far stays under ``other``."""
        self._add(entry)

    def _gate(self, kind: GateKind, name: str, config: object, upstream: str) -> Gate:
        former = self._inherited.get(kind.key, {}).pop(name, None)
        same = former is not None and (not kind.of_upstream or former.upstream == upstream)
        if former is not None and same and former.gate.adopt(config):
            return former.gate
        gate = kind.make(name, config)
        if former is not None:
            gate.succeed(former.gate)
        if isinstance(gate, CircuitBreaker):
            gate.on_transition = self._on_transition
        return gate

    def _retire(self, entry: Entry) -> None:
        if not self.labelled(entry):
            self._add(entry)

    def _add(self, entry: Entry) -> None:
        counters = [family for family in entry.kind.families if family.counter]
        if not counters:
            return
        snapshot = entry.gate.snapshot(monotonic())
        gone = self._gone.setdefault(entry.kind.key, Counter())
        for family in counters:
            for labels, count in counts_of(family, snapshot):
                gone[family.field, labels] += count


def counts_of(family: Family, snapshot: Snapshot) -> Iterator[tuple[Labelled, Any]]:
    """The values of a family in a snapshot, each with the values of its labels."""
    value = getattr(snapshot, family.field)
    if isinstance(value, Mapping):
        for labels, count in value.items():
            yield labels if isinstance(labels, tuple) else (labels,), count
    elif value is None:
        return
    elif family.labels:
        for member in type(value):
            yield (member.value,), int(member is value)
    else:
        yield (), value
