"""Outbox tables in a few words, for `check` and `explain`."""

from proxy.config.model import Config
from proxy.config.postgres_url import without_password
from proxy.config.table_checks import url_of
from proxy.config.table_model import TableConfig
from proxy.units import format_duration


def describe_source(table: TableConfig, config: Config) -> str:
    """``outbox_events at postgresql://relay:***@db/shop``."""
    return f"{table.table} at {without_password(url_of(table, config))}"


def describe_target(table: TableConfig) -> str:
    """``saga place-order``, or ``POST upstream inventory /events``."""
    target = table.to
    if target.saga is not None:
        return f"starts saga {target.saga}"
    return f"{target.method} {target.upstream} {target.path.written}"


def describe_rules(table: TableConfig) -> str:
    """How its rows are delivered."""
    rules = table.outbox
    age = "" if table.columns.created is None else f"for {format_duration(rules.max_age)}"
    words = [
        "by key, one at a time" if table.ordered else "in no order",
        f"at most {rules.attempts} tries" if rules.attempts else "",
        age,
        f"looks every {format_duration(table.poll)}",
        f"listens to {table.notify}" if table.notify is not None else "",
        f"takes back after {format_duration(table.reclaim)}",
    ]
    return ", ".join(filter(None, words))
