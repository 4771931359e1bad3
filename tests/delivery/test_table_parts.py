"""The pure parts of outbox tables: keys, sightings, SQL."""

import pytest
from delivery.table_bed import config_of
from hypothesis import given
from hypothesis import strategies as st
from service_table import COLUMNS

from proxy.config.postgres_url import check_postgres_url, without_password
from proxy.delivery.tables.catalog import Column, Shape
from proxy.delivery.tables.identity import request_id, row_key
from proxy.delivery.tables.sightings import MOST, Sight, Sightings
from proxy.delivery.tables.statements import Statements, literal, quoted

NAMES = st.text(min_size=1, max_size=30)


def test_a_rows_key_says_where_it_is():
    assert row_key("shop", "public", "outbox_events", "42") == "shop.public.outbox_events:42"
    assert row_key("d", "s", "t", "a b/é~") == "d.s.t:a~20b~2f~c3~a9~7e"


@given(NAMES, NAMES, NAMES, st.text(min_size=1))
def test_every_key_is_a_sagas_id(database, schema, table, row):
    key = row_key(database, schema, table, row)
    assert 1 <= len(key) <= 128
    assert set(key) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~:-")
    assert key == row_key(database, schema, table, row)
    assert request_id(key) == request_id(key)


@given(st.text(min_size=1), st.text(min_size=1))
def test_two_rows_have_two_keys(one, other):
    same = row_key("d", "s", "t", one) == row_key("d", "s", "t", other)
    assert same == (one == other)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@h/d", "postgresql://u:***@h/d"),
        (
            "postgres://u:p%40q@h:1,i:2/d?x=1&password=p",
            "postgres://u:***@h:1,i:2/d?x=1&password=***",
        ),
        ("postgresql://h/d?password=p&x=1", "postgresql://h/d?password=***&x=1"),
        ("postgresql:///d?host=/run/p", "postgresql:///d?host=/run/p"),
        ("postgresql://h/d?sslpassword=p&x=1", "postgresql://h/d?sslpassword=***&x=1"),
        ("postgresql://h/d?pass%77ord=p", "postgresql://h/d?pass%77ord=***"),
    ],
)
def test_urls_are_shown_without_their_password(url, shown):
    assert without_password(check_postgres_url(url)) == shown


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:one@two@h/d",
        "postgresql://u:12/two@h/d",
        "postgresql://u:12/one?two@h/d",
        "postgresql://u:12#two@h/d",
    ],
)
def test_a_password_that_is_not_encoded_is_refused_and_not_said(url):
    with pytest.raises(ValueError, match="write %23 or %40") as told:
        check_postgres_url(url)
    assert "two" not in str(told.value)
    if "?" not in url:
        assert "two" not in without_password(url)


def test_names_and_literals_are_quoted():
    assert quoted('a"; DROP TABLE x') == '"a""; DROP TABLE x"'
    assert literal("it's") == "'it''s'"


def shape(columns):
    types = {"payload": "jsonb", "retry_count": "integer"}
    found = {
        use: Column(name, types.get(name, "timestamp with time zone" if "_at" in name else "text"),
                    not_null=True)
        for use, name in columns.items()
    }  # fmt: skip
    return Shape(4_000_000_000, "shop", "public", "outbox_events", found)


def test_a_table_without_order_waits_for_no_transaction():
    config = config_of("postgresql://h/d", COLUMNS, "order_by: none")
    sql = Statements(config, shape(COLUMNS), 1000)
    assert "near" not in sql.claim
    assert "edge.low" not in sql.claim
    ordered = Statements(config_of("postgresql://h/d", COLUMNS), shape(COLUMNS), 1000)
    assert "near" in ordered.claim
    assert "edge.low" in ordered.claim


def test_the_lock_is_of_this_table():
    sql = Statements(config_of("postgresql://h/d", COLUMNS), shape(COLUMNS), 1000)
    assert "pg_advisory_xact_lock(1919971188, -294967296)" in sql.guards


class TestSightings:
    def sightings(self):
        return Sightings(300.0, lambda tries: 10.0 * tries)

    def test_a_row_is_ready_when_its_version_is_old_enough(self):
        seen = self.sightings()
        row = Sight("1", "v1", delivering=True, attempts=0)
        failed = Sight("2", "v9", delivering=False, attempts=2)
        seen.see([row, failed], 1000.0)
        assert seen.ready(1019.9) == ([], [])
        assert seen.next_due() == 1020.0
        assert seen.ready(1020.0) == (["2"], ["v9"])
        seen.see([row, failed], 1200.0)
        assert seen.ready(1300.0) == (["1", "2"], ["v1", "v9"])

    def test_another_version_is_another_row(self):
        seen = self.sightings()
        seen.see([Sight("1", "v1", True, 0)], 0.0)
        seen.see([Sight("1", "v2", True, 0)], 299.0)
        assert seen.ready(301.0) == ([], [])
        assert seen.ready(599.0) == (["1"], ["v2"])

    def test_what_is_not_seen_is_forgotten(self):
        seen = self.sightings()
        seen.see([Sight("1", "v1", True, 0)], 0.0)
        seen.see([], 1.0)
        assert seen.next_due() is None

    def test_an_own_failure_has_its_own_time(self):
        seen = self.sightings()
        seen.expect("1", "v1", 7.0)
        seen.see([Sight("1", "v1", False, 5)], 6.0)
        assert seen.ready(7.0) == (["1"], ["v1"])

    def test_it_is_bounded(self):
        seen = self.sightings()
        for number in range(10 * MOST):
            seen.expect(str(number), "v", 0.0)
        assert len(seen.ready(1.0)[0]) == 2 * MOST
