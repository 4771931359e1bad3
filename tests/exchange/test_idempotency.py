"""Idempotency keys in whole exchanges: the whole table of answers, and what is recorded when."""

import gc
import json

import pytest
from exchange.wires import request

from proxy.config.model import Listener
from proxy.errors import StoreFailed
from proxy.policies.idempotency_keys import key_digest
from proxy.store.operations import ClaimKey, DoubtKey, FindKeys, FinishKey, ReleaseKey, RenewKeys
from proxy.store.records import KeyState

TEXT = """
service: stage
store: {url: "memory:"}
upstreams:
  shop: {endpoints: ["http://10.0.0.1:80"]}
  spare: {endpoints: ["http://10.0.0.2:80"]}
policies:
  default:
    retry: {attempts: 1}
    circuit_breaker: {mode: off}
    timeouts: {attempt: 2s, request: 5s}
    idempotency: {mode: optional, keep: 1h, lease: 30s, response_limit: 1KiB}
routes:
  - {name: pay, match: {prefix: /pay}, upstream: shop}
  - {name: must, match: {prefix: /must}, upstream: shop, idempotency: {mode: required}}
  - {name: patient, match: {prefix: /patient}, upstream: shop, idempotency: {wait: 3s},
     bulkhead: {max_concurrent: 2}}
  - {name: again, match: {prefix: /again}, upstream: shop, idempotency: {on_unknown: execute}}
  - {name: scoped, match: {prefix: /scoped}, upstream: shop,
     idempotency: {scope: ["header:x-tenant"]}}
  - {name: loose, match: {prefix: /loose}, upstream: shop,
     idempotency: {fingerprint: {ignore: [/sentAt, /meta/n]}}}
  - {name: spare, match: {prefix: /spare}, upstream: shop,
     fallback: {when: [timeout, 503], response: {status: 200, body: deferred}}}
  - {name: mint, match: {prefix: /mint}, upstream: shop, retry: {attempts: 2},
     idempotency: {mint: true, mode: required}}
  - {name: small, match: {prefix: /small}, upstream: shop, retry: {body_limit: 10B}}
  - {name: small-again, match: {prefix: /executed}, upstream: shop, retry: {body_limit: 10B},
     idempotency: {on_unknown: execute}}
  - {name: repeat, match: {prefix: /repeat}, upstream: shop, retry: {attempts: 3, on: [503]}}
"""
KEY = "Idempotency-Key: k-1"


@pytest.fixture
def shop(make_stage):
    return make_stage(TEXT)


def post(stage, *fields, path="/pay", body=b"{}", client=None):
    data = request(f"POST {path} HTTP/1.1", *fields, body=body)
    if client is None:
        return stage.ask(data)
    client.send(data)
    return client


def server_of(stage):
    if stage.connects:
        stage.accept()
    return next(one for one in reversed(stage.servers) if not one.closed)


def call(stage, *fields, status=200, answer=b"done", path="/pay", body=b"{}", more=()):
    """One call that its upstream answers."""
    client = post(stage, *fields, path=path, body=body)
    server_of(stage).answer(status, answer, *more)
    return client.answer()


def state_of(stage, key=b"k-1", route="pay"):
    """The state of the record, "" without one."""
    found = stage.store.look(FindKeys(route, key_digest(key)))
    return found[0].state if found else ""


def test_claims_are_open_until_it_is_known_what_came_of_them(shop):
    stats = shop.stats("pay")
    post(shop, KEY)
    assert stats.claims == 1
    server_of(shop).answer(200, b"done")
    assert stats.claims == 0
    assert post(shop, KEY).answer().get("idempotent-replayed") == "true"
    post(shop, "Idempotency-Key: k-2")
    assert stats.claims == 1
    server_of(shop).close()
    assert (stats.claims, stats.idempotency.get("unknown")) == (0, 1)
    assert call(shop, "Idempotency-Key: k-3", status=503).status == 503
    assert (stats.claims, stats.idempotency.get("released")) == (0, 1)


# --- what a repeat gets -----------------------------------------------------------------------


