"""The view as text: what it shows, and that it fits."""

import io

import pytest
from rich.console import Console
from unit.top.documents import attempt, breaker, endpoint, route, status, store, troubled

from proxy.top.document import document
from proxy.top.looks import Look
from proxy.top.picture import View, allot, picture
from proxy.top.rates import Order, Window
from proxy.top.reading import read
from proxy.top.sections import Name


def drawn(view: View, width: int = 100, height: int | None = None, now: float = 110.0) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height or 500, highlight=False)
    with console.capture() as captured:
        console.print(picture(view, now, width, height))
    return [line.rstrip() for line in captured.get().splitlines()]


def view(recent: list | None = None, **over: object) -> View:
    made = View("http://127.0.0.1:7072", Window())
    made.window.add(read(status(uptime_s=100.0), recent, 100.0))
    made.window.add(read(status(**({"uptime_s": 104.0} | over)), recent, 104.0))
    return made


BUSY = {
    "in_flight": {
        "inbound": 1,
        "outbound": 2,
        "requests": [{"listener": "outbound", "route": "stock", "age_s": 75.0}],
    },
    "routes": [
        route(
            "stock",
            requests=40,
            errors=10,
            retries=2,
            durations={"le_ms": [1.0, 10.0, 100.0, 60000.0], "counts": [0, 39, 0, 0, 1]},
        ),
        route("default-inbound", "inbound"),
    ],
    "circuit_breakers": [
        breaker("calm", failure_rate=1.0, slow_call_rate=0.0, calls=100),
        breaker("stock", "open", failure_rate=66.67, not_permitted=12, next_probe_in_s=2.5),
    ],
    "upstreams": [
        {
            "name": "inventory",
            "endpoints": [
                endpoint("10.0.0.7:80", health="healthy", ejected=False),
                endpoint("10.0.0.8:80", avoided=True),
                endpoint("10.0.0.9:80", ejected=True, ejected_for_s=12.0),
                endpoint("10.0.0.10:80", ejected=True, health="unhealthy"),
                endpoint("10.0.0.11:80", ejected=True, observed=True),
            ],
        }
    ],
    "bulkheads": [
        {"name": "stock", "in_use": 2, "limit": 2, "queued": 1, "max_queue": 4},
        {"name": "tried", "mode": "observe", "in_use": 9, "limit": 2, "queued": 0, "max_queue": 0},
        {"name": "idle", "in_use": 0, "limit": 256, "queued": 0, "max_queue": 0},
    ],
    "retries": [
        {"name": "spent", "requests": 9, "retries": 30, "allowed": 30, "remaining": 0},
        {"name": "unspent", "requests": 9, "retries": 0, "allowed": 30, "remaining": 30},
    ],
}
FLOOD = [troubled(status=503, reason="circuit-open", attempts=[], attempts_made=0)] * 40
RECENT = [
    *FLOOD,
    troubled(status=503, attempts=[attempt(status=503, retry={"allowed": False, "why": "budget"})]),
    troubled(reason="attempt-timeout", fallback=True),
]


def row(lines: list[str], first: str) -> list[str]:
    (found,) = [line.split() for line in lines if line.split()[:1] == [first]]
    return found


def test_all_of_it():
    lines = drawn(view(RECENT, **BUSY))
    assert lines[0] == "orders  0.1.0  up 1m 44s  ready  in flight 1 in, 2 out, oldest 1m 15s"
    assert lines[1] == "rates of the last 4 s"
    routes = lines[lines.index("") + 1 :]
    assert " ".join(routes[1].split()) == "stock out 10.0 25% 0.5 5.6ms >60s 1 40"
    assert row(lines, "default-inbound")[1:4] == ["in", "0.0", "-"]
    assert row(lines, "10.0.0.7:80")[:3] == ["10.0.0.7:80", "inventory", "usable"]
    assert row(lines, "10.0.0.8:80")[:3] == ["10.0.0.8:80", "inventory", "avoided"]
    assert row(lines, "10.0.0.11:80")[:3] == ["10.0.0.11:80", "inventory", "usable"]
    assert row(lines, "10.0.0.9:80")[:3] == ["10.0.0.9:80", "inventory", "ejected"]
    assert row(lines, "10.0.0.10:80")[:3] == ["10.0.0.10:80", "inventory", "unhealthy"]
    text = "\n".join(lines)
    assert "stock           open        67%    -     0      12       2.5s" in text
    assert text.index("10.0.0.8:80") < text.index("10.0.0.7:80"), "what is avoided comes first"
    assert text.index("open ") < text.index("calm"), "what refuses comes first"
    assert "stock 2 2 FULL 1 4" in " ".join(text.split())
    assert row(lines, "tried")[1:4] == ["9", "2", "observed"], "it admits everything"
    assert "spent        used up" in text
    assert "unspent" not in text
    assert "idle " not in text.partition("bulkhead")[2].partition("\n\n")[0]
    assert "40x GET /api/inventory/7" in text
    assert "no retry: budget" in text
    assert "fallback: attempt-timeout" in text


