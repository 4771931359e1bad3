"""Problems and warnings of outbox tables."""

from collections import Counter

from proxy.config.cursor import Cursor
from proxy.config.extras import warn_without_postgres
from proxy.config.model import Config
from proxy.config.postgres_url import SCHEMES
from proxy.config.problems import Marks, Path, Problems
from proxy.config.record import Given
from proxy.config.table_model import WRITTEN, TableConfig
from proxy.policies.outbox import OnDead, OutboxConfig


def check_table(table: TableConfig, given: Given, at: Cursor) -> None:
    """Report keys that contradict each other, or need a column."""
    _check_columns(table, given["columns"])
    states = given.get("states", at)
    _check_states(table, states)
    outbox = given.get("outbox", at)
    rules, columns = table.outbox, table.columns
    if table.ordered and columns.key is None:
        outbox.child("order_by").error("needs columns.key")
    if rules.attempts and columns.attempts is None:
        outbox.child("attempts").error("needs columns.attempts, where tries are counted")
    if rules.max_age != OutboxConfig().max_age and columns.created is None:
        outbox.child("max_age").error("needs columns.created")
    if rules.on_dead is OnDead.BLOCK and not table.ordered:
        outbox.child("on_dead").warning("has no effect without order_by: key")


def _check_columns(table: TableConfig, at: Cursor) -> None:
    uses = Counter(name for _, name in table.columns.given)
    for key, name in table.columns.given:
        if key in WRITTEN and uses[name] > 1:
            at.child(key).error(f"the column {name!r} is written, and has only one use")


def _check_states(table: TableConfig, at: Cursor) -> None:
    states = table.states
    seen: dict[str, str] = {}
    for key in ("pending", "delivering", "done", "failed", "dead"):
        value = getattr(states, key)
        other = seen.setdefault(value, key)
        if other == key:
            continue
        if (other, key) == ("pending", "failed"):
            if table.columns.due is None:
                at.child(key).error(
                    f"{value!r} is pending too: without columns.due a row that failed would be "
                    "tried again at once"
                )
        else:
            at.child(key).error(f"{value!r} is {other} too: each state needs a value of its own")


def url_of(table: TableConfig, config: Config) -> str:
    """The URL of its database; "" if neither the table nor the store has one."""
    text = table.url
    if text is None and config.store is not None:
        text = config.store.url.text
    return text if text is not None and text.partition("://")[0] in SCHEMES else ""


def check_tables(config: Config, given: Marks, problems: Problems) -> None:
    """Each table needs a database, and is delivered once."""
    seen: dict[tuple[str, str], str] = {}
    for table in config.outbox_tables.values():
        path: Path = ("outbox_tables", table.name, "table")
        url = url_of(table, config)
        if not url:
            problems.error(
                given[path],
                path,
                "needs the url of its database; only a store on PostgreSQL has one to share",
            )
        other = seen.setdefault((url, str(table.table)), table.name)
        if other != table.name:
            problems.error(given[path], path, f"outbox_tables.{other} delivers its rows already")


def warn_of_tables(config: Config, given: Marks, problems: Problems) -> None:
    """Warn of promises that are smaller than they look."""
    for table in config.outbox_tables.values():
        if table.url is not None:
            path: Path = ("outbox_tables", table.name, "url")
            warn_without_postgres(given[path], path, problems)
        if table.ordered and table.columns.created is None:
            _warn(
                table,
                "without `created` rows with one key are in the order of their id",
                given,
                problems,
            )
        if table.columns.attempts is None:
            _warn(table, "without `attempts` every wait is as long as the first", given, problems)


def _warn(table: TableConfig, message: str, given: Marks, problems: Problems) -> None:
    path: Path = ("outbox_tables", table.name, "columns")
    problems.warning(given[path], path, message)