def test_a_repeat_gets_the_first_answer_and_nothing_goes_upstream(shop):
    first = call(shop, KEY, status=201, answer=b'{"id":7}', more=("Location: /o/7", "X-A: b"))
    assert first.status == 201
    assert first.get("idempotent-replayed") is None
    asked = sum(len(server.transport.written) for server in shop.servers)
    again = post(shop, KEY).answer()
    assert (again.status, again.body) == (201, b'{"id":7}')
    assert again.get("idempotent-replayed") == "true"
    assert (again.get("location"), again.get("x-a")) == ("/o/7", "b")
    assert again.get("x-request-id") != first.get("x-request-id")
    assert sum(len(server.transport.written) for server in shop.servers) == asked
    assert [one.idempotency for one in shop.records] == ["remembered", "replayed"]
    assert shop.records[1].attempts == []


def test_what_belongs_to_the_first_answer_alone_is_not_given_again(shop):
    date = "Date: Mon, 01 Jan 2024 00:00:00 GMT"
    call(shop, KEY, more=("Set-Cookie: s=1", date, "Trailer: X-T"))
    again = post(shop, KEY).answer()
    assert again.get("trailer") is None
    assert again.get("set-cookie") is None
    assert again.get("date") != "Mon, 01 Jan 2024 00:00:00 GMT"


@pytest.mark.parametrize(
    ("one", "other"),
    [("k-1", '"k-1"'), ('"a\\"b\\\\c"', '"a\\"b\\\\c"'), ("8e03978e-40d5", '"8e03978e-40d5"')],
)
def test_a_quoted_key_is_the_same_as_the_bare_one(shop, one, other):
    call(shop, f"Idempotency-Key: {one}")
    assert post(shop, f"X-Idempotency-Key: {other}").answer().get("idempotent-replayed") == "true"


@pytest.mark.parametrize(
    "fields",
    [
        ["Idempotency-Key: a b"],
        ['Idempotency-Key: "a'],
        ["Idempotency-Key: " + "k" * 256],
        ["Idempotency-Key: a", "Idempotency-Key: b"],
        ["Idempotency-Key: a", "X-Idempotency-Key: b"],
        ['Idempotency-Key: ""'],
    ],
)
def test_bad_keys_are_refused(shop, fields):
    answer = post(shop, *fields).answer()
    assert (answer.status, answer.reason) == (400, "idempotency-key-invalid")
    assert not shop.connects
    assert b"k" * 200 not in answer.body


def test_the_same_key_in_both_fields_is_one(shop):
    assert call(shop, "Idempotency-Key: a", "X-Idempotency-Key: a").status == 200


def test_a_required_key_that_is_missing(shop):
    answer = post(shop, path="/must").answer()
    assert (answer.status, answer.reason) == (400, "idempotency-key-missing")
    assert shop.stats("must").idempotency == {"key-missing": 1}


def test_without_a_key_nothing_is_claimed(shop):
    assert call(shop).status == 200
    assert shop.store.asked == []


def test_other_methods_take_no_part(shop):
    client = shop.ask(request("GET /pay HTTP/1.1", KEY))
    server_of(shop).answer()
    assert client.answer().status == 200
    assert shop.store.asked == []


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/pay/other", b"{}", "X-A: 1"),
        ("/pay?x=1", b"{}", "X-A: 1"),
        ("/pay", b"{ }", "X-A: 1"),
        ("/pay", b"", "X-A: 1"),
        ("/pay", b"{}", "Content-Type: text/plain"),
    ],
)
def test_the_key_of_another_request(shop, path, body, field):
    call(shop, KEY, "Content-Type: application/json")
    kind = field if field.startswith("Content") else "Content-Type: application/json"
    answer = post(shop, KEY, kind, path=path, body=body).answer()
    assert (answer.status, answer.reason) == (422, "idempotency-key-reused")


def test_parts_of_the_body_that_do_not_count(shop):
    def body(sent_at, n, amount=5):
        meta = {"n": n, "m": 1}
        return json.dumps({"amount": amount, "sentAt": sent_at, "meta": meta}).encode()

    call(shop, KEY, path="/loose", body=body(1, 1))
    again = post(shop, KEY, path="/loose", body=body(2, 3)).answer()
    assert again.get("idempotent-replayed") == "true"
    assert post(shop, KEY, path="/loose", body=body(1, 1, 6)).answer().status == 422


