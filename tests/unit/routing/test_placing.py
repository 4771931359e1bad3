"""Which endpoint `explain` names, and its words for what leaves endpoints out."""

import random
from textwrap import dedent

import pytest

from proxy.config import load_text
from proxy.config.model import ConnectionsConfig, Listener, LoadBalancing
from proxy.routing.explain import describe_request, explain
from proxy.routing.placing import owner_of
from proxy.upstream.address import Address
from proxy.upstream.balancing import balancer
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.pool import Pool

ADDRESSES = ("10.0.0.1", "10.0.0.2", "fd00::3")
FILE = """\
    upstreams:
      inventory:
        endpoints: [{url: "http://10.0.0.1:80", weight: 2}, "http://10.0.0.2:80", "http://[fd00::3]:80"]
        load_balancing: consistent_hash
        hash: {header: user-id}
    routes:
      - {name: stock, upstream: inventory}
    """


class NoConnector:
    """Opens nothing."""


def endpoint_at(ip, scheme="http", host="", port=80):
    address = Address(scheme, host or ip, port, ip)
    return Endpoint(address, Pool(address, ConnectionsConfig(), NoConnector(), NoConnector()))


def explained(*headers, text=FILE):
    loaded = load_text(dedent(text), "f.yaml", {})
    return explain(loaded, Listener.OUTBOUND, describe_request("GET", "http://shop/a", headers))


def upstream_lines(*headers, text=FILE):
    lines = explained(*headers, text=text).text().splitlines()
    at = next(at for at, line in enumerate(lines) if line.startswith("goes to upstream"))
    return lines[at : lines.index("", at)]


def test_the_endpoint_is_the_one_that_the_balancer_chooses():
    hashing = balancer(LoadBalancing.CONSISTENT_HASH, random.random)
    hashing.weighted = True
    endpoints = []
    for ip, weight in zip(ADDRESSES, (2, 1, 1), strict=True):
        endpoint = endpoint_at(ip)
        endpoint.weight = float(weight)
        endpoints.append(endpoint)
    chosen = set()
    for number in range(60):
        value = f"u{number}"
        (marked,) = [line for line in upstream_lines(f"user-id: {value}") if "(hash)" in line]
        expected = hashing.choose(endpoints, 0.0, value.encode())
        assert f"http://{expected.label}" in marked
        found = explained(f"user-id: {value}").document()["destination"]["hash"]
        assert found == {
            "by": "header user-id",
            "value": value,
            "endpoint": f"http://{expected.label}",
        }
        chosen.add(expected)
    assert chosen == set(endpoints)


def test_equal_weights_agree_with_the_balancer_too():
    hashing = balancer(LoadBalancing.CONSISTENT_HASH, random.random)
    endpoints = [endpoint_at(ip) for ip in ADDRESSES]
    places = [(one.label.encode(), 1.0) for one in endpoints]
    for number in range(500):
        key = b"u%d" % number
        assert endpoints[owner_of(key, places)] is hashing.choose(endpoints, 0.0, key)


@pytest.mark.parametrize(
    ("changed", "headers", "said"),
    [
        ({}, (), "it has no header user-id: the less busy of two endpoints takes it (hash)"),
        (
            {"{header: user-id}": "client"},
            (),
            "its client's address decides, which only the proxy sees (hash)",
        ),
        (
            {"10.0.0.2": "inventory"},
            ("user-id: u1",),
            "its header user-id decides among the addresses of these names (hash); "
            "--admin HOST:PORT asks a running proxy which one that is",
        ),
    ],
)
def test_why_the_file_does_not_say_which(changed, headers, said):
    text = FILE
    for old, new in changed.items():
        text = text.replace(old, new)
    assert upstream_lines(*headers, text=text)[-1] == f"  {said}"
    endpoint = explained(*headers, text=text).document()["destination"]["hash"]["endpoint"]
    assert endpoint is None


PLAIN = FILE.replace(
    "load_balancing: consistent_hash\n        hash: {header: user-id}", "slow_start: 0s"
)
USED = "without a usable endpoint all are used (on_none)"
REFUSED = "without a usable endpoint requests are refused (on_none)"
ASKS = "--admin HOST:PORT asks a running proxy which are out"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("slow_start: 0s", []),
        (
            "slow_start: 30s",
            ["a new or returned endpoint gets its whole share after 30s (slow_start)"],
        ),
        (
            "outlier_detection: {}",
            [
                "an endpoint is left out for 30s to 5m after 5 failures in a row or 50% of at "
                "least 20 requests in 30s; at most 50%, but one of two or more (outlier_detection)",
                f"{USED}; {ASKS}",
            ],
        ),
        (
            "outlier_detection: {mode: observe, failure_rate: none, on_none: refuse}",
            [
                "an endpoint would be left out for 30s to 5m after 5 failures in a row; at most "
                "50%, but one of two or more (outlier_detection)",
                f"{REFUSED}; {ASKS}",
            ],
        ),
        (
            "health_check: {path: /health, unhealthy: 1}",
            [
                "every 10s GET /health must be answered 200-299 within 1s; an endpoint is left "
                "out after 1 failure in a row, and back after 2 passes (health_check)",
                f"{USED}; {ASKS}",
            ],
        ),
        (
            'health_check: {grpc: "", healthy: 1}',
            [
                "every 10s grpc.health.v1 must answer SERVING for the server within 1s; an "
                "endpoint is left out after 3 failures in a row, and back after 1 pass "
                "(health_check)",
                f"{USED}; {ASKS}",
            ],
        ),
    ],
)
def test_the_rules_in_words(settings, said):
    lines = upstream_lines(text=PLAIN.replace("slow_start: 0s", settings))
    assert lines[4:] == [f"  {one}" for one in said]