def promises(at: float, commits: int, **over: object) -> Look:
    durations = {"le_ms": [1.0, 10.0], "counts": [0, commits, 0]}
    return read(
        status(
            uptime_s=at,
            in_flight={"inbound": 0, "outbound": 0, "tries": 3, "requests": []},
            store=store(commits=commits, commit_durations=durations, **over),
            outbox={
                "queues": [
                    {"route": "young", "pending": 3, "delivering": 1, "oldest_s": 2, "dead": 0},
                    {"route": "bad", "pending": 0, "delivering": 0, "oldest_s": 0, "dead": 7},
                    {"route": "old", "pending": 9, "delivering": 0, "oldest_s": 900, "dead": 0},
                ],
                "blocked_lanes": [{"route": "old", "lane": "c-1"}],
            },
            sagas={
                "unfinished": [
                    {"saga": "calm", "running": 2, "undoing": 1, "stuck": 0, "oldest_s": 70},
                    {"saga": "order", "running": 0, "undoing": 0, "stuck": 4, "oldest_s": 5},
                ]
            },
        ),
        None,
        at,
    )


def test_store_outbox_and_sagas() -> None:
    made = View("http://127.0.0.1:7072", Window())
    made.window.add(promises(100, 0))
    made.window.add(promises(104, 80))
    lines = drawn(made)
    assert "in flight 0 in, 0 out, 3 of deliveries" in lines[0]
    assert lines[2] == "store sqlite open, 12.4 MB of 1.0 GB, 20.0 commits/s, p99 9.9ms"
    assert row(lines, "bad")[1:] == ["0", "0", "-", "0", "0", "7"]
    assert row(lines, "old")[1:] == ["9", "0", "15m", "0s", "1", "0", "0"]
    assert row(lines, "calm")[1:] == ["2", "1", "0", "1m", "10s"]
    first = [line.partition(" ")[0] for line in lines]
    assert first.index("bad") < first.index("old") < first.index("young"), "bad ones are first"
    assert first.index("order") < first.index("calm"), "stuck ones are first"
    found = document(made.window)
    assert found["store"] == found["store"] | {"commits_per_s": 20, "commit_p99_ms": 9.91}
    assert found["outbox"][2] == found["outbox"][2] | {"route": "old", "oldest_s": 900}
    assert found["sagas"][1] == found["sagas"][1] | {"saga": "order", "stuck": 4}


def test_a_table_that_cannot_be_read_comes_first() -> None:
    table = {"state": "ready", "why": None, "pending": 2, "failed": 1, "delivering": 1, "held": 4,
             "oldest_s": 3, "dead": 0}  # fmt: skip
    lines = drawn(
        view(
            outbox_tables=[
                table | {"name": "fine"},
                table | {"name": "lost", "state": "unreachable", "why": "Connection refused"},
            ]
        )
    )
    assert row(lines, "table:fine")[1:] == ["3", "1", "3s", "4", "0", "0"]
    assert row(lines, "table:lost")[7:] == ["Connection", "refused"]
    first = [line.partition(" ")[0] for line in lines]
    assert first.index("table:lost") < first.index("table:fine")


@pytest.mark.parametrize(
    ("over", "says"),
    [
        ({"full": True, "refused_full": 2}, "store sqlite FULL, 12.4 MB of 1.0 GB, "),
        ({"failure": "disk I/O error"}, "store sqlite FAILED: disk I/O error"),
        ({"engine": "postgresql", "max_bytes": 0}, "store postgresql open, 12.4 MB, "),
    ],
)
def test_a_store_in_trouble(over: dict[str, object], says: str) -> None:
    made = View("http://127.0.0.1:7072", Window())
    made.window.add(promises(100, 10, **over))
    lines = drawn(made)
    assert lines[2].startswith(says)
    assert (", 2 refused" in lines[2]) is ("refused_full" in over)


def test_grpc_calls_are_shown_by_their_status():
    calls = [
        troubled(path="/shop.v1.Stock/Deduct", grpc_status="UNAVAILABLE", trouble=["error"]),
        troubled(path="/shop.v1.Stock/Find", grpc_status="NOT_FOUND", trouble=["slow"]),
    ]
    lines = drawn(view(calls))
    (bad,) = [line.split() for line in lines if "Stock/Deduct" in line]
    (good,) = [line.split() for line in lines if "Stock/Find" in line]
    assert "UNAVAILABLE" in bad
    assert "NOT_FOUND" in good
    assert "200" not in [*bad, *good]


