"""Asking the admin address, and what it is called when nothing sensible answers."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from unit.top.documents import status, troubled

from proxy.admin.asking import NoAnswer, ask
from proxy.admin.entry_story import entry_story
from proxy.admin.past import explain_request
from proxy.top.watcher import look_once


class Server(HTTPServer):
    answers: dict[str, tuple[int, str]]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        calls = self.path.startswith("/recent?inherited_from=")
        other = (200, NONE) if calls else (404, "nothing here")
        code, text = self.server.answers.get(self.path, other)
        self.send_response(code)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(("127.0.0.1", 0), Handler)
    made.answers = {}
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def test_a_document(server, url, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # the very proxy that is asked
    server.answers["/status"] = (200, '{"a": 1}')
    assert ask(url, "/status", 5.0) == {"a": 1}


@pytest.mark.parametrize(
    ("answer", "message", "code"),
    [
        ((404, "x"), "refuses: status 404; is this the proxy's admin address", 404),
        (
            (508, '{"detail": "Would loop.", "reason": "loop", "route": null}'),
            "refuses: this is the address of a listener; --admin is the proxy's admin address",
            508,
        ),
        ((403, '{"detail": "Only from here."}'), "refuses: Only from here.", 403),
        ((200, "<html>"), "is not a resilience proxy", 0),
        ((200, "[1]"), "is not a resilience proxy", 0),
    ],
)
def test_no_document(server, url, answer, message, code):
    server.answers["/status"] = answer
    with pytest.raises(NoAnswer, match=message) as raised:
        ask(url, "/status", 5.0)
    assert raised.value.status == code


def test_nobody_there():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but not listening
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(NoAnswer, match=f"no proxy answers at {url}: Connection refused"):
            ask(url, "/status", 5.0)


def test_a_proxy_that_says_nothing():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(NoAnswer, match=r"does not answer within 0\.05 s"):
            ask(url, "/status", 0.05)


# --- a look -----------------------------------------------------------------------------------


def test_a_look(server, url):
    def answer(count, uptime, *ids):
        told = status(recent={"held": 1, "seen": count}, uptime_s=uptime)
        server.answers["/status"] = (200, json.dumps(told))
        recent = [troubled(request_id=one) for one in ids]
        server.answers["/recent"] = (200, json.dumps({"recent": recent}))

    def ids(seen):
        return [one["request_id"] for one in seen.recent]

    answer(1, 100.0, "a")
    first = look_once(url)
    assert (first.look.service, first.look.troubled, ids(first)) == ("orders", 1, ["a"])
    answer(1, 101.0, "not asked for")
    second = look_once(url, first)
    assert ids(second) == ["a"], "the list is asked for only when there is news"
    assert second.look.recent == first.look.recent
    answer(2, 102.0, "b", "a")
    third = look_once(url, second)
    assert ids(third) == ["b", "a"]
    answer(2, 1.0, "c")
    assert ids(look_once(url, third)) == ["c"], "another process counts anew"


def test_a_look_at_a_proxy_without_a_flight_recorder(server, url):
    server.answers["/status"] = (200, json.dumps(status()))
    first = look_once(url)
    assert first.look.recent is None
    assert look_once(url, first).look.recent is None


@pytest.mark.parametrize("document", ["{}", json.dumps(status(routes=3)), '{"service": 1}'])
def test_a_look_at_something_else(server, url, document):
    server.answers["/status"] = (200, document)
    with pytest.raises(NoAnswer, match="not a resilience proxy"):
        look_once(url)


# --- explain --request-id ---------------------------------------------------------------------


def test_the_story_of_a_request(server, url, capsys):
    kept = troubled(request_id="a b/ü")
    flying = troubled(request_id="a b/ü", status=0, trouble=[], attempts=[])
    answer = json.dumps({"recent": [kept], "in_flight": [flying]})
    server.answers["/recent?request_id=a%20b%2F%C3%BC"] = (200, answer)
    server.answers["/recent?inherited_from=a%20b%2F%C3%BC"] = (200, NONE)
    assert explain_request(url, "a b/ü") == 0
    shown = capsys.readouterr().out
    assert shown.count("request id a b/ü") == 2
    assert shown.index("still in flight") < shown.index("the client got the upstream's 200")


ENTRY = {
    "id": "e1",
    "state": "pending",
    "attempts": 3,
    "next_attempt_at": "2026-03-01T12:01:00.000Z",
    "accepted_at": "2026-03-01T12:00:00.000Z",
    "finished_at": None,
    "last": {},
    "route": "notify",
    "lane": "c-7",
    "method": "POST",
    "host": "mail",
    "path": "/messages",
    "body_bytes": 12,
    "request_id": "r-9",
    "give_up_at": "2026-03-02T12:00:00.000Z",
    "forget_at": None,
    "outcomes": [
        {"status": 503, "reason": "", "at": "2026-03-01T12:00:02.000Z"},
        {
            "status": 502,
            "reason": "connect-refused",
            "at": "2026-03-01T12:00:09.000Z",
            "detail": "Nothing listens.",
        },
    ],
}


@pytest.mark.parametrize("asked", ["r-9", "e1"])
def test_a_request_and_its_deliveries_are_one_story(server, url, capsys, asked):
    tried = {**troubled(request_id="r-9", status=503), "number": 4, "outbox_id": "e1"}
    server.answers["/recent?request_id=r-9"] = (200, NONE)
    server.answers["/recent?request_id=e1"] = (200, NONE)
    kept = json.dumps({"recent": [tried], "in_flight": []})
    server.answers["/recent?outbox_id=e1"] = (200, kept)
    server.answers["/outbox?request_id=r-9"] = (200, json.dumps({"entries": [{"id": "e1"}]}))
    server.answers["/outbox/e1"] = (200, json.dumps(ENTRY))
    assert explain_request(url, asked) == 0
    first, second = capsys.readouterr().out.split("\n\nGET ")
    assert first.splitlines() == [
        "POST mail/messages was accepted by the outbox of route notify: pending",
        "entry e1, lane c-7, request id r-9",
        "accepted 2026-03-01T12:00:00.000Z, 12 bytes",
        "",
        "  (1 earlier tries are not kept)",
        "2026-03-01T12:00:02.000Z  try 2: 503",
        "2026-03-01T12:00:09.000Z  try 3: connect-refused: Nothing listens.",
        "2026-03-01T12:01:00.000Z  is the next try; there is none after "
        "2026-03-02T12:00:00.000Z (outbox.max_age)",
        "",
        "look next: docs/runbook.md#entries-of-the-outbox-wait",
    ]
    assert "request id r-9" in second


@pytest.mark.parametrize(
    ("over", "last"),
    [
        ({"state": "delivered", "finished_at": "T1", "forget_at": "T2", "outcomes": []},
         "T1  delivered, remembered until T2"),
        ({"state": "dead", "finished_at": "T1"}, "docs/runbook.md#entries-of-the-outbox-are-dead"),
        ({"state": "delivering"}, "and another try is in flight now"),
        ({"state": "parked"}, "docs/runbook.md#entries-of-the-outbox-are-dead"),
    ],
)  # fmt: skip
def test_how_an_entry_ended(over, last):
    assert entry_story(ENTRY | over)[-1].endswith(last)


def test_a_row_of_a_table():
    times = {"created_at": "T0", "claimed_at": None, "due_at": "T2", "finished_at": None}
    row = {"id": "orders/7", "table": "orders", "key": "c-1", "state": "failed", "status": "FAILED",
           "attempts": 2, "error": "503", **times}  # fmt: skip
    assert entry_story(row) == [
        "row orders/7 of the outbox table orders, key c-1: failed",
        "T0  created",
        "T2  due",
        "  2 tries, the last: 503",
        "",
        "look next: docs/runbook.md#rows-of-an-outbox-table-are-not-delivered",
    ]


def test_calls_are_told_although_their_request_had_no_trouble(server, url, capsys):
    call = troubled(request_id="out", inherited_from="in")
    other = troubled(request_id="more", inherited_from="in", time="2026-03-01T23:00:00.000Z")
    for query, entries in (
        ("request_id=in", []),
        ("request_id=out", [call]),
        ("inherited_from=in", [call, other]),
        ("inherited_from=out", []),
    ):
        answer = json.dumps({"recent": entries, "in_flight": []})
        server.answers[f"/recent?{query}"] = (200, answer)
    for asked in ("in", "out"):
        assert explain_request(url, asked) == 0
        shown = capsys.readouterr().out
        assert shown.index("request id out") < shown.index("request id more")
        assert shown.count("request id") == 2


def test_a_service_that_sends_its_requests_id_on_is_told_once(server, url, capsys):
    first = troubled(request_id="r", listener="inbound", time="2026-03-01T12:00:00.000Z")
    second = troubled(request_id="r", inherited_from="r", time="2026-03-01T12:00:00.010Z")
    server.answers["/recent?request_id=r"] = (
        200,
        json.dumps({"recent": [second, first], "in_flight": []}),
    )
    server.answers["/recent?inherited_from=r"] = (
        200,
        json.dumps({"recent": [second], "in_flight": []}),
    )
    assert explain_request(url, "r") == 0
    assert capsys.readouterr().out.count("request id r") == 2


@pytest.mark.parametrize("asked", ["in", "out"])
def test_both_sides_of_the_service_are_one_story(server, url, capsys, asked):
    first = troubled(request_id="in", listener="inbound", time="2026-03-01T12:00:00.000Z")
    second = troubled(request_id="out", inherited_from="in", time="2026-03-01T12:00:00.010Z")
    for query, entries in (
        ("request_id=in", [first]),
        ("request_id=out", [second]),
        ("inherited_from=in", [second]),
        ("inherited_from=out", []),
    ):
        answer = json.dumps({"recent": entries, "in_flight": []})
        server.answers[f"/recent?{query}"] = (200, answer)
    assert explain_request(url, asked) == 0
    shown = capsys.readouterr().out
    assert shown.count("request id") == 2
    assert shown.index("request id in") < shown.index("request id out")
    assert "made for the inbound request in (same trace)" in shown


NONE = '{"recent": [], "in_flight": []}'


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((200, '{"recent": [], "in_flight": []}'), "only the last requests with trouble are kept"),
        ((403, '{"detail": "No."}'), "refuses: No."),
        ((200, '{"recent": [{}], "in_flight": []}'), "is not a resilience proxy"),
        ((200, "{}"), "is not a resilience proxy"),
    ],
)
def test_no_story(server, url, answer, message, capsys):
    server.answers["/recent?request_id=x"] = answer
    assert explain_request(url, "x") == 1
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.startswith("explain: ")
    assert shown.out == ""
