"""`outbox_tables` in the file: its keys, the problems that are reported, and what is warned of."""

import pytest

from proxy.config import effective
from proxy.config.loading import load_text
from proxy.config.problems import ConfigError
from proxy.config.table_checks import url_of
from proxy.config.table_model import TableColumns, TableName, TableStates
from proxy.policies.outbox import OutboxConfig
from proxy.routing.table import RouteTable
from proxy.templates import Scope

COLUMNS = "{id: id, key: aggregate_id, body: payload, status: status, created: at, attempts: tries}"
FILE = f"""
upstreams:
  stock: {{endpoints: ["http://10.0.0.1:80"]}}
policies:
  slow: {{timeouts: {{request: 60s}}}}
outbox_tables:
  orders:
    url: postgresql://u:s3cret@db/shop
    table: outbox_events
    columns: {COLUMNS}
    to: {{upstream: stock, path: "/events/${{id}}", policy: slow}}
    outbox: {{attempts: 3, order_by: key}}
"""


def load(text=FILE):
    return load_text(text, "f.yaml", {})


def table(text=FILE):
    return load(text).config.outbox_tables["orders"]


def changed(old, new):
    assert old in FILE
    return FILE.replace(old, new)


def errors(text):
    with pytest.raises(ConfigError) as raised:
        load(text)
    return str(raised.value)


def test_a_table_as_values():
    found = table()
    assert found.table == TableName("outbox_events")
    assert found.columns == TableColumns(
        "id", "payload", "status", key="aggregate_id", created="at", attempts="tries"
    )
    assert found.states == TableStates(
        "PENDING", "PROCESSING", "PROCESSED", "FAILED", "DEAD_LETTER"
    )
    assert (found.poll, found.notify, found.batch, found.reclaim) == (1.0, None, 100, 300.0)
    assert (found.to.upstream, found.to.method, found.to.policy) == ("stock", "POST", "slow")
    assert found.to.path.path(Scope("a b")) == "/events/a%20b"
    assert (found.outbox.attempts, found.ordered) == (3, True)
    assert found.outbox.backoff == OutboxConfig().backoff
    assert load().warnings == ()


def test_its_tries_have_a_route():
    config = load().config
    route = RouteTable(config).named("table:orders")
    assert route is not None
    assert route.config.upstream == "stock"
    assert route.config.policies.timeouts.request == 60


def test_the_password_is_not_shown():
    config = load().config
    assert effective(config)["outbox_tables"]["orders"]["url"] == "postgresql://u:***@db/shop"
    assert "s3cret" not in str(effective(config))


def test_a_schema():
    assert table(changed("table: outbox_events", "table: shop.events")).table == TableName(
        "events", "shop"
    )


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        ("outbox_events", "a.b.c", "9:12", "must be the name of a table, or SCHEMA.TABLE"),
        ("outbox_events", "'\"Outbox\"'", "9:12", "without quotes; upper and lower case count"),
        ("outbox_events", "a" * 64, "9:12", "longer than 63 bytes"),
        ("postgresql://u:s3cret@db/shop", "mysql://db/shop", "8:10", "must be a URL such as"),
        ("postgresql://u:s3cret@db/shop", "postgresql://db", "8:10", "names no database"),
        ("postgresql://u:s3cret@db/shop", "postgresql://db:99999/x", "8:10", "a port is a number"),
        ("body: payload, ", "", "10:14", "'body' is missing"),
        ("key: aggregate_id, ", "", "12:37", "needs columns.key"),
        (", attempts: tries", "", "12:24", "needs columns.attempts"),
        ("created: at, ", "", "12:23", "needs columns.created"),
        ("body: payload", "body: tries", "10:94", "'tries' is written, and has only one use"),
        ("upstream: stock", "saga: x", "11:16", "there is no saga 'x'"),
        ("upstream: stock, ", "", "11:9", "needs a saga, or an upstream and a path"),
        ('path: "/events/${id}", ', "", "11:9", "'path' is missing"),
        ("${id}", "${input./x}", "11:33", "has no value here; there are ${id}, ${body}"),
        ("upstream: stock", "upstream: stok", "11:20", "did you mean 'stock'?"),
        ("order_by: key", "order_by: header:x", "12:37", "must be none or key (columns.key)"),
        ("order_by: key", "mode: always", "12:27", "unknown key"),
        ("to: {", "to: {headers: {Idempotency-Key: a}, ", "11:19", "is made of the row's id"),
        ("table: out", "states: {done: PENDING}\n    table: out", "9:20", "is pending too"),
        ("table: out", "states: {failed: PENDING}\n    table: out", "9:22", "columns.due"),
    ],
)
def test_problems_with_their_places(old, new, place, message):
    text = changed(old, new)
    if "columns.created" in message:
        text = text.replace("attempts: 3", "max_age: 1h").replace(", attempts: tries", "")
    told = errors(text)
    assert f"f.yaml:{place}: outbox_tables.orders" in told
    assert message in told


def test_a_table_without_a_database():
    without = changed("    url: postgresql://u:s3cret@db/shop\n", "")
    assert "f.yaml:8:12: outbox_tables.orders.table: needs the url of its database" in errors(
        without
    )
    assert "needs the url" in errors('store: {url: "memory:"}' + without)


def test_two_entries_for_one_table():
    again = FILE[FILE.index("  orders:") :].replace("orders:", "again:")
    assert "outbox_tables.orders delivers its rows already" in errors(FILE + again)
    other = again.replace("/shop", "/other")
    assert url_of(load(FILE + other).config.outbox_tables["again"], load().config).endswith(
        "/other"
    )


def test_failed_rows_may_be_pending_ones_where_the_next_try_has_a_column():
    text = changed("attempts: tries", "attempts: tries, due: next_at")
    text = text.replace("table: out", "states: {failed: PENDING}\n    table: out")
    assert table(text).states.failed == "PENDING"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("created: at, ", "", "outbox_tables.orders.columns: without `created` rows with one key"),
        ("order_by: key", "on_dead: block", "outbox.on_dead: has no effect without order_by: key"),
    ],
)
def test_warnings(old, new, message):
    (warning,) = load(changed(old, new)).warnings
    assert message in str(warning)