def test_a_scope_tells_callers_apart_and_its_absence_is_a_value(shop):
    for field in ("X-Tenant: a", "X-Tenant: b", "X-Other: c"):
        assert call(shop, KEY, field, path="/scoped").get("idempotent-replayed") is None
    for field in ("X-Tenant: a", "X-Tenant: b", "X-Other: d"):
        again = post(shop, KEY, field, path="/scoped").answer()
        assert again.get("idempotent-replayed") == "true"


# --- while the first is in flight --------------------------------------------------------------


def test_a_repeat_does_not_wait_by_default(shop):
    first = post(shop, KEY)
    answer = post(shop, KEY).answer()
    assert (answer.status, answer.reason) == (409, "idempotency-in-progress")
    assert answer.get("retry-after") == "1"
    server_of(shop).answer()
    assert first.answer().status == 200


def test_a_repeat_waits_for_the_first(shop):
    first = post(shop, KEY, path="/patient")
    second = post(shop, KEY, path="/patient")
    shop.pass_time(1.0)
    server_of(shop).answer(200, b"once")
    assert first.answer().body == b"once"
    assert second.answer().get("idempotent-replayed") == "true"


def test_it_hears_that_the_first_failed(shop):
    post(shop, KEY, path="/patient")
    shop.accept()
    second = post(shop, KEY, path="/patient")
    shop.pass_time(1.9)
    assert not second.received()
    shop.pass_time(0.2)  # the first has failed: attempt is 2s
    assert second.answer().reason == "idempotency-unknown"


def test_it_waits_so_long_and_no_longer(make_stage):
    stage = make_stage(TEXT.replace("attempt: 2s", "attempt: 4s"))
    first = post(stage, KEY, path="/patient")
    second = post(stage, KEY, path="/patient")
    stage.pass_time(2.9)
    assert not second.received()
    stage.pass_time(0.2)
    assert second.answer().reason == "idempotency-in-progress"
    server_of(stage).answer()
    assert first.answer().status == 200


def test_so_many_wait(shop):
    post(shop, KEY, path="/patient")
    waiting = [post(shop, KEY, path="/patient") for _ in range(2)]
    assert post(shop, KEY, path="/patient").answer().reason == "idempotency-in-progress"
    assert not any(client.received() for client in waiting)
    server_of(shop).answer()
    assert all(client.answer().status == 200 for client in waiting)
    assert shop.stats("patient").waiting == 0


def test_a_repeat_takes_over_what_was_released_while_it_waited(shop):
    first = post(shop, KEY, path="/patient")
    second = post(shop, KEY, path="/patient")
    shop.refuse()
    assert first.answer().reason == "connect-refused"
    server_of(shop).answer(200, b"second")
    assert second.answer().body == b"second"


# --- what becomes of the record ---------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 204, 302, 400, 404, 409, 422, 500, 501, 505])
def test_remembered(shop, status):
    call(shop, KEY, status=status, answer=b"")
    assert state_of(shop) is KeyState.DONE
    assert post(shop, KEY).answer().status == status


@pytest.mark.parametrize("status", [401, 403, 407, 421, 425, 429, 503])
def test_released(shop, status):
    call(shop, KEY, status=status)
    assert state_of(shop) == ""
    assert call(shop, KEY, status=200).status == 200


@pytest.mark.parametrize("status", [408, 502, 504])
def test_unknown(shop, status):
    assert call(shop, KEY, status=status).status == status
    assert state_of(shop) is KeyState.UNKNOWN
    answer = post(shop, KEY).answer()
    assert (answer.status, answer.reason) == (409, "idempotency-unknown")
    assert answer.get("retry-after") is None


def test_an_attempt_that_timed_out_is_unknown(shop):
    client = post(shop, KEY)
    shop.accept()
    shop.pass_time(2.1)
    assert client.answer().reason == "attempt-timeout"
    assert state_of(shop) is KeyState.UNKNOWN


def test_a_reset_is_unknown(shop):
    client = post(shop, KEY)
    shop.accept().reset()
    assert client.answer().reason == "upstream-reset"
    assert state_of(shop) is KeyState.UNKNOWN


