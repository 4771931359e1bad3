"""What RFC 9110 asks of an intermediary: Date, Max-Forwards, lists, Host. Contract, section 5."""

import re

import pytest
from exchange.wires import request, response

from proxy.config.model import Listener


def exchanged(stage, asked, answered, listener=Listener.OUTBOUND):
    client = stage.ask(asked, listener=listener)
    server = stage.accept() if stage.connects else stage.servers[-1]
    seen = server.request()
    server.send(answered)
    return seen, client.answer()


# --- Date (RFC 9110 section 6.6.1) ----------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 204, 304, 404, 500])
def test_a_response_without_date_gets_one(stage, status):
    for _ in range(3):  # what was remembered says so too
        _, answer = exchanged(stage, request("POST /x HTTP/1.1"), response(status))
        assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", answer.get("date"))


def test_the_upstreams_date_is_kept(stage):
    for second in range(30):  # more than are remembered as lines
        date = f"Sun, 06 Nov 1994 08:49:{second:02} GMT"
        _, answer = exchanged(stage, request(), response(200, b"", f"DATE: {date}"))
        assert answer.all("date") == [date]
    _, answer = exchanged(stage, request(), response(200, b""))
    assert len(answer.all("date")) == 1


def test_a_rule_may_remove_the_date(make_stage):
    stage = make_stage("""
service: stage
upstreams: {shop: {endpoints: ["http://10.0.0.1:80"]}}
routes: [{name: r, upstream: shop, headers: {response: {remove: [date]}}}]
""")
    _, answer = exchanged(stage, request(), response())
    assert answer.get("date") is None


# --- Max-Forwards (RFC 9110 section 7.6.2) --------------------------------------------------------


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS"])
@pytest.mark.parametrize(("given", "sent"), [("1", "0"), ("010", "9"), ("70", "69")])
def test_it_is_counted_down(stage, method, given, sent):
    asked = request(f"{method} /x?y HTTP/1.1", "A: 1", f"max-forwards: {given}", "B: 2")
    seen, answer = exchanged(stage, asked, response())
    assert (seen.line, answer.status) == (f"{method} /x?y HTTP/1.1", 200)
    assert seen.all("max-forwards") == [sent]
    assert (seen.get("a"), seen.get("b")) == ("1", "2")


@pytest.mark.parametrize(
    ("method", "given"), [("GET", "0"), ("PROPFIND", "0"), ("TRACE", "x"), ("OPTIONS", "-1")]
)
def test_elsewhere_it_passes(stage, method, given):
    asked = request(f"{method} /x HTTP/1.1", f"Max-Forwards: {given}")
    seen, _ = exchanged(stage, asked, response())
    assert seen.get("max-forwards") == given


def test_a_trace_is_reflected_without_credentials(stage):
    asked = request(
        "TRACE /x?y HTTP/1.1", "Max-Forwards: 0", "Authorization: Bearer s3cret", "Cookie: s3cret",
        "Proxy-Authorization: s3cret", "X-Api-Key: s3cret", "X-Auth-Token: s3cret", "X-One: 1",
        "Via: 1.1 other", "X-Request-Id: abc",
    )  # fmt: skip
    client = stage.ask(asked)
    answer = client.answer()
    assert answer.status == 200
    assert answer.get("content-type") == "message/http"
    assert (answer.get("x-request-id"), answer.get("date") is not None) == ("abc", True)
    lines = answer.body.split(b"\r\n")
    assert lines[0] == b"TRACE /x?y HTTP/1.1"
    assert lines[-2:] == [b"", b""]
    assert {b"Host: shop", b"X-One: 1", b"Via: 1.1 other", b"Max-Forwards: 0"} <= set(lines)
    assert b"s3cret" not in answer.body
    assert not client.closed
    record = stage.records[0]
    assert (record.status, record.reason, record.attempts) == (200, "", [])
    assert (
        stage.ask(request("TRACE http://shop/x HTTP/1.1", "Max-Forwards: 0")).answer().body[:25]
        == b"TRACE http://shop/x HTTP/"
    )


def test_options_is_answered(stage):
    client = stage.ask(request("OPTIONS * HTTP/1.1", "Max-Forwards: 0"))
    answer = client.answer()
    assert (answer.status, answer.get("content-length"), answer.body) == (200, "0", b"")
    assert not client.closed


def test_what_is_not_allowed_is_not_answered_either(make_stage):
    stage = make_stage("{service: stage, egress: {allow: [shop]}}")
    client = stage.ask(request("TRACE http://other/ HTTP/1.1", "Max-Forwards: 0"))
    assert client.answer().status == 403


