"""What the command `outbox` prints: a column begins, or ends, where its title does."""

import proxy.admin.outbox_orders
from proxy.admin.outbox_orders import show, show_entry

_ID = "0199a1b2c3d4" + "5" * 32
_ENTRY = {
    "id": _ID,
    "state": "pending",
    "attempts": 12,
    "last": {"reason": "connect-refused"},
    "route": "shop",
    "method": "POST",
    "path": "/orders",
}
_QUEUE = {"route": "r" * 30, "pending": 7, "delivering": 0, "parked": 0, "dead": 3, "oldest_s": 4}
_LANE = {"lane": "customer-" + "9" * 30, "state": "parked", "waiting": 5, "head": _ID}
_TABLE = {
    "name": "t" * 25,
    "pending": 1,
    "delivering": 2,
    "failed": 3,
    "dead": 4,
    "oldest_s": 5.2,
    "why": "",
    "state": "ready",
}
_ROW = {"id": "9" * 40, "state": "", "status": "odd", "attempts": 3, "key": None, "error": "no"}


def printed(monkeypatch, capsys, document):
    monkeypatch.setattr(proxy.admin.outbox_orders, "ask", lambda *asked, **more: document)
    assert show("http://h", route="", state="", limit=5, as_json=False) == 0
    parts = capsys.readouterr().out.rstrip("\n").split("\n\n")
    return [part.split("\n") for part in parts]


def test_columns_stand_under_their_titles(monkeypatch, capsys):
    document = {"queues": [_QUEUE], "blocked_lanes": [_LANE], "entries": [_ENTRY]}
    queues, lanes, entries = printed(monkeypatch, capsys, document)
    assert queues[0].index("DEAD") + 4 == queues[1].rindex("3") + 1
    assert queues[0].index("PENDING") + 7 == queues[1].index("7") + 1
    assert lanes[0].index("STATE") == lanes[1].index("parked")
    assert lanes[0].index("HEAD") == lanes[1].index(_ID)
    for title, text in (("STATE", "pending"), ("LAST", "connect"), ("ROUTE", "shop POST /orders")):
        assert entries[0].index(title) == entries[1].index(text)


def test_tables_and_rows_too(monkeypatch, capsys):
    (tables, rows) = printed(monkeypatch, capsys, {"tables": [_TABLE], "rows": [_ROW]})
    assert tables[0].index("STATE") == tables[1].index("ready")
    assert rows[0].index("STATE") == rows[1].index("odd")
    assert rows[0].index("ERROR") == rows[1].index("no")


def test_without_anything_there_are_the_titles_of_queues(monkeypatch, capsys):
    nothing = {"queues": [], "blocked_lanes": [], "entries": []}
    ((titles,),) = printed(monkeypatch, capsys, nothing)
    assert titles.split() == ["ROUTE", "PENDING", "DELIVERING", "PARKED", "DEAD", "OLDEST"]


def test_a_row_stays_one_line_whatever_its_service_wrote(monkeypatch, capsys):
    row = _ROW | {"id": "a\nb\x1b[2J", "error": "first\r\nsecond"}
    (rows,) = printed(monkeypatch, capsys, {"tables": [], "rows": [row]})
    assert [line.split() for line in rows[1:]] == [
        ["a", "b", "[2J", "odd", "3", "-", "first", "second"]
    ]
    monkeypatch.setattr(proxy.admin.outbox_orders, "ask", lambda *asked, **more: row)
    assert show_entry("http://h", "t/a", as_json=False) == 0
    assert capsys.readouterr().out.count("\n") == len(_ROW)