def test_a_refused_connection_is_released(shop):
    client = post(shop, KEY)
    shop.refuse()
    assert client.answer().reason == "connect-refused"
    assert state_of(shop) == ""


def test_unknown_may_be_executed_again(shop):
    call(shop, KEY, status=504, path="/again")
    assert state_of(shop, route="again") is KeyState.UNKNOWN
    assert call(shop, KEY, status=200, path="/again").status == 200
    assert post(shop, KEY, path="/again").answer().get("idempotent-replayed") == "true"
    assert post(shop, KEY, path="/again", body=b"[]").answer().status == 422


def test_a_long_body_is_not_executed_for_an_unknown_short_one(shop):
    call(shop, KEY, status=504, path="/executed")
    assert post(shop, KEY, path="/executed", body=b"x" * 30).answer().status == 422
    other = "Idempotency-Key: k-2"
    client = post(shop, other, path="/executed", body=b"x" * 30)
    server_of(shop).answer(504)
    assert client.answer().status == 504
    assert post(shop, other, path="/executed").answer().status in (409, 422)
    client = post(shop, other, path="/executed", body=b"x" * 30)
    server_of(shop).answer(200)
    assert client.answer().status == 200


def test_an_unknown_attempt_before_a_refusal_makes_it_unknown(shop):
    client = post(shop, KEY, path="/repeat")
    server_of(shop).answer(503)
    shop.pass_time(1.0)
    server_of(shop).answer(429)
    assert client.answer().status == 429
    assert state_of(shop, route="repeat") == "", "both say that nothing was done"
    client = post(shop, KEY, path="/repeat")
    server_of(shop).answer(503)
    shop.pass_time(1.0)
    server_of(shop).reset()
    assert client.answer().reason == "upstream-reset"
    assert state_of(shop, route="repeat") is KeyState.UNKNOWN


def test_a_fallback_answers_and_is_not_remembered(shop):
    client = post(shop, KEY, path="/spare")
    shop.accept()
    shop.pass_time(2.1)
    assert client.answer().body == b"deferred"
    assert state_of(shop, route="spare") is KeyState.UNKNOWN
    assert post(shop, KEY, path="/spare").answer().reason == "idempotency-unknown"


def test_a_large_response_is_not_kept(shop):
    assert call(shop, KEY, status=201, answer=b"x" * 2000).body == b"x" * 2000
    assert state_of(shop) is KeyState.UNREPLAYABLE
    answer = post(shop, KEY).answer()
    assert (answer.status, answer.reason) == (409, "idempotency-unreplayable")
    assert b"201" in answer.body


def test_a_large_response_without_a_length_streams_on(shop):
    client = post(shop, KEY)
    server = server_of(shop)
    server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    assert not client.received(), "it may still be small"
    server.send(b"7d0\r\n" + b"x" * 2000 + b"\r\n")
    assert b"x" * 2000 in client.received()
    server.send(b"0\r\n\r\n")
    assert state_of(shop) is KeyState.UNREPLAYABLE


def test_a_small_response_in_pieces_is_held_until_it_is_recorded(shop):
    client = post(shop, KEY)
    server = server_of(shop)
    server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    server.send(b"6\r\n world\r\n")
    shop.store.held = True
    server.send(b"0\r\n\r\n")
    assert not client.received()
    shop.store.release()
    assert b"hello world" in client.received()
    shop.store.held = False
    assert post(shop, KEY).answer().body == b"hello world"


def test_a_response_that_breaks_off_while_it_is_held(shop):
    client = post(shop, KEY)
    server = server_of(shop)
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    server.reset()
    assert client.answer().status == 502
    assert state_of(shop) is KeyState.UNKNOWN


def test_a_large_response_that_breaks_off(shop):
    post(shop, KEY)
    server = server_of(shop)
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + b"x" * 2000)
    server.reset()
    assert state_of(shop) is KeyState.UNKNOWN


def test_an_event_stream_is_not_held(shop):
    client = post(shop, KEY)
    kind = b"Content-Type: text/event-stream\r\n"
    server_of(shop).send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + kind + b"\r\n")
    assert b"text/event-stream" in client.received()
    client.reset()
    assert shop.servers[-1].closed, "there would be no end to wait for"
    assert state_of(shop) is KeyState.UNKNOWN


