"""Whose word counts for the way that a request has come."""

from time import process_time

import pytest

from proxy.config.server_model import Trust
from proxy.exchange.forwarded import FORWARDED_FIELDS, Forwarded
from proxy.http.h1.request import RequestParser

ALL = Trust()
NONE = Trust(False)
EDGE = Trust(False, ("10.0.0.0/8", "::1/128"))


def head(forwarded, *fields, line="GET / HTTP/1.1", host=("Host: A:81",)):
    raw = "\r\n".join([line, *host, *fields, "", ""]).encode("latin-1")
    parser = RequestParser(
        FORWARDED_FIELDS, max_url=1000, max_fields=20, keeps_out=forwarded.keeps_out
    )
    return parser.parse(raw)


def added(trust, peer, *fields, **more):
    """The fields that the inbound listener adds, and the names of those that pass by themselves."""
    forwarded = Forwarded(trust)
    own, asked = [], head(forwarded, *fields, **more)
    forwarded.add_to(own, asked, peer, b"http")
    assert not {name.lower for name, _ in own} & {field.name.lower for field in asked.fields}
    return {name.text.decode(): value.decode() for name, value in own} | {
        field.name.text.decode(): field.value.decode() for field in asked.fields
    }


SAID = (
    "X-Forwarded-For: 192.0.2.7",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: shop",
    "X-Forwarded-Port: 443",
    "Forwarded: for=192.0.2.7",
    "X-Real-IP: 192.0.2.7",
)
KEPT = {
    "X-Forwarded-For": "192.0.2.7, 10.1.1.1",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "shop",
    "X-Forwarded-Port": "443",
    "Forwarded": "for=192.0.2.7",
}
ANEW = {"X-Forwarded-For": "10.1.1.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "a:81"}


def test_by_default_every_peer_is_believed():
    assert added(ALL, "10.1.1.1", *SAID) == KEPT | {"X-Real-IP": "192.0.2.7"}


def test_a_peer_of_the_list_is_believed():
    assert added(EDGE, "10.1.1.1", *SAID) == KEPT | {"X-Real-Ip": "192.0.2.7"}


@pytest.mark.parametrize("trust", [NONE, Trust(False, ("192.168.0.0/16",))])
def test_what_another_one_says_is_dropped_and_made_anew(trust):
    more = ("X-Forwarded-Prefix: /admin", "X-Other: 1")
    assert added(trust, "10.1.1.1", *SAID, *more) == ANEW | {"X-Other": "1"}


@pytest.mark.parametrize("trust", [ALL, NONE, EDGE])
def test_without_a_word_the_proxy_says_what_it_saw(trust):
    assert added(trust, "10.1.1.1") == ANEW


def test_a_request_that_names_no_host():
    found = added(ALL, "c", line="GET / HTTP/1.0", host=())
    assert found == {"X-Forwarded-For": "c", "X-Forwarded-Proto": "http"}


@pytest.mark.parametrize("peer", ["::1", "::ffff:10.1.1.1"])
def test_peers_of_both_families(peer):
    assert added(EDGE, peer, "X-Forwarded-Proto: https")["X-Forwarded-Proto"] == "https"


@pytest.mark.parametrize("trust", [ALL, NONE, EDGE])
@pytest.mark.parametrize(
    "name",
    [
        "Proxy",
        "X_Forwarded_For",
        "X-Forwarded_Proto",
        "x_real_ip",
        "X_Request_Id",
        "X_Retry-Attempt",
    ],
)
def test_names_that_a_service_could_take_for_others(trust, name):
    assert added(trust, "10.1.1.1", f"{name}: evil", "My_Own: 1") == ANEW | {"My_Own": "1"}


@pytest.mark.parametrize(
    ("trust", "peer", "chain", "client"),
    [
        (ALL, "10.1.1.1", "192.0.2.7", "10.1.1.1"),
        (NONE, "10.1.1.1", "192.0.2.7", "10.1.1.1"),
        (EDGE, "192.0.2.1", "198.51.100.1", "192.0.2.1"),
        (EDGE, "10.1.1.1", "192.0.2.7", "192.0.2.7"),
        (EDGE, "10.1.1.1", "198.51.100.9, 192.0.2.7, 10.2.2.2", "192.0.2.7"),
        (EDGE, "10.1.1.1", "192.0.2.7:4711", "192.0.2.7"),
        (EDGE, "10.1.1.1", "[2001:db8::1]:4711", "2001:db8::1"),
        (EDGE, "10.1.1.1", "192.0.2.7, unknown, 10.2.2.2", "10.2.2.2"),
        (EDGE, "10.1.1.1", "192.0.2.7,, 10.2.2.2 ,", "192.0.2.7"),
        (EDGE, "10.1.1.1", "10.3.3.3, 10.2.2.2", "10.3.3.3"),
        (EDGE, "10.1.1.1", None, "10.1.1.1"),
    ],
)
def test_who_the_client_is_for_limits(trust, peer, chain, client):
    forwarded = Forwarded(trust)
    asked = head(forwarded, *([f"X-Forwarded-For: {chain}"] if chain else []))
    assert forwarded.client(asked, peer) == client


def test_a_chain_of_thousands_is_not_read_to_its_start():
    """The caller writes it: each address costs 32 µs, and the loop has other clients."""
    forwarded = Forwarded(EDGE)
    chain = ", ".join(["192.0.2.7", *5000 * ["10.2.2.2"]])
    asked = head(forwarded, f"X-Forwarded-For: {chain}")
    began = process_time()
    for _ in range(20):
        assert forwarded.client(asked, "10.1.1.1") == "10.2.2.2"
    assert process_time() - began < 0.5
