"""The SQL for one table. Pure; every name is quoted, every value of `states` a quoted literal.

A row is claimed where it is the *head* of its lane, which is all rows with one key:

    no row of the lane is being delivered, and no earlier one waits;
    the row is not *held*: its transaction is older than every one that still writes, so that no
    earlier row of the lane can appear any more (``pg_snapshot_xmin``).

The claims of all proxies come one after the other (an advisory lock that ends with the
transaction), so each sees what the others have taken.

A row's *version* is its ``xmin``, the transaction that wrote it last. It is the fence: a
claimed row is written only if it still is as the claim left it.
"""

from typing import Final

from proxy.config.table_model import TableConfig
from proxy.delivery.tables.catalog import Shape
from proxy.policies.outbox import OnDead

_LOCK_CLASS: Final = 0x7270_6F74
"""The first half of the advisory locks; the second is the table's oid."""
_XID: Final = 4294967295


def quoted(name: str) -> str:
    """An identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text; it has no backslash."""
    return "'" + text.replace("'", "''") + "'"


def relation(table: TableConfig) -> str:
    """The table's name as SQL, for `to_regclass`."""
    name = quoted(table.table.name)
    return f"{quoted(table.table.schema)}.{name}" if table.table.schema else name


class Statements:
    """All statements of a table with that shape. `body_limit`: of a row's body, in bytes.

    `guards` has no parameters: a transaction's settings, its place in line, and the version that
    it gives rows. Those of the others: `claim`: limit, ids in hand, ids and versions of rows that
    are stale or due, versions of lost commits, how many of the oldest rows are looked at. `settle`:
    ids, versions, states, attempts, errors, waits, versions of lost commits. `renew` and `still`:
    ids, versions, versions of lost commits. `sight`: limit.
    """

    def __init__(self, table: TableConfig, shape: Shape, body_limit: int) -> None:
        self._config, self._shape, self._body_limit = table, shape, body_limit
        self._table = f"{quoted(shape.schema)}.{quoted(shape.name)}"
        states = table.states
        self._pending, self._delivering = literal(states.pending), literal(states.delivering)
        self._failed, self._dead = literal(states.failed), literal(states.dead)
        waiting = dict.fromkeys((self._pending, self._failed))
        self._waiting = ", ".join(waiting)
        self._unfinished = ", ".join([*waiting, self._delivering])
        self.guards = self._guards()
        self.claim = self._claim()
        self.settle = self._settle()
        self.renew = self._renew()
        self.still = self._still()
        self.sight = self._sight()
        self.counts = self._counts()
        self.rows = self._rows("TRUE", "$1")
        self.rows_of = self._rows(f"{self._at('r', 'status')}::text = $2", "$1")
        self.row = self._rows(f"{self._at('r', 'id')} = $1::text::{self._type('id')}", "1")
        self.redrive = self._redrive(f"{self._at('w', 'id')} = $1::text::{self._type('id')}")
        self.cancel = self._cancel()
        error = shape.columns.get("error")
        self.longest_error = None if error is None else error.length
        self.redrive_many = self._redrive_many()

    def has(self, use: str) -> bool:
        """Whether the table has a column for that."""
        return use in self._shape.columns

    def _at(self, alias: str, use: str) -> str:
        return f"{alias}.{quoted(self._shape.columns[use].name)}"

    def _set(self, use: str) -> str:
        return quoted(self._shape.columns[use].name)

    def _type(self, use: str) -> str:
        return self._shape.columns[use].type

    def _text(self, alias: str, use: str) -> str:
        return f"{self._at(alias, use)}::text" if self.has(use) else "NULL::text"

    def _state(self, value: str) -> str:
        return f"{value}::{self._type('status')}"

    def _place(self, alias: str, direction: str = "") -> str:
        """What orders rows."""
        places = [self._at(alias, "id")]
        if self.has("created"):
            created = self._at(alias, "created")
            whole = self._shape.columns["created"].not_null
            places.insert(0, created if whole else f"COALESCE({created}, '-infinity')")
        return ", ".join(place + direction for place in places)

    def _age(self, alias: str) -> str:
        """Seconds since it was created; NULL where that is not known."""
        column = self._shape.columns.get("created")
        if column is None or not column.is_time:
            return "NULL::float8"
        now = "now()" if column.with_zone else "LOCALTIMESTAMP"
        created = self._at(alias, "created")
        seconds = f"EXTRACT(EPOCH FROM {now}) - EXTRACT(EPOCH FROM {created})"
        return f"CASE WHEN isfinite({created}) THEN ({seconds})::float8 END"

    # --- claims -----------------------------------------------------------------------------------

    def _guards(self) -> str:
        oid = self._shape.oid - (1 << 32 if self._shape.oid >= 1 << 31 else 0)
        return f"""
SELECT set_config('idle_in_transaction_session_timeout', '10000', true),
       set_config('lock_timeout', '5000', true),
       pg_advisory_xact_lock({_LOCK_CLASS}, {oid}),
       (pg_current_xact_id()::text::bigint & {_XID})::text AS version"""

    def _held(self, alias: str) -> str:
        """Whether an earlier row of its lane may still appear. Transaction ids wrap around."""
        since = f"({alias}.xmin::text::bigint - edge.low) & {_XID}"
        return f"({since}) < edge.high - edge.low"

    _EDGE: Final = """edge AS MATERIALIZED (
    SELECT pg_snapshot_xmin(s)::text::bigint AS low, pg_snapshot_xmax(s)::text::bigint AS high
    FROM pg_current_snapshot() AS s
)"""

    def _candidate(self) -> str:
        status = self._at("r", "status")
        first = f"{status} = {self._pending}"
        pairs = "SELECT * FROM unnest($3::text[], $4::text[])"
        known = f"({self._text('r', 'id')}, r.xmin::text) IN ({pairs})"
        ways = []
        if self.has("due"):
            due = self._at("r", "due")
            ways.append(f"{status} IN ({self._waiting}) AND ({due} IS NULL OR {due} <= now())")
        else:
            ways.append(first)
        if self.has("claimed"):
            claimed = self._at("r", "claimed")
            seconds = f"{self._config.reclaim!r} * interval '1 second'"
            ways.append(f"{status} = {self._delivering} AND {claimed} < now() - {seconds}")
        ways.append(f"{status} IN ({self._failed}, {self._delivering}) AND {known}")
        ways.append(f"{status} = {self._delivering} AND r.xmin::text = ANY($5::text[])")
        return "\n        OR ".join(f"({way})" for way in ways)

    def _heads(self) -> str:
        """The rows that may be claimed, with their versions; without an order all that are due."""
        if not self._config.ordered:
            return f"""heads AS MATERIALIZED (
    SELECT {self._at("r", "id")} AS id, r.xmin::text AS version FROM {self._table} AS r
    WHERE {self._at("r", "status")} IN ({self._unfinished})
    AND NOT ({self._text("r", "id")} = ANY($2::text[])) AND ({self._candidate()})
    ORDER BY {self._place("r")} LIMIT least($1::bigint, $6::bigint)
)"""
        status, key = self._at("r", "status"), self._at("r", "key")
        blocks = self._config.outbox.on_dead is OnDead.BLOCK
        relevant = f"{self._unfinished}, {self._dead}" if blocks else self._unfinished
        return f"""near AS MATERIALIZED (
    SELECT {self._at("r", "id")} AS id, {key} AS key, r.xmin::text AS version,
        {status} = {self._delivering} AS taken,
        ({self._candidate()}) AND ({key} IS NULL OR {status} <> {self._pending}
            OR NOT {self._held("r")}) AS ready,
        row_number() OVER (ORDER BY {self._place("r")}) AS place
    FROM {self._table} AS r CROSS JOIN edge WHERE {status} IN ({relevant})
    ORDER BY {self._place("r")} LIMIT $6::bigint
), taken AS MATERIALIZED (
    SELECT {key} AS key FROM {self._table} AS r
    WHERE {status} = {self._delivering} AND {key} IS NOT NULL
), firsts AS (
    (SELECT DISTINCT ON (key) * FROM near WHERE key IS NOT NULL ORDER BY key, place)
    UNION ALL SELECT * FROM near WHERE key IS NULL
), heads AS MATERIALIZED (
    SELECT id, version FROM firsts WHERE ready AND NOT (id::text = ANY($2::text[]))
    AND (taken OR key IS NULL OR NOT (key = ANY(ARRAY(SELECT key FROM taken))))
    ORDER BY place LIMIT $1::bigint
)"""

    def _claim(self) -> str:
        """Of the oldest rows, $6 of them, those that may be claimed.

        A lane's rows before one of these are among these too, so its head is known. A row that
        another session has locked or changed since is left alone.
        """
        claimed = f", {self._set('claimed')} = now()" if self.has("claimed") else ""
        return f"""
WITH {self._EDGE}, {self._heads()}, locked AS MATERIALIZED (
    SELECT {self._at("r", "id")} AS id FROM {self._table} AS r
    WHERE {self._at("r", "id")} = ANY(ARRAY(SELECT id FROM heads))
    AND r.xmin::text = ANY(ARRAY(SELECT version FROM heads))
    FOR UPDATE OF r SKIP LOCKED
)
UPDATE {self._table} AS w SET {self._set("status")} = {self._state(self._delivering)}{claimed}
WHERE {self._at("w", "id")} = ANY(ARRAY(SELECT id FROM locked))
RETURNING {self._text("w", "id")} AS id, w.xmin::text AS version, {self._text("w", "key")} AS key,
    {self._text("w", "type")} AS type, {self._body("w")}, {self._age("w")} AS age,
    {self._tries("w")} AS attempts"""

    def _tries(self, alias: str) -> str:
        if not self.has("attempts"):
            return "0"
        return f"COALESCE({self._at(alias, 'attempts')}, 0)::bigint"

    def _body(self, alias: str) -> str:
        body = self._at(alias, "body")
        if self._type("body") != "bytea":
            body = f"{body}::text"
        return (
            f"CASE WHEN octet_length({body}) <= {self._body_limit} THEN {body} END AS body, "
            f"octet_length({body}) AS length"
        )

    # --- what becomes of them ---------------------------------------------------------------------

    def _settle(self) -> str:
        states = self._config.states
        words = {
            "pending": states.pending,
            "failed": states.failed,
            "done": states.done,
            "dead": states.dead,
        }
        cases = " ".join(
            f"WHEN '{word}' THEN {self._state(literal(value))}" for word, value in words.items()
        )
        sets = [f"{self._set('status')} = CASE s.state {cases} END"]
        if self.has("attempts"):
            sets.append(f"{self._set('attempts')} = s.attempts")
        if self.has("error"):
            kept = f"CASE s.state WHEN 'pending' THEN {self._at('w', 'error')} ELSE s.error END"
            sets.append(f"{self._set('error')} = {kept}")
        if self.has("done"):
            done = (
                f"CASE WHEN s.state IN ('done', 'dead') THEN now() ELSE {self._at('w', 'done')} END"
            )
            sets.append(f"{self._set('done')} = {done}")
        if self.has("due"):
            due = "now() + s.wait * interval '1 second'"
            sets.append(
                f"{self._set('due')} = CASE s.state WHEN 'failed' THEN {due} "
                f"ELSE {self._at('w', 'due')} END"
            )
        return f"""
{self._given("$3::text[], $4::bigint[], $5::text[], $6::float8[]", "state, attempts, error, wait")}
UPDATE {self._table} AS w SET {", ".join(sets)} FROM s WHERE {self._fenced("$7")}"""

    def _given(self, arrays: str = "", names: str = "") -> str:
        """Rows of this proxy as ``s``, and as ``free`` those that no other session has locked."""
        arrays, names = (f", {one}" if one else "" for one in (arrays, names))
        kind = self._type("id")
        return f"""
WITH s AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::text[]{arrays}) AS s(id, version{names})
), free AS MATERIALIZED (
    SELECT {self._at("r", "id")} AS id FROM {self._table} AS r
    WHERE {self._at("r", "id")} = ANY(ARRAY(SELECT s.id::{kind} FROM s))
    FOR UPDATE OF r SKIP LOCKED
)"""

    def _fenced(self, lost: str) -> str:
        """The row is as its claim, or a commit of this proxy whose result was lost, has left it."""
        return f"""{self._at("w", "id")} = s.id::{self._type("id")}
AND {self._at("w", "id")} = ANY(ARRAY(SELECT id FROM free))
AND {self._at("w", "status")} = {self._delivering}
AND (w.xmin::text = s.version OR w.xmin::text = ANY({lost}::text[]))
RETURNING {self._text("w", "id")} AS id, w.xmin::text AS version"""

    def _still(self) -> str:
        """Of rows that were not settled, those that are as this proxy's claim has left them."""
        return f"""
SELECT {self._text("w", "id")} AS id FROM {self._table} AS w
JOIN unnest($1::text[], $2::text[]) AS s(id, version)
    ON {self._at("w", "id")} = s.id::{self._type("id")}
WHERE {self._at("w", "status")} = {self._delivering}
AND (w.xmin::text = s.version OR w.xmin::text = ANY($3::text[]))"""

    def _renew(self) -> str:
        """A new version is the sign of life; where there is a column for it, the time too."""
        status = self._set("status")
        change = f"{status} = {self._at('w', 'status')}"
        if self.has("claimed"):
            change = f"{self._set('claimed')} = now()"
        return f"""
{self._given()}
UPDATE {self._table} AS w SET {change} FROM s WHERE {self._fenced("$3")}"""

    def _sight(self) -> str:
        """Rows whose time no column tells: it is known by watching them."""
        status = self._at("r", "status")
        ways = []
        if not self.has("claimed"):
            ways.append(f"{status} = {self._delivering}")
        else:
            ways.append(f"{status} = {self._delivering} AND {self._at('r', 'claimed')} IS NULL")
        if not self.has("due"):
            ways.append(f"{status} = {self._failed}")
        return f"""
SELECT {self._text("r", "id")} AS id, r.xmin::text AS version,
    {status} = {self._delivering} AS delivering, {self._tries("r")} AS attempts
FROM {self._table} AS r WHERE {" OR ".join(f"({way})" for way in ways)}
ORDER BY {self._place("r")} LIMIT $1"""

    # --- what is shown, and operators' orders -----------------------------------------------------

    def _counts(self) -> str:
        return f"""
WITH {self._EDGE}
SELECT {self._text("r", "status")} AS status, count(*) AS rows, max({self._age("r")}) AS oldest,
    count(*) FILTER (WHERE {self._held("r")}) AS held
FROM {self._table} AS r CROSS JOIN edge
WHERE {self._at("r", "status")} IN ({self._unfinished}, {self._dead}) GROUP BY 1"""

    def _rows(self, which: str, limit: str) -> str:
        times = ("created", "done", "claimed", "due")
        told = [
            f"{self._text('r', use)} AS {use}" for use in ("id", "key", "type", "status", "error")
        ]
        told += [f"{self._text('r', use)} AS {use}" for use in times]
        return f"""
SELECT {", ".join(told)}, {self._tries("r")} AS attempts FROM {self._table} AS r
WHERE {which} ORDER BY {self._place("r", " DESC")} LIMIT {limit}"""

    def _redrive(self, which: str) -> str:
        sets = [f"{self._set('status')} = {self._state(self._pending)}"]
        if self.has("attempts"):
            sets.append(f"{self._set('attempts')} = 0")
        sets += [
            f"{self._set(use)} = NULL"
            for use in ("done", "due")
            if self.has(use) and not self._shape.columns[use].not_null
        ]
        return f"""
UPDATE {self._table} AS w SET {", ".join(sets)}
WHERE {which} AND {self._at("w", "status")} = {self._dead}
RETURNING {self._text("w", "id")} AS id"""

    def _redrive_many(self) -> str:
        status, place = self._at("r", "status"), self._place("r")
        return self._redrive(f"""{self._at("w", "id")} IN (
    SELECT {self._at("r", "id")} FROM {self._table} AS r WHERE {status} = {self._dead}
    ORDER BY {place} LIMIT $1 FOR UPDATE OF r SKIP LOCKED)""")

    def _cancel(self) -> str:
        sets = [f"{self._set('status')} = {self._state(self._dead)}"]
        if self.has("error"):
            told = "cancelled by an operator"[: self._shape.columns["error"].length]
            sets.append(f"{self._set('error')} = '{told}'")
        if self.has("done"):
            sets.append(f"{self._set('done')} = now()")
        return f"""
UPDATE {self._table} AS w SET {", ".join(sets)}
WHERE {self._at("w", "id")} = $1::text::{self._type("id")}
AND {self._at("w", "status")} IN ({self._waiting}) RETURNING {self._text("w", "id")} AS id"""