# --- repeats that come before the end of the first is recorded ---------------------------------


@pytest.mark.parametrize("body", [b"{}", b"other"])
def test_a_released_request_that_is_repeated_at_once_is_new(shop, body):
    """The store may run the claim of the repeat before the release of the first."""
    shop.store.late = (ReleaseKey,)
    assert call(shop, KEY, status=503).status == 503
    client = post(shop, KEY, body=body)
    assert not client.received()
    shop.store.release()
    server_of(shop).answer(200, b"second")
    assert client.answer().body == b"second"


def test_an_unknown_request_that_is_repeated_at_once_is_unknown(shop):
    shop.store.late = (DoubtKey,)
    client = post(shop, KEY)
    server_of(shop).reset()
    assert client.answer().status == 502
    client = post(shop, KEY)
    assert not client.received()
    shop.store.release()
    assert client.answer().reason == "idempotency-unknown"


def test_a_long_answer_that_is_asked_for_at_once_was_not_kept(shop):
    shop.store.late = (FinishKey,)
    assert call(shop, KEY, answer=b"x" * 2000).status == 200
    client = post(shop, KEY)
    shop.store.release()
    assert client.answer().reason == "idempotency-unreplayable"


def test_a_store_that_never_records_the_end_is_not_waited_for_longer_than_the_request(shop):
    shop.store.late = (ReleaseKey,)
    call(shop, KEY, status=503)
    client = post(shop, KEY)
    for _ in range(6):
        shop.pass_time(1)
    assert client.answer().reason == "idempotency-in-progress"


# --- the order of commits and requests ---------------------------------------------------------


def test_nothing_goes_upstream_before_the_claim_is_committed(shop):
    shop.store.held = True
    client = post(shop, KEY)
    assert not shop.connects
    shop.store.release()
    assert shop.connects == 1
    shop.store.held = False
    server_of(shop).answer()
    assert client.answer().status == 200


def test_a_client_that_leaves_before_the_claim_leaves_nothing(shop):
    shop.store.held = True
    post(shop, KEY).reset()
    shop.store.release()
    shop.store.release()
    assert not shop.connects
    assert state_of(shop) == ""


def test_a_client_that_leaves_does_not_cancel_a_claimed_request(shop):
    client = post(shop, KEY)
    server = server_of(shop)
    client.reset()
    assert server.closed == ""
    server.answer(201, b"made")
    assert state_of(shop) is KeyState.DONE
    assert (shop.records[0].status, shop.records[0].reason) == (499, "client-gone")
    again = post(shop, KEY).answer()
    assert (again.status, again.body) == (201, b"made")


def test_a_client_that_has_left_still_has_its_deadlines(shop):
    client = post(shop, KEY)
    server = server_of(shop)
    client.reset()
    shop.pass_time(2.1)
    assert server.closed
    assert state_of(shop) is KeyState.UNKNOWN


def test_a_client_that_leaves_while_its_answer_is_held(shop):
    client = post(shop, KEY)
    server = server_of(shop)
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha")
    client.reset()
    server.send(b"lf")
    assert post(shop, KEY).answer().body == b"half"


def test_a_client_that_leaves_a_large_response(shop):
    client = post(shop, KEY)
    server = server_of(shop)
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n" + b"x" * 2000)
    client.reset()
    server.send(b"x" * 1000)
    assert state_of(shop) is KeyState.UNREPLAYABLE


def test_a_client_that_leaves_its_own_body_half_sent(shop):
    client = shop.client()
    data = request("POST /small HTTP/1.1", KEY, "Content-Length: 100")
    client.send(data + b"x" * 20)
    server = server_of(shop)
    client.reset()
    assert server.closed
    assert state_of(shop, route="small") is KeyState.UNKNOWN


# --- bodies ----------------------------------------------------------------------------------