def test_one_table_alone_has_everything_in_it():
    made = view(RECENT, **BUSY)
    made.alone = Name.BULKHEADS
    assert row(drawn(made), "idle") == ["idle", "0", "256", "0%", "0", "0"]
    made.alone = Name.BUDGETS
    assert row(drawn(made), "unspent")[1] == "30"
    made.alone = Name.RECENT
    assert sum("circuit-open" in line for line in drawn(made)) == 40


@pytest.mark.parametrize("name", Name)
def test_a_table_with_nothing_in_it_says_so(name):
    made = view(None if name is Name.ROUTES else [])
    made.alone = name
    assert len([line for line in drawn(made) if line]) == 4 - (name is Name.ROUTES)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (60, 16), (120, 50), (40, 10), (20, 5)])
@pytest.mark.parametrize("alone", [None, *Name])
def test_it_fits_the_terminal_and_the_keys_stand_at_the_bottom(width, height, alone):
    made = view(RECENT, **BUSY)
    made.alone = alone
    lines = drawn(made, width, height)
    assert len(lines) == height
    assert max(map(len, lines)) <= width
    assert lines[-1].startswith("q quit")


def test_what_does_not_fit_is_counted():
    made = view(RECENT, **(BUSY | {"routes": [route(f"route-{n}") for n in range(50)]}))
    shown = sum("route-" in line for line in drawn(made, 80, 24))
    assert f".. {50 - shown} more (key 1)" in drawn(made, 80, 24)
    made.alone = Name.ROUTES
    assert ".. 31 more" in drawn(made, 80, 24)


def test_the_selected_row_is_in_sight():
    made = view([troubled(path=f"/{number}.") for number in range(60)])
    made.alone = Name.RECENT
    for selected in (0, 30, 59):
        made.selected = selected
        assert any(f"/{selected}." in line for line in drawn(made, 80, 24)), selected


def test_states_are_words():
    assert "DRAINING" in drawn(view(draining=True, ready=False))[0]
    assert "NOT READY" in drawn(view(ready=False))[0]
    states = drawn(
        view(circuit_breakers=[breaker("a", "half_open"), breaker("b", "open", mode="observe")])
    )
    assert any("half-open" in line for line in states)
    assert any("open (observed)" in line for line in states)


def test_a_rejected_reload_is_told():
    told = {"result": "rejected", "problems": ["f:1:1: no", "f:2:2: no"]}
    assert drawn(view(config={"last_reload": told}))[1] == "RELOAD REJECTED and 1 more: f:1:1: no"


def test_a_proxy_that_does_not_answer_is_told_with_what_was_seen_last():
    made = view(RECENT, **BUSY)
    made.failure, made.failed_at = "no proxy answers at x: Connection refused", 104.0
    lines = drawn(made)
    assert lines[1] == "NO ANSWER for 6s, trying again: no proxy answers at x: Connection refused"
    assert any("circuit-open" in line for line in lines)


def test_before_the_first_answer():
    made = View("http://127.0.0.1:7072", Window())
    assert drawn(made) == ["resilience-proxy top  http://127.0.0.1:7072", "asking ..."]


def test_order_and_pause_are_told():
    made = view()
    made.order, made.paused = Order.P99, True
    assert drawn(made)[1] == "rates of the last 4 s, routes by p99, PAUSED"


def test_a_story_is_wrapped_and_scrolled():
    made = view()
    made.story = ("first", *(f"  {number} " + "word " * 20 for number in range(20)), "last")
    lines = drawn(made, 60, 12)
    assert (len(lines), lines[2], max(map(len, lines)) <= 60) == (12, "first", True)
    assert lines[4].startswith("    word"), "what goes on is indented"
    made.scrolled = 999
    assert drawn(made, 60, 12)[-2] == "last"


@pytest.mark.parametrize("width", [1, 3, 8, 16])
def test_a_story_fits_a_sliver(width):
    made = view()
    made.story = (" " * 14 + "no other attempt: " + "x" * 40, "")
    assert len(drawn(made, width, 12)) == 12


@pytest.mark.parametrize(
    ("wanted", "room", "given"),
    [
        ([5, 5], None, [5, 5]),
        ([5, 5], 12, [5, 5]),
        ([5, 1, 9], 12, [4, 1, 4]),
        ([9, 9, 9], 7, [3, 2, 0]),
        ([9, 9], 1, [0, 0]),
        ([3], 4, [3]),
    ],
)
def test_rows_are_shared_out(wanted, room, given):
    assert allot(wanted, room) == given
