"""Explains what becomes of the rows of an outbox table: where they go, and by which values."""

from collections.abc import Iterator
from typing import Any, Final

from proxy.config.loading import Loaded
from proxy.config.problems import format_path
from proxy.config.sources import Setting
from proxy.config.suggestions import did_you_mean
from proxy.config.table_keys import TABLE
from proxy.config.table_model import TableConfig
from proxy.config.table_summary import describe_rules, describe_source, describe_target
from proxy.routing.table_routes import table_route

PREFIX: Final = "table:"
"""How a table is named where a URL is expected."""
_SECTION: Final = "outbox_tables"


class TableExplanation:
    """One table. Raises ValueError with a sentence if there is none of that name."""

    def __init__(self, loaded: Loaded, name: str) -> None:
        tables = loaded.config.outbox_tables
        if name not in tables:
            raise ValueError(f"there is no outbox table {name!r}{did_you_mean(name, tables)}")
        self._loaded = loaded
        self.table: TableConfig = tables[name]
        self._route = table_route(loaded.config, self.table)

    def text(self) -> str:
        """For people."""
        table, config = self.table, self._loaded.config
        lines = [
            f"rows of {describe_source(table, config)}",
            describe_target(table),
            describe_rules(table),
            "",
            f"outbox table {table.name}",
            *_columns([*self._keys()]),
        ]
        if self._route is not None:
            policy = self._route.config.policy
            lines += ["", f"policy {policy}, in effect for each try (route {table.route_name})"]
            lines += _columns(self._loaded.sources.settings(self._route.config))
        return "\n".join(lines)

    def document(self) -> dict[str, Any]:
        """Plain data for programs."""
        settings = [*self._keys()]
        if self._route is not None:
            settings += self._loaded.sources.settings(self._route.config)
        return {
            "table": self.table.name,
            "rows": describe_source(self.table, self._loaded.config),
            "to": describe_target(self.table),
            "policy": None if self._route is None else self._route.config.policy,
            "settings": [
                {"key": one.key, "value": one.value, "source": one.source} for one in settings
            ],
        }

    def _keys(self) -> Iterator[Setting]:
        shown = TABLE.dump(self.table, False)
        for path, _ in TABLE.leaves(self.table):
            value: Any = shown
            for key in path:
                value = value.get(key) if isinstance(value, dict) else None
            if value is not None:
                source = self._loaded.sources.of((_SECTION, self.table.name, *path))
                yield Setting(format_path(path), value, source)


def _columns(settings: list[Setting]) -> list[str]:
    widths = [max(len(s.key) for s in settings), max(min(len(s.text), 32) for s in settings)]
    return [f"  {s.key:{widths[0]}}  {s.text:{widths[1]}}  {s.source}" for s in settings]