def test_the_body_is_read_before_the_claim(shop):
    client = shop.client()
    client.send(request("POST /pay HTTP/1.1", KEY, "Content-Length: 4") + b"ha")
    assert shop.store.asked == []
    client.send(b"lf")
    server = server_of(shop)
    assert server.request().body == b"half"
    server.answer()
    assert client.answer().status == 200
    assert post(shop, KEY, body=b"half").answer().get("idempotent-replayed") == "true"
    assert post(shop, KEY, body=b"haIf").answer().status == 422


def test_a_client_that_waits_for_its_100_continue_gets_it(shop):
    client = shop.client()
    client.send(request("POST /pay HTTP/1.1", KEY, "Content-Length: 4", "Expect: 100-continue"))
    assert client.received() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"half")
    server = server_of(shop)
    sent = server.request()
    assert (sent.body, sent.get("expect")) == (b"half", None)
    server.answer()
    assert client.answer().status == 200


def test_a_long_body_is_hashed_as_it_passes(shop):
    client = shop.client()
    client.send(request("POST /small HTTP/1.1", KEY, "Content-Length: 30") + b"x" * 12)
    server = server_of(shop)
    client.send(b"x" * 18)
    assert server.request().body == b"x" * 30
    server.answer(200, b"long")
    assert client.answer().body == b"long"
    again = shop.client()
    again.send(request("POST /small HTTP/1.1", KEY, "Content-Length: 30") + b"x" * 12)
    assert not again.received(), "judged when it is whole"
    again.send(b"x" * 18)
    assert again.answer().get("idempotent-replayed") == "true"
    other = shop.client()
    other.send(request("POST /small HTTP/1.1", KEY, "Content-Length: 30") + b"x" * 12, b"y" * 18)
    assert other.answer().reason == "idempotency-key-reused"


def test_a_repeat_of_a_long_body_in_flight_is_not_judged_by_its_body(shop):
    data = request("POST /small HTTP/1.1", KEY, "Content-Length: 30")
    first = shop.client()
    first.send(data + b"x" * 30)
    second = shop.client()
    second.send(data + b"x" * 30)
    assert second.answer().reason == "idempotency-in-progress"
    server_of(shop).answer()
    assert first.answer().status == 200


LONG = request("POST /small HTTP/1.1", KEY, "Content-Length: 30")


def sent(stage, body, data=LONG):
    client = stage.client()
    client.send(data + body[:12], body[12:])
    return client


def end_unknown(stage, client, how):
    """The first request with a long body ends, and what became of it is not known."""
    if how == "reset":
        server_of(stage).reset()
    elif how == "timeout":
        server_of(stage)
        stage.pass_time(2.1)
    else:
        server_of(stage).answer(502)
    assert client.answer().status in (502, 504)


@pytest.mark.parametrize("how", ["reset", "timeout", "502"])
def test_an_unknown_long_body_is_still_compared_as_a_whole(shop, how):
    end_unknown(shop, sent(shop, b"x" * 30), how)
    assert state_of(shop, route="small") is KeyState.UNKNOWN
    assert sent(shop, b"x" * 30).answer().reason == "idempotency-unknown"
    assert sent(shop, b"x" * 29 + b"y").answer().reason == "idempotency-key-reused"


@pytest.mark.parametrize("ended", [True, False], ids=["reset", "in flight"])
def test_of_a_long_body_that_never_came_whole_its_start_is_compared(shop, ended):
    first = shop.client()
    first.send(LONG + b"x" * 12)
    server = server_of(shop)
    if ended:
        server.reset()
        assert first.answer().reason == "upstream-reset"
    expected = "idempotency-unknown" if ended else "idempotency-in-progress"
    assert sent(shop, b"x" * 12 + b"y" * 18).answer().reason == expected
    assert sent(shop, b"y" * 30).answer().reason == "idempotency-key-reused"


def test_the_start_of_a_long_body_of_known_length_is_part_of_the_claim(shop):
    first = shop.client()
    first.send(LONG + b"xxx")
    assert shop.store.asked == [], "the start has 10 bytes"
    first.send(b"x" * 8)
    server_of(shop).reset()
    assert first.answer().reason == "upstream-reset"
    assert sent(shop, b"xxxx" + b"y" * 26).answer().reason == "idempotency-key-reused"