def test_of_a_split_the_rules_of_the_chosen_upstream_are_told():
    text = FILE.replace(
        "{name: stock, upstream: inventory}",
        "{name: stock, upstream: {inventory: 50, app: 50}, split_by: {header: user-id}}",
    )
    for number in range(20):
        found = explained(f"user-id: u{number}", text=text)
        marked = [line for line in found.text().splitlines() if line.endswith("(hash)")]
        assert len(marked) == (found.upstream.name == "inventory")


# --- what a running proxy says --------------------------------------------------------------------


def row(address, **more):
    host = address.rpartition(":")[0].strip("[]")
    usual = {"scheme": "http", "host": host, "weight": 1.0}
    standing = {"health": None, "last_check": None, "ejected": False, "avoided": False}
    return {"address": address, **usual, **standing, **more}


OUT = {
    "ejected": True,
    "ejected_for_s": 12.5,
    "ejected_why": "consecutive-failures",
    "ejections_in_a_row": 1,
}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "in use"),
        ({"weight": 0.3}, "in use, weight 0.3"),
        ({"avoided": True}, "avoided: a connect has failed"),
        (
            {"health": "unhealthy", "last_check": "503"},
            "out: its health checks fail (503)",
        ),
        (OUT, "ejected for 12.5 s more, then one request decides: consecutive_failures"),
        (
            {**OUT, "ejected_for_s": 0.0, "ejections_in_a_row": 3, "ejected_why": "probe-failed"},
            "ejected until a request that goes there succeeds, 3 times in a row: the request that "
            "decided about its return failed",
        ),
    ],
)
def test_how_an_endpoint_stands(more, said):
    (placing,) = explained(text=PLAIN.replace("slow_start: 0s", "outlier_detection: {}")).placings
    assert list(placing.now_lines([row("10.0.0.1:80", **more)])) == [f"  10.0.0.1:80  {said}"]


def test_an_observed_ejection_leaves_the_endpoint_in_use():
    text = FILE.replace("hash:", "outlier_detection: {mode: observe}\n        hash:")
    (placing,) = explained("user-id: u1", text=text).placings
    rows = [row(f"10.0.0.{n}:80", **OUT, observed=True) for n in (1, 2)]
    assert placing.owner_now(rows) == placing.owner_now([row("10.0.0.1:80"), row("10.0.0.2:80")])
    assert "used (outlier_detection observes); ejected for 12.5 s more" in next(
        iter(placing.now_lines(rows))
    )


def test_the_hash_decides_among_the_endpoints_that_are_in_use():
    (placing,) = explained("user-id: u1", text=FILE).placings
    rows = [row("10.0.0.1:80", weight=2.0), row("10.0.0.2:80"), row("[fd00::3]:80")]
    first = placing.owner_now(rows)
    assert first == placing.owner.__str__().removeprefix("http://")
    out = [{**one, **(OUT if one["address"] == first else {})} for one in rows]
    second = placing.owner_now(out)
    assert second not in (None, first)
    assert placing.owner_now([{**one, **OUT} for one in rows]) == first
    avoided = [{**one, "avoided": one["address"] == first} for one in rows]
    assert placing.owner_now(avoided) == second
    assert placing.owner_now([{**one, "avoided": True} for one in rows]) == first
    assert placing.owner_now([]) is None


def test_of_two_names_with_one_address_the_hash_decides_on_one():
    hashing = balancer(LoadBalancing.CONSISTENT_HASH, random.random)
    rows = [row("10.0.0.1:443", scheme="https", host=host) for host in ("a.shop", "b.shop")]
    endpoints = [endpoint_at("10.0.0.1", "https", one["host"], 443) for one in rows]
    chosen = set()
    for number in range(30):
        (placing,) = explained(f"user-id: u{number}", text=FILE).placings
        expected = hashing.choose(endpoints, 0.0, b"u%d" % number)
        (marked,) = [n for n, line in enumerate(placing.now_lines(rows)) if "(hash)" in line]
        assert endpoints[marked] is expected
        chosen.add(marked)
    assert chosen == {0, 1}


def test_an_endpoint_that_is_twice_in_the_file_has_its_first_weight():
    twice = FILE.replace(
        '"http://10.0.0.2:80"',
        '"http://10.0.0.2:80", {url: "http://10.0.0.2:80", weight: 1000}',
    )
    for number in range(60):
        found = [explained(f"user-id: u{number}", text=text).placings for text in (FILE, twice)]
        assert found[0][0].owner == found[1][0].owner


def test_with_none_left_and_on_none_refuse_it_goes_nowhere():
    text = FILE.replace("hash:", "outlier_detection: {on_none: refuse}\n        hash:")
    (placing,) = explained("user-id: u1", text=text).placings
    assert placing.owner_now([row("10.0.0.1:80", health="unhealthy")]) is None
    assert placing.owner_now([row("10.0.0.1:80", health="healthy")]) == "10.0.0.1:80"


def test_names_without_an_address_yet():
    (placing,) = explained().placings
    assert list(placing.now_lines([])) == [
        "  no address: its names are not resolved yet, or cannot be"
    ]
