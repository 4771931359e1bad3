"""`explain FILE POST table:NAME`, and what `check` says of a table."""

import pytest

from proxy.config.loading import load_text
from proxy.config.summary import summary
from proxy.routing.explain_table import TableExplanation

FILE = """
store: {url: "sqlite:s.db", persistent: true}
upstreams: {stock: {endpoints: ["http://10.0.0.1:80"]}}
policies: {slow: {timeouts: {request: 60s}}}
sagas: {place: {steps: [{name: a, request: {upstream: stock, path: /a}}]}}
outbox_tables:
  orders:
    url: postgresql://u:s3cret@db/shop
    table: outbox_events
    columns: {id: id, key: agg, body: payload, status: status, created: at, attempts: tries}
    notify: events
    to: {upstream: stock, path: "/e/${id}", policy: slow, headers: {x-token: s3cret}}
    outbox: {attempts: 3, order_by: key}
  parcels:
    url: postgresql://u@db/shop
    table: parcels
    columns: {id: id, body: payload, status: status, attempts: tries}
    to: {saga: place}
"""


def explained(name):
    return TableExplanation(load_text(FILE, "f.yaml", {}), name)


def test_each_value_has_its_source():
    text = explained("orders").text()
    first, second, third, *lines = text.splitlines()
    assert first == "rows of outbox_events at postgresql://u:***@db/shop"
    assert second == "POST stock /e/${id}"
    assert third == (
        "by key, one at a time, at most 3 tries, for 1d, looks every 1s, listens to events, "
        "takes back after 5m"
    )
    policy = lines.index("policy slow, in effect for each try (route table:orders)")
    found = {line.split()[0]: line.split()[1:] for line in lines[policy + 1 :]}
    found |= {line.split()[0]: line.split()[1:] for line in lines[2 : policy - 1]}
    assert found["outbox.attempts"] == ["3", "f.yaml:13"]
    assert found["reclaim"] == ["5m", "built-in", "default"]
    assert found["timeouts.request"] == ["1m", "f.yaml:4", "(policy", "slow)"]
    assert "s3cret" not in text


def test_rows_that_start_a_saga_have_no_policy_of_their_own():
    document = explained("parcels").document()
    assert (document["to"], document["policy"]) == ("starts saga place", None)
    sources = {one["key"]: one["source"] for one in document["settings"]}
    assert sources["to.saga"] == "f.yaml:18"
    assert "timeouts.request" not in sources


def test_an_unknown_table():
    with pytest.raises(ValueError, match="there is no outbox table 'order'; did you mean 'orders'"):
        explained("order")


def test_the_summary_tells_the_tables():
    lines = summary(load_text(FILE, "f.yaml", {})).splitlines()
    assert "outbox table parcels  parcels at postgresql://u@db/shop" in lines
    assert "  -> starts saga place, in no order, looks every 1s, takes back after 5m" in lines
    assert "s3cret" not in "\n".join(lines)