def test_a_long_body_whose_claim_was_lost_is_compared_by_its_start(shop):
    first = sent(shop, b"x" * 30)
    (claim,) = [ask for ask in shop.store.asked if isinstance(ask, ClaimKey)]
    shop.store.look(DoubtKey(shop.store.look(FindKeys("small", claim.key))[0].ref))
    assert sent(shop, b"x" * 30).answer().reason == "idempotency-unknown"
    assert sent(shop, b"y" * 30).answer().reason == "idempotency-key-reused"
    server_of(shop).answer()
    assert first.answer().status == 200


def test_an_unknown_long_body_is_executed_again_only_with_the_same_start(shop):
    data = request("POST /executed HTTP/1.1", KEY, "Content-Length: 30")
    end_unknown(shop, sent(shop, b"x" * 30, data), "502")
    assert sent(shop, b"y" * 30, data).answer().reason == "idempotency-key-reused"
    again = sent(shop, b"x" * 30, data)
    server_of(shop).answer(201)
    assert again.answer().status == 201
    assert sent(shop, b"x" * 30, data).answer().get("idempotent-replayed") == "true"


# --- the store --------------------------------------------------------------------------------


def test_a_full_store_refuses_new_keys_only(shop):
    call(shop, KEY)
    shop.store.full = True
    assert post(shop, "Idempotency-Key: k-2").answer().reason == "store-full"
    assert post(shop, KEY).answer().get("idempotent-replayed") == "true"
    assert call(shop).status == 200


def test_a_store_that_has_failed_refuses_keys(shop):
    shop.store.error = StoreFailed("The disk.")
    answer = post(shop, KEY).answer()
    assert (answer.status, answer.reason) == (503, "store-failed")
    assert call(shop).status == 200


def test_an_answer_that_cannot_be_recorded_is_given_and_then_unknown(shop):
    client = post(shop, KEY)
    server = server_of(shop)
    shop.store.error = StoreFailed("The disk.")
    server.answer(201, b"made")
    assert client.answer().status == 201
    assert shop.records[0].idempotency == "unknown"


LONGER = TEXT.replace("attempt: 2s, request: 5s", "attempt: 2m, request: 2m")


def test_a_repeat_that_took_the_claim_over_is_the_only_one_under_way(make_stage):
    stage = make_stage(LONGER)
    first = post(stage, KEY, path="/again")
    server = server_of(stage)
    stage.loop.stand_still(40.0)
    (claim,) = [ask for ask in stage.store.asked if isinstance(ask, ClaimKey)]
    assert stage.store.look(claim).claimed, "another process executes the repeat"
    stage.pass_time(0.1)
    assert server.closed
    assert first.answer().reason == "idempotency-unknown"


def test_a_request_goes_on_after_a_pause_that_no_other_process_used(make_stage):
    stage = make_stage(LONGER)
    first = post(stage, KEY, path="/again")
    server = server_of(stage)
    stage.loop.stand_still(40.0)
    stage.pass_time(0.1)
    server.answer(201)
    assert first.answer().status == 201
    assert post(stage, KEY, path="/again").answer().get("idempotent-replayed") == "true"


def test_no_other_attempt_is_sent_under_a_lease_that_has_ended(make_stage):
    stage = make_stage(LONGER.replace("on: [503]", "on: [503], backoff: {initial: 1s}"))
    first = post(stage, KEY, path="/repeat")
    server = server_of(stage)
    server.request()
    server.answer(503)
    stage.store.held = True  # the store does not answer the renewal
    stage.loop.stand_still(40.0)
    stage.pass_time(1.0)
    stage.accept()
    assert not any(one.received() for one in stage.servers)
    assert first.answer().reason == "idempotency-unknown"
    stage.store.release()


def test_a_request_whose_lease_ended_before_it_was_sent_may_be_repeated(make_stage):
    stage = make_stage(LONGER)
    first = post(stage, KEY)
    stage.loop.stand_still(40.0)
    stage.accept()
    answer = first.answer()
    assert (answer.status, answer.reason) == (503, "store-failed")
    assert not any(one.received() for one in stage.servers)
    assert call(stage, KEY, status=201).status == 201


