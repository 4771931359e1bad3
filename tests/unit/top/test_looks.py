"""What is taken from the proxy's documents, and what is no such document."""

import pytest
from unit.top.documents import attempt, breaker, endpoint, route, status, troubled

from proxy.top.looks import Breaker, Endpoint, Queue, Reload, RouteTotals
from proxy.top.reading import read


def test_read():
    requests = [
        {"listener": "outbound", "route": "stock", "age_s": 0.5},
        {"listener": "outbound", "route": "stock", "age_s": 2.5},
        {"listener": "inbound", "route": "stock", "age_s": 0.1},
    ]
    look = read(
        status(
            in_flight={"inbound": 1, "outbound": 2, "requests": requests},
            routes=[route("stock", requests=3, errors=1)],
            circuit_breakers=[breaker("stock", "open", next_probe_in_s=1.5, calls=9)],
            upstreams=[{"name": "inventory", "endpoints": [endpoint("a:1", avoided=True)]}],
            bulkheads=[
                {"name": "stock", "in_use": 1, "limit": 2, "queued": 3, "max_queue": 4, "new": 5}
            ],
            retries=[{"name": "b", "requests": 9, "retries": 1, "allowed": 2, "remaining": 1}],
        ),
        None,
        7.0,
    )
    assert (look.at, look.inbound, look.outbound, look.oldest) == (7.0, 1, 2, 2.5)
    assert look.flying == {("outbound", "stock"): 2, ("inbound", "stock"): 1}
    bounds = (1.0, 10.0, 100.0, 60000.0)
    assert look.routes == (RouteTotals("outbound", "stock", 3, 1, 0, 0, bounds, (0,) * 5),)
    assert look.breakers == (Breaker("stock", "open", "enforce", -1.0, -1.0, 9, 0, 1.5),)
    assert look.endpoints == (Endpoint("inventory", "a:1", 0, "avoided", 1, 1, 0, 0),)
    assert (look.bulkheads[0].queued, look.budgets[0].remaining) == (3, 1)
    assert look.recent is None


def test_the_last_reload():
    told = {"result": "rejected", "time": "x", "problems": ["f:1:1: no", "f:2:1: no"]}
    look = read(status(config={"last_reload": told}), None, 0.0)
    assert look.reload == Reload("rejected", 2, "f:1:1: no")


def test_a_proxy_that_tells_no_durations_has_no_percentiles():
    told = route("stock")
    del told["durations"]
    (stock,) = read(status(routes=[told]), None, 0.0).routes
    assert (stock.bounds, stock.counts) == ((), (0,))


def test_gates_without_a_table_are_told_part_by_part():
    limits = {
        "name": "stock",
        "limits": {"user": "10/s by header:x-user, 20 at once", "all": "50/s by route, 50 at once"},
        "allowed": {"user": 40, "all": 40},
        "limited": {"user": 3, "all": 0},
        "waiting": 0,
    }
    (one,) = read(status(rate_limits=[limits]), None, 0.0).others
    assert (one.kind, one.name) == ("rate limits", "stock")
    assert one.says == (
        "user: limits 10/s by header:x-user, 20 at once, allowed 40, limited 3; "
        "all: limits 50/s by route, 50 at once, allowed 40; waiting 0"
    )


def test_an_outbox_is_told_queue_by_queue() -> None:
    queue = {"route": "notify", "pending": 12, "delivering": 4, "dead": 1, "oldest_s": 31.2}
    lanes = [{"route": "notify", "lane": "c1"}, {"route": "other", "lane": "c1"}]
    look = read(status(outbox={"queues": [queue], "blocked_lanes": lanes}), None, 0.0)
    assert look.outbox == (Queue("notify", 12, 4, 31.2, 0, 1, 1),)


def test_idempotency_is_told_route_by_route() -> None:
    routes = [route("plain"), route("pay", claims=1, idempotency={"replayed": 3, "unknown": 1})]
    (one,) = read(status(routes=routes), None, 0.0).others
    assert (one.kind, one.name) == ("idempotency", "pay")
    assert one.says == "open 1, replayed 3, unknown 1"


def test_a_hedge_and_an_injected_fault_are_told():
    attempts = [attempt(fault="delay", failure="hedge-lost"), attempt(status=200, hedge=True)]
    look = read(status(), [troubled(attempts=attempts, trouble=["slow"])], 0.0)
    assert look.recent is not None
    assert look.recent[0].trouble == "slow, hedged, fault"


def test_why_an_exchange_was_troubled():
    refused = [attempt(status=503, retry={"allowed": False, "why": "budget"})]
    look = read(
        status(),
        [troubled(attempts=refused, trouble=["error", "slow"]), troubled(attempts=[])],
        0.0,
    )
    assert look.recent is not None
    assert [(one.trouble, one.refused) for one in look.recent] == [
        ("error, slow", "budget"),
        ("retried", ""),
    ]


def test_the_status_of_a_grpc_call():
    look = read(status(), [troubled(grpc_status="UNAVAILABLE"), troubled()], 0.0)
    assert look.recent is not None
    assert [one.grpc_status for one in look.recent] == ["UNAVAILABLE", ""]


def test_what_callers_sent_cannot_drive_the_terminal():
    look = read(status(), [troubled(path="/\x1b[2J\n", method="\x07GET")], 0.0)
    assert look.recent is not None
    assert (look.recent[0].path, look.recent[0].method) == ("/?[2J?", "?GET")


@pytest.mark.parametrize(
    "document", [{}, status(routes=None), status(in_flight=3), status(uptime_s="long")]
)
def test_what_is_no_such_document(document):
    with pytest.raises((KeyError, TypeError, ValueError)):
        read(document, None, 0.0)
