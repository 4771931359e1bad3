"""What PostgreSQL says about a table, and whether it can be used. Pure.

Every problem is one sentence that names the table or the column and what it needs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proxy.config.table_model import WRITTEN, TableConfig

OLDEST: Final = 130000
"""The oldest server: 13 has `pg_current_snapshot`."""
_TABLES: Final = ("r", "p")
_PARTITIONED: Final = "p"
_KINDS: Final = {"v": "a view", "m": "a materialized view", "f": "a foreign table"}
_TIMES: Final = ("timestamp with time zone", "timestamp without time zone")
_WHOLE: Final = ("smallint", "integer", "bigint", "numeric")
_BODIES: Final = ("json", "jsonb", "text", "character varying", "bpchar", "bytea")

SIGN: Final = """
SELECT string_agg(concat_ws(' ', a.attrelid, a.attname, a.atttypid, a.atttypmod, a.attnotnull), ','
                  ORDER BY a.attnum) AS sign
FROM pg_attribute a
WHERE a.attrelid = to_regclass($1::text) AND a.attname = ANY($2::text[]) AND NOT a.attisdropped
"""
RELATION: Final = """
SELECT c.oid::bigint AS oid, c.relkind::text AS kind, n.nspname::text AS schema,
       c.relname::text AS name, has_table_privilege(c.oid, 'SELECT') AS may_select
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = to_regclass($1::text)
"""
SERVER: Final = """
SELECT current_setting('server_version_num')::int AS version, current_database()::text AS database,
       current_user::text AS role
"""
COLUMNS: Final = """
SELECT a.attname::text AS name, format_type(b.oid, -1) AS type, b.typcategory::text AS category,
       a.attnotnull AS not_null,
       CASE WHEN b.typname IN ('varchar', 'bpchar') AND a.atttypmod > 4
            THEN a.atttypmod - 4 END AS length,
       has_column_privilege(a.attrelid, a.attnum, 'UPDATE') AS may_update,
       EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisunique
               AND i.indisvalid AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum
               AND i.indpred IS NULL) AS is_unique,
       ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = b.oid) AS labels
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_type b ON b.oid = COALESCE(NULLIF(t.typbasetype, 0), t.oid)
WHERE a.attrelid = $1::bigint::oid AND a.attnum > 0 AND NOT a.attisdropped
"""


class Unusable(Exception):
    """The table cannot be used as it is; the text says why."""


class Changed(Unusable):
    """The table is not the one that was looked at, or its columns have changed since."""


class Refused(Unusable):
    """The database refuses a value of a row: its type, a constraint or a trigger."""


@dataclass(frozen=True, slots=True)
class Column:
    """`type`: as SQL spells it. `length`: the most characters, None: no limit."""

    name: str
    type: str
    not_null: bool
    length: int | None = None

    @property
    def is_time(self) -> bool:
        return self.type in _TIMES

    @property
    def with_zone(self) -> bool:
        return self.type == _TIMES[0]


@dataclass(frozen=True, slots=True)
class Shape:
    """A usable table. `columns` by what they are for. `sign`: differs after each change of it."""

    oid: int
    database: str
    schema: str
    name: str
    columns: Mapping[str, Column]
    sign: str | None = None


_Row = Mapping[str, Any]


def shape_of(
    table: TableConfig,
    server: _Row,
    relation: _Row | None,
    columns: Sequence[_Row],
    sign: str | None = None,
) -> Shape:
    """The shape of a table, from the rows of the queries above. Raises Unusable."""
    where = f"{table.table} in database {server['database']}"
    if server["version"] < OLDEST:
        raise Unusable(f"PostgreSQL {server['version'] // 10000} is too old: 13 is needed")
    if relation is None:
        raise Unusable(
            f"there is no table {where} for {server['role']}; upper and lower case count, and "
            "SCHEMA.TABLE names one outside the search path"
        )
    if relation["kind"] not in _TABLES:
        kind = _KINDS.get(relation["kind"], "no table")
        raise Unusable(f"{where} is {kind}; rows can only be claimed in a table")
    if not relation["may_select"]:
        raise Unusable(f"{server['role']} may not read it: GRANT SELECT, UPDATE ON {table.table}")
    known = {row["name"]: row for row in columns}
    found = {}
    for use, name in table.columns.given:
        if name not in known:
            raise Unusable(f"the table {where} has no column {name!r} (columns.{use})")
        problem = _problem(table, use, known[name])
        if problem:
            raise Unusable(f"column {name!r} of {where} {problem} (columns.{use})")
        if use in WRITTEN and not known[name]["may_update"]:
            raise Unusable(
                f"{server['role']} may not write its column {name!r}: "
                f"GRANT SELECT, UPDATE ON {table.table}"
            )
        row = known[name]
        found[use] = Column(name, row["type"], row["not_null"], row["length"])
    if not known[table.columns.id]["is_unique"] and relation["kind"] != _PARTITIONED:
        raise Unusable(
            f"column {table.columns.id!r} of {where} needs a primary key or a unique index "
            "(columns.id)"
        )
    where_it_is = relation["oid"], server["database"], relation["schema"], relation["name"]
    return Shape(*where_it_is, found, sign)


def _problem(table: TableConfig, use: str, row: _Row) -> str:
    """What is wrong with a column's type, "" if nothing."""
    kind: str = row["type"]
    needs = f"has the type {kind} and needs"
    match use:
        case "body":
            return "" if kind in _BODIES else f"{needs} json, jsonb, text or bytea"
        case "status":
            return _problem_of_status(table, row)
        case "attempts":
            return "" if kind in _WHOLE else f"{needs} integer"
        case "error":
            return "" if row["category"] == "S" else f"{needs} text"
        case "done" | "claimed" | "due":
            return "" if kind in _TIMES else f"{needs} timestamp with time zone"
        case "created":
            usable = row["not_null"] or kind in _TIMES
            return "" if usable else "must be NOT NULL, because it decides the order of rows"
    return ""


def _problem_of_status(table: TableConfig, row: _Row) -> str:
    states = table.states
    for key in ("pending", "delivering", "done", "failed", "dead"):
        value = getattr(states, key)
        if row["category"] == "E" and value not in row["labels"]:
            return f"is the enum {row['type']} without the value {value!r} (states.{key})"
        if row["length"] is not None and len(value) > row["length"]:
            return f"takes {row['length']} characters, and {value!r} has more (states.{key})"
    return (
        "" if row["category"] in "ES" else f"has the type {row['type']} and needs text or an enum"
    )