def test_a_claim_is_renewed_while_it_is_in_flight(make_stage):
    stage = make_stage(TEXT.replace("attempt: 2s, request: 5s", "attempt: 60s, request: 60s"))
    post(stage, KEY)
    stage.accept()
    stage.pass_time(45)
    assert sum(isinstance(one, RenewKeys) for one in stage.store.asked) == 4
    assert post(stage, KEY).answer().reason == "idempotency-in-progress"
    server_of(stage).answer()
    asked = len(stage.store.asked)
    stage.pass_time(60)
    assert len(stage.store.asked) == asked


# --- minting, and retries of what is in progress ----------------------------------------------


def test_a_minted_key_is_the_same_for_all_attempts(shop):
    client = post(shop, path="/mint")
    server = server_of(shop)
    first = server.request().get("idempotency-key")
    server.reset()
    shop.pass_time(1.0)
    server = server_of(shop)
    assert server.request().get("idempotency-key") == first
    server.answer()
    assert client.answer().status == 200
    assert len(first) == 32
    assert shop.records[0].idempotency == "minted"


def test_a_callers_key_is_kept_where_others_are_minted(shop):
    client = post(shop, KEY, path="/mint")
    server = server_of(shop)
    assert server.request().get("idempotency-key") == "k-1"
    server.answer()
    assert client.answer().status == 200


def test_a_409_of_another_proxy_that_asks_for_time_is_retried(make_stage):
    stage = make_stage(
        "upstreams: {shop: {endpoints: ['http://10.0.0.1:80']}}\n"
        "policies: {default: {retry: {backoff: {initial: 10ms, jitter: none}}}}\n"
        "routes: [{name: shop, upstream: shop}]\n"
    )
    client = stage.ask(request("POST /x HTTP/1.1", KEY, body=b"{}"))
    told = 'Proxy-Status: other; error=http_request_denied; details="idempotency-in-progress"'
    server_of(stage).answer(409, b"", told, "Retry-After: 1")
    stage.pass_time(0.9)
    assert len(stage.servers[0].received().split(b"POST /x")) == 2
    stage.pass_time(0.2)
    server_of(stage).answer(200, b"there")
    assert client.answer().body == b"there"


@pytest.mark.parametrize("fields", [(), ("Retry-After: 1",)])
def test_another_409_is_an_answer(make_stage, fields):
    stage = make_stage()
    client = stage.ask(request("POST /x HTTP/1.1", KEY, body=b"{}"))
    server_of(stage).answer(409, b"", *fields)
    assert client.answer().status == 409


def test_inbound_routes_take_part_too(make_stage):
    stage = make_stage(
        TEXT.replace("routes:", "routes:\n  - {name: in, listener: inbound, upstream: shop,"
                     " idempotency: {mode: optional}}")
    )  # fmt: skip
    data = request("POST /in HTTP/1.1", KEY, body=b"{}")
    client = stage.ask(data, listener=Listener.INBOUND)
    server_of(stage).answer(201, b"in")
    assert client.answer().status == 201
    again = stage.ask(data, listener=Listener.INBOUND).answer()
    assert (again.status, again.get("idempotent-replayed")) == (201, "true")


def test_a_key_is_neither_stored_nor_logged(shop):
    call(shop, "Idempotency-Key: secret-number-77")
    (claim,) = [one for one in shop.store.asked if isinstance(one, ClaimKey)]
    assert b"secret" not in claim.key + claim.scope + claim.fingerprint


def test_a_store_that_fails_after_its_request_was_cut_is_not_a_bug(shop, caplog):
    shop.store.held = True
    client = post(shop, KEY)
    for exchange in tuple(shop.gate().exchanges):
        exchange.cut()
    assert client.answer().reason == "draining"
    shop.store.error = StoreFailed("The disk.")
    shop.store.release()
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_a_repeat_of_head_has_the_length_of_the_body_that_it_has_not(shop):
    shop.reload(TEXT.replace("mode: optional", "methods: [HEAD], mode: optional"))
    head = request("HEAD /pay HTTP/1.1", KEY)
    client = shop.ask(head)
    server_of(shop).send(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n")
    assert client.answer().get("content-length") == "12"
    repeat = shop.ask(head).answer()
    assert (repeat.get("idempotent-replayed"), repeat.get("content-length")) == ("true", "12")