# --- lists (RFC 9110 section 5.6.1) ---------------------------------------------------------------


def test_no_empty_members_are_written(stage):
    asked = request("GET /x HTTP/1.1", "Via: ,1.0 a,,", "Via: ", "X-Forwarded-For: ,, 1.2.3.4 ,")
    seen, _ = exchanged(stage, asked, response())
    assert seen.get("via") == "1.0 a, 1.1 stage"
    seen, _ = exchanged(stage, request("GET /x HTTP/1.1", "Via: ,,"), response())
    assert seen.get("via") == "1.1 stage"


def test_nor_by_the_inbound_listener(make_stage):
    stage = make_stage("service: stage")
    empty = ("X-Forwarded-For: , ,", "X-Forwarded-Proto: ", "X-Forwarded-Host: ,")
    some = ("X-Forwarded-For: 1.2.3.4,,", "X-Forwarded-Proto: ,https", "X-Forwarded-Host: a,,")
    names = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host")
    found = []
    for fields in (empty, some):
        asked = request("GET /x HTTP/1.1", *fields)
        seen, _ = exchanged(stage, asked, response(), listener=Listener.INBOUND)
        found.append([seen.all(name) for name in names])
    assert found[0] == [["10.9.8.7"], ["http"], ["shop"]]
    assert found[1] == [["1.2.3.4, 10.9.8.7"], ["https"], ["a"]]


@pytest.mark.parametrize(
    ("upgrade", "sent"), [(",,websocket,", "websocket"), (" , ", None), ("a,b", "a,b")]
)
def test_nor_in_upgrade_and_connection(stage, upgrade, sent):
    asked = request(
        "GET /x HTTP/1.1", "Connection: ,, upgrade ,,TE", f"Upgrade: {upgrade}", "TE: ,trailers,"
    )
    seen, _ = exchanged(stage, asked, response())
    assert seen.get("upgrade") == sent
    assert seen.get("te") == "trailers"
    assert seen.get("connection") == ("TE, Upgrade" if sent else "TE")


# --- versions (RFC 9110 section 2.5) and Host (RFC 9112 section 3.2) ------------------------------


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        ("http://10.0.0.1:80", "10.0.0.1"),
        ("http://10.0.0.1:8080", "10.0.0.1:8080"),
        ("http://[::1]:8080", "[::1]:8080"),
    ],
)
@pytest.mark.parametrize("fields", ["", "Connection: keep-alive\r\n"])
def test_http_1_0_without_host_gets_the_upstreams(make_stage, endpoint, host, fields):
    stage = make_stage(f"""
service: stage
upstreams: {{shop: {{endpoints: ["{endpoint}"]}}}}
routes: [{{name: r, upstream: shop}}]
""")
    asked = f"GET /x HTTP/1.0\r\n{fields}\r\n".encode()
    seen, _ = exchanged(stage, asked, response())
    assert (seen.all("host"), seen.get("via")) == ([host], "1.0 stage")


def test_an_empty_host_stays_empty(stage):
    """That is what RFC 9112 section 3.2 asks of a client whose URI has no authority."""
    seen, _ = exchanged(stage, b"GET /x HTTP/1.1\r\nHost: \r\n\r\n", response())
    assert seen.all("host") == [""]


def test_a_later_minor_version_is_read_as_1_1(stage):
    answered = response().replace(b"HTTP/1.1", b"HTTP/1.3")
    seen, answer = exchanged(stage, request("GET /x HTTP/1.2"), answered)
    assert (seen.line, seen.get("via")) == ("GET /x HTTP/1.1", "1.1 stage")
    assert (answer.line[:12], answer.get("via")) == ("HTTP/1.1 200", "1.1 stage")


@pytest.mark.parametrize(
    "via",
    [
        ", ".join(["1.1 stage-eu", "1.0 backstage", "1.1 stage.test"] * 9),
        "1.1 other (" + "1.1 stage, " * 9 + "x)",
        "1.1 other ((1.1 stage, (1.1 stage)) \\), 1.1 stage, 1.1 stage, 1.1 stage, 1.1 stage)",
    ],
    ids=["names that contain its own", "a comment", "a comment in a comment"],
)
def test_only_its_own_name_makes_a_loop(stage, via):
    seen, answer = exchanged(stage, request("GET /x HTTP/1.1", f"Via: {via}"), response())
    assert seen.get("via").endswith("1.1 stage")
    assert answer.status == 200


def test_a_comment_that_does_not_end_hides_no_loop(stage):
    client = stage.ask(request("GET /x HTTP/1.1", "Via: 1.1 a (" + ", 1.1 stage" * 5))
    assert client.answer().status == 508
