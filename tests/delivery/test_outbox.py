import asyncio
import gc
import json
from dataclasses import replace
from datetime import datetime

import pytest
from delivery.bed import Bed

from proxy.config.model import Listener
from proxy.delivery.documents import state_of
from proxy.delivery.identities import is_identity
from proxy.delivery.worker import Worker
from proxy.errors import NoHealthyEndpoint, StoreFull
from proxy.store.operations import ClaimEntries, GetEntry
from proxy.store.records import EntryState
from proxy.store.sqlite.connection import MEMORY, SqliteConfig
from proxy.store.sqlite.engine import SqliteStore

CONFIG = """
service: bed
store: {url: "memory:"}
upstreams: {shop: {endpoints: [UPSTREAM]}}
policies:
  default:
    retry: {attempts: 1}
    circuit_breaker: {minimum_calls: 1000}
    outbox:
      mode: always
      backoff: {initial: 10ms, multiplier: 1, jitter: none}
routes:
  - {name: shop, upstream: shop, OPTIONS}
"""


def bed(options="policy: default", **more):
    return Bed(CONFIG.replace("OPTIONS", options), **more)


async def test_accepted_and_delivered():
    async with bed() as b:
        answer = await b.ask("POST", "/o?x=1", b'{"orderId": 7}', "Content-Type: application/json",
                             "X-Secret: s", "X-Request-Id: r-1")  # fmt: skip
        assert answer.status == 202
        told = json.loads(answer.body)
        assert told["state"] == "pending"
        place = answer.get("location")
        assert place == f"/.well-known/resilience-proxy/outbox/{told['id']}"
        assert is_identity(told["id"])
        assert answer.get("preference-applied") is None
        state = await b.until_state(place, "delivered")
        assert state["attempts"] == 1
        assert state["next_attempt_at"] is None
        assert state["last"]["status"] == 200
        (request,) = b.upstream.requests
        assert request.line == "POST /o?x=1 HTTP/1.1"
        assert request.body == b'{"orderId": 7}'
        assert request.get("idempotency-key") == told["id"] == request.get("x-outbox-id")
        assert request.get("x-outbox-attempt") == "1"
        assert request.get("content-type") == "application/json"
        assert request.get("x-request-id") == "r-1"
        assert request.get("x-secret") is None
        accepted, tried = b.records[0], next(r for r in b.records[1:] if r.outbox_id)
        assert accepted.outbox_id == tried.outbox_id == told["id"]
        assert accepted.trace_id == tried.trace_id


async def test_the_callers_key_is_carried():
    async with bed() as b:
        await b.ask("POST", "/o", b"x", "X-Idempotency-Key: mine")
        await b.until(lambda: b.upstream.requests)
        (request,) = b.upstream.requests
        assert request.get("x-idempotency-key") == "mine"
        assert request.get("idempotency-key") is None


@pytest.mark.parametrize("name", ["Idempotency-Key", "X-Idempotency-Key"])
async def test_an_empty_key_is_no_key(name):
    async with bed() as b:
        answer = await b.ask("POST", "/o", b"{}", f"{name}:")
        await b.until_state(answer.get("location"), "delivered")
        (request,) = b.upstream.requests
        assert request.get("idempotency-key") == request.get("x-outbox-id")
        assert request.get("x-idempotency-key") is None


async def test_tried_until_it_is_delivered():
    async with bed() as b:
        b.upstream.answers.extend([500, None, (429, ["Retry-After: 0"]), 425, 201])
        answer = await b.ask()
        state = await b.until_state(answer.get("location"), "delivered")
        assert state["attempts"] == 5
        assert [one.get("x-outbox-attempt") for one in b.upstream.requests] == list("12345")
        assert len({one.get("idempotency-key") for one in b.upstream.requests}) == 1
        (entry,) = await b.outbox.entries()
        outcomes = (await b.outbox.entry(entry["id"]))["outcomes"]
        assert [(one["status"], one["reason"]) for one in outcomes] == [
            (500, ""), (502, "upstream-reset"), (429, ""), (425, ""), (201, ""),
        ]  # fmt: skip


@pytest.mark.parametrize("status", [302, 400, 404, 422])
async def test_dead_at_once(status):
    async with bed() as b:
        b.upstream.answers.append(status)
        answer = await b.ask()
        state = await b.until_state(answer.get("location"), "dead")
        assert (state["attempts"], state["last"]["status"]) == (1, status)
        assert len(b.upstream.requests) == 1


async def test_attempts_and_age_are_spent():
    async with bed("outbox: {attempts: 3}") as b:
        b.upstream.answers.extend([500] * 9)
        state = await b.until_state((await b.ask()).get("location"), "dead")
        assert state["attempts"] == 3
    async with bed("outbox: {max_age: 1s, backoff: {initial: 300ms, max: 300ms}}") as b:
        b.upstream.answers.extend([500] * 9)
        state = await b.until_state((await b.ask()).get("location"), "dead")
        assert 2 <= state["attempts"] <= 5


async def test_an_open_circuit_spends_no_attempt():
    async with bed(opens_at_two("1s")) as b:
        b.upstream.answers.extend([500, 500])
        place = (await b.ask()).get("location")
        state = await b.until_state(place, "delivered")
        assert state["attempts"] == 3
        _, second, third = b.upstream.times
        assert third - second >= 1.0


def opens_at_two(open_for):
    window = "minimum_calls: 2, window: {size: 2}"
    return f"circuit_breaker: {{{window}, open_for: {{initial: {open_for}, max: 1h}}}}"


async def test_the_next_try_is_not_before_the_next_probe_of_an_open_circuit():
    async with bed(opens_at_two("1h")) as b:
        b.upstream.answers.extend([500, 500])
        place = (await b.ask()).get("location")

        async def told():
            found = await b.state(place)
            if found["state"] != "pending" or found["attempts"] < 2:
                return None
            due = datetime.fromisoformat(found["next_attempt_at"]).timestamp()
            return found if due - b.store.now() > 3500 else None

        state = await b.until(told)
        assert state["attempts"] == 2
        assert len(b.upstream.requests) == 2


async def test_a_lane_is_strictly_in_order_and_others_go_on():
    async with bed("outbox: {order_by: 'body:/k'}") as b:
        b.upstream.answers.extend([500, 500])
        first = await b.ask(body=b'{"k": 1, "n": 0}')
        for n in range(1, 5):
            await b.ask(body=b'{"k": 1, "n": %d}' % n)
            await b.ask(body=b'{"k": "x", "n": %d}' % n)
        await b.ask(body=b"no json")
        await b.until(lambda: len(b.upstream.requests) == 12)
        await b.until_state(first.get("location"), "delivered")

        def numbers(key):
            bodies = [json.loads(r.body) for r in b.upstream.requests if r.body[:1] == b"{"]
            return list(dict.fromkeys(body["n"] for body in bodies if body["k"] == key))

        assert numbers(1) == [0, 1, 2, 3, 4]
        assert numbers("x") == [1, 2, 3, 4]


async def test_a_dead_head_blocks_its_lane_until_an_order():
    async with bed("outbox: {order_by: header:x-k, on_dead: block}") as b:
        b.upstream.answers.append(400)
        first = (await b.ask("POST", "/1", b"", "X-K: a")).get("location")
        second = (await b.ask("POST", "/2", b"", "X-K: a")).get("location")
        await b.until_state(first, "parked")
        summary = await b.outbox.summary()
        assert summary["queues"][0]["parked"] == 1
        assert [one["lane"] for one in summary["blocked_lanes"]] == ["a"]
        await asyncio.sleep(0.05)
        assert (await b.state(second))["state"] == "pending"
        done, _ = await b.outbox.redrive(first.rpartition("/")[2])
        assert done
        await b.until_state(second, "delivered")
        assert [one.line.split()[1] for one in b.upstream.requests] == ["/1", "/1", "/2"]


async def test_prefer():
    async with bed("outbox: {mode: prefer}") as b:
        plain = await b.ask()
        assert plain.status == 200
        asked = await b.ask("POST", "/o", b"x", "Prefer: respond-async, wait=1")
        assert (asked.status, asked.get("preference-applied")) == (202, "respond-async")
        await b.until_state(asked.get("location"), "delivered")
        assert b.upstream.requests[-1].get("prefer") is None


async def test_methods_that_want_an_answer_take_no_part():
    async with bed() as b:
        for method in ("GET", "OPTIONS"):
            assert (await b.ask(method, "/o", b"")).status == 200
        assert len(b.upstream.requests) == 2


async def test_credentials_are_refused_and_never_stored():
    async with bed() as b:
        for field in ("Authorization: Bearer x", "Cookie: a=b"):
            answer = await b.ask("POST", "/o", b"x", field)
            assert answer.status == 400
            assert json.loads(answer.body)["reason"] == "outbox-credentials"
        assert not await b.outbox.entries()
    options = "outbox: {without: [cookie]}, headers: {request: {set: {authorization: own}}}"
    async with bed(options) as b:
        answer = await b.ask("POST", "/o", b"x", "Authorization: Bearer x", "Cookie: a=b")
        await b.until_state(answer.get("location"), "delivered")
        (request,) = b.upstream.requests
        assert (request.get("authorization"), request.get("cookie")) == ("own", None)


async def test_too_large_for_a_record():
    async with bed() as b:
        answer = await b.ask("POST", "/o", b"x" * 70_000)
        assert answer.status == 413
        assert "store.record_bytes" in json.loads(answer.body)["detail"]
        assert not await b.outbox.entries()


async def test_full_says_when_to_come_again():
    async with bed("outbox: {max_pending: 2}") as b:
        b.upstream.hold = asyncio.Event()
        for _ in range(2):
            assert (await b.ask()).status == 202
        answer = await b.ask()
        assert (answer.status, json.loads(answer.body)["reason"]) == (503, "outbox-full")
        assert int(answer.get("retry-after")) >= 1
        b.upstream.hold.set()
        await b.until(lambda: len(b.upstream.requests) == 2)

        async def accepted():
            return (await b.ask()).status == 202

        await b.until(accepted)


async def test_a_field_of_the_configured_answer_is_there_once():
    async with bed("outbox: {answer: {headers: {x-request-id: mine, date: never}}}") as b:
        answer = await b.ask()
        told = [(name.lower(), value) for name, value in answer.fields]
        own = [field for field in told if field[0] in ("x-request-id", "date")]
        assert own == [("x-request-id", "mine"), ("date", "never")]


async def test_its_state_has_the_time_that_its_caller_was_told():
    """The store notes its own, a commit later; on a server by another clock."""
    async with bed() as b:
        told = json.loads((await b.ask()).body)
        entry = await b.store.do(GetEntry(told["id"]))
        late = replace(entry, accepted_at=entry.accepted_at + 5)
        assert state_of(late, None)["accepted_at"] == told["accepted_at"]
        of_another_version = replace(late, meta=b'{"m":"POST","t":"/","l":"outbound"}')
        assert state_of(of_another_version, None)["accepted_at"] > told["accepted_at"]


async def test_the_next_try_is_never_in_the_past():
    async with bed() as b:
        told = json.loads((await b.ask()).body)
        entry = await b.store.do(GetEntry(told["id"]))
        waits = replace(entry, state=EntryState.PENDING, due_at=1_800_000_000.0)
        assert state_of(waits, 1_800_000_060.5)["next_attempt_at"] == "2027-01-15T08:01:00.500Z"
        assert state_of(waits, 1_799_999_999.0)["next_attempt_at"] == "2027-01-15T08:00:00.000Z"
        assert state_of(waits, None)["next_attempt_at"] is None
        tried = replace(waits, state=EntryState.DELIVERING)
        assert state_of(tried, 1_800_000_060.5)["next_attempt_at"] is None
        gone = b.outbox.earliest("a route that the file no longer has")
        assert gone is None


async def test_not_before():
    async with bed() as b:
        answer = await b.ask("POST", "/o", b"x", "X-Not-Before: 1")
        state = await b.state(answer.get("location"))
        assert (state["state"], state["attempts"]) == ("pending", 0)
        assert state["next_attempt_at"] > state["accepted_at"]
        await b.until_state(answer.get("location"), "delivered")
        for bad in ("soon", "86401"):
            assert (await b.ask("POST", "/o", b"x", f"X-Not-Before: {bad}")).status == 400


async def test_an_answer_of_the_routes_own():
    answer = (
        'outbox: {answer: {status: 200, headers: {x-order: "n-${body./orderId}"}, '
        'json: {orderId: "${body./orderId}", status: PENDING, outbox: "${id}"}}}'
    )
    async with bed(answer) as b:
        got = await b.ask(body=b'{"orderId": 12}')
        told = json.loads(got.body)
        assert got.status == 200
        assert told["orderId"] == 12
        assert told["outbox"] == got.get("location").rpartition("/")[2]
        assert got.get("x-order") == "n-12"
        assert got.get("content-type") == "application/json"
        for body in (b"{}", b"no json"):
            refused = await b.ask(body=body)
            assert (refused.status, json.loads(refused.body)["reason"]) == (400, "bad-request")
        assert len(await b.outbox.entries()) == 1


async def test_cancelled_by_its_address():
    async with bed() as b:
        place = (await b.ask("POST", "/o", b"x", "X-Not-Before: 60")).get("location")
        answer = await b.ask("DELETE", place, b"")
        assert (answer.status, json.loads(answer.body)["state"]) == (200, "cancelled")
        assert (await b.ask("DELETE", place, b"")).status == 200
        assert (await b.ask("PUT", place, b"")).status == 405
        done = (await b.ask()).get("location")
        await b.until_state(done, "delivered")
        refused = await b.ask("DELETE", done, b"")
        assert (refused.status, json.loads(refused.body)["state"]) == (409, "delivered")
        assert len(b.upstream.requests) == 1


async def test_addresses_that_the_store_does_not_know_take_their_route():
    async with bed() as b:
        for path in ("outbox/" + "0" * 32, "outbox/x", "sagas/x", "x"):
            assert (await b.ask("GET", f"/.well-known/resilience-proxy/{path}", b"")).status == 200
        assert len(b.upstream.requests) == 4
        place = (await b.ask()).get("location")
        b.upstream.answers.append(418)
        other = await b.ask("GET", place, b"", listener=Listener.INBOUND)
        assert other.status != 200  # the inbound listener's route, not the entry


async def test_after_a_failure_it_is_accepted_instead():
    options = "outbox: {mode: on-failure, when: [connect-failure, timeout, reset, 503]}"
    async with bed(options) as b:
        assert (await b.ask()).status == 200
        b.upstream.answers.extend([503, 200])
        answer = await b.ask("PUT", "/o", b'{"a": 1}')
        assert answer.status == 202
        await b.until_state(answer.get("location"), "delivered")
        assert [one.body for one in b.upstream.requests][-2:] == [b'{"a": 1}'] * 2
        b.upstream.answers.append(500)
        assert (await b.ask("PUT")).status == 500  # not in `when`


async def test_what_may_not_be_repeated_is_not_accepted_after_a_failure():
    async with bed("outbox: {mode: on-failure, when: [503]}") as b:
        b.upstream.answers.extend([503, 503])
        assert (await b.ask("POST")).status == 503
        accepted = await b.ask("POST", "/o", b"", "Idempotency-Key: k")
        assert accepted.status == 202
        await b.until_state(accepted.get("location"), "delivered")
        b.upstream.answers.append(503)
        assert (await b.ask("PUT", "/o", b"", "Authorization: x")).status == 503


async def test_the_fallbacks_answer_only_if_it_was_accepted():
    options = (
        "fallback: {when: [connect-failure, 503], outbox: true, response: {status: 200, "
        "json: {status: DEFERRED}}}, outbox: {mode: 'off', max_pending: 1}"
    )
    async with bed(options) as b:
        b.upstream.answers.append(503)
        b.upstream.hold = None
        answer = await b.ask("PUT")
        assert (answer.status, json.loads(answer.body)) == (200, {"status": "DEFERRED"})
        assert "fwd" not in (answer.get("proxy-status") or "")
        await b.until_state(answer.get("location"), "delivered")
        b.upstream.answers.extend([503, 503, 503, 503])
        assert (await b.ask("PUT", "/o", b"", "X-Not-Before: 60")).status == 200
        refused = await b.ask("PUT")
        assert refused.status == 503  # the outbox is full: no DEFERRED that nobody delivers


async def test_results_are_told_by_the_outbox_itself():
    async with bed("outbox: {result: {upstream: shop, path: /results}, attempts: 1}") as b:
        b.upstream.answers.extend([200, 500])  # the delivery, and the first telling
        answer = await b.ask()
        told = await b.until(
            lambda: [r for r in b.upstream.requests if r.line.startswith("POST /results")][1:]
        )
        document = json.loads(told[0].body)
        assert document["id"] == json.loads(answer.body)["id"]
        assert (document["state"], document["attempts"], document["last"]["status"]) == (
            "delivered", 1, 200,
        )  # fmt: skip
        assert told[0].get("x-outbox-id") != document["id"]


async def test_nothing_is_told_of_a_telling():
    """A default policy that names where results are told is also that of the telling."""
    text = CONFIG.replace("mode: always", "mode: always\n      result: {upstream: shop}")
    text = text.replace("OPTIONS", "policy: default")
    async with Bed(text) as b:
        await b.ask()
        await b.until(lambda: len(b.upstream.requests) >= 2)

        async def entries():
            found = await b.outbox.entries()
            return found if all(one["state"] == "delivered" for one in found) else None

        assert len(await b.until(entries)) == 2
        assert [r.line for r in b.upstream.requests] == ["POST /o HTTP/1.1", "POST / HTTP/1.1"]


async def test_a_repeat_gets_the_fallbacks_answer_with_its_location():
    options = (
        "idempotency: {mode: optional}, outbox: {mode: 'off'}, fallback: {when: [503], "
        "outbox: true, response: {status: 200, json: {status: DEFERRED}}}"
    )
    async with bed(options) as b:
        b.upstream.answers.append(503)
        first, again = [await b.ask("POST", "/o", b"", "Idempotency-Key: k") for _ in range(2)]
        assert again.get("idempotent-replayed") == "true"
        assert first.get("location").startswith("/.well-known/resilience-proxy/outbox/")
        assert (again.get("location"), again.body) == (first.get("location"), first.body)


class FailsLate(SqliteStore):
    """Its commits are refused when their callers have left."""

    asked = None

    def commit(self, operations):
        self.asked = asyncio.get_running_loop().create_future()
        return self.asked


async def test_a_refusal_that_nobody_waits_for_is_no_error(caplog):
    store = FailsLate(SqliteConfig(MEMORY), dies_with_pod=True)
    await store.open(1)
    async with bed(store=store) as b:
        asking = asyncio.create_task(b.ask())
        await b.until(lambda: store.asked)
        asking.cancel()
        await b.until(lambda: b.records)
        store.asked.set_exception(StoreFull("full"))
        store.asked = None
        await asyncio.sleep(0)
        gc.collect()
    assert "never retrieved" not in caplog.text


class Reloading(SqliteStore):
    """Calls `reload` when entries are claimed, before their owner has them."""

    reload = None

    def do(self, operation):
        future = super().do(operation)
        if self.reload is not None and isinstance(operation, ClaimEntries):
            future.add_done_callback(lambda done: done.result().entries and self.reload())
        return future


async def test_a_route_that_is_removed_while_its_entry_is_claimed_loses_nothing():
    store = Reloading(SqliteConfig(MEMORY), dies_with_pod=True)
    await store.open(1)
    async with bed(store=store) as b:
        queue = b.outbox.worker.queue("shop")
        route = queue.route
        removed = asyncio.Event()

        def remove():
            queue.use(None)
            removed.set()

        store.reload = remove
        place = (await b.ask()).get("location")
        await removed.wait()
        await b.until(lambda: not queue.in_flight)
        assert (await b.state(place))["state"] == "pending"
        store.reload = None
        queue.use(route)
        b.outbox.worker._changed.set()
        assert (await b.until_state(place, "delivered"))["attempts"] == 1


async def test_replay_is_a_copy_under_a_new_id_and_key():
    async with bed() as b:
        first = await b.ask("POST", "/o", b"x", "Idempotency-Key: mine")
        entry = first.get("location").rpartition("/")[2]
        await b.until_state(first.get("location"), "delivered")
        copied, _ = await b.outbox.replay(entry)
        assert copied not in ("", entry)
        await b.until(lambda: len(list(b.upstream.requests)) >= 2)
        assert b.upstream.requests[-1].get("idempotency-key") == copied
        assert b.upstream.requests[-1].body == b"x"


async def test_redrive_keeps_id_and_key():
    async with bed() as b:
        b.upstream.answers.append(400)
        place = (await b.ask()).get("location")
        await b.until_state(place, "dead")
        assert (
            await b.outbox.redrive_many(route="shop", states=("dead",), since=0, rate=0, limit=10)
            == 1
        )
        state = await b.until_state(place, "delivered")
        assert state["attempts"] == 1
        keys = {one.get("idempotency-key") for one in b.upstream.requests}
        assert keys == {place.rpartition("/")[2]}


async def test_the_concurrency_is_kept():
    async with bed("outbox: {concurrency: 3}") as b:
        b.upstream.hold = asyncio.Event()
        for _ in range(8):
            await b.ask()
        await b.until(lambda: b.upstream.at_once == 3)
        await asyncio.sleep(0.05)
        assert b.upstream.most_at_once == 3
        b.upstream.hold.set()
        await b.until(lambda: len(b.upstream.requests) == 8)
        assert b.upstream.most_at_once == 3


async def test_a_reload_keeps_the_entries_and_an_unknown_route_lets_them_wait():
    async with bed("match: {prefix: /o}}\n  - {name: other, upstream: shop") as b:
        b.outbox.worker.queues["shop"].use(None)
        place = (await b.ask("POST", "/o")).get("location")
        later = (await b.ask("POST", "/later")).get("location")
        # One claim asks for all that is due: the later entry shows that the worker has looked.
        await b.until_state(later, "delivered")
        assert (await b.state(place))["state"] == "pending"
        assert [one.line for one in b.upstream.requests] == ["POST /later HTTP/1.1"]
        b.outbox.reconfigure()
        await b.until_state(place, "delivered")


async def test_what_a_former_process_left_goes_on_at_once():
    async with bed() as b:
        b.upstream.hold = asyncio.Event()
        place = (await b.ask()).get("location")
        await b.until(lambda: b.upstream.at_once == 1)
        await b.outbox.worker.stop()
        state = await b.state(place)
        assert (state["state"], state["attempts"]) == ("pending", 0)
        b.upstream.hold.set()
        b.outbox.worker = Worker(b.store, b.gateway, lambda: "x")
        await b.outbox.worker.start()
        await b.until_state(place, "delivered")


async def test_the_drain_names_what_is_left():
    async with bed() as b:
        await b.ask("POST", "/o", b"x", "X-Not-Before: 60")
        b.outbox.begin_drain(10)
        assert not b.outbox.busy  # it is due after the end
        await b.outbox.stop()
        assert b.outbox.left == 1


KEYED = "idempotency: {mode: optional}, retry: {body_limit: 16B}"


@pytest.mark.parametrize("body", [b"{}", b"x" * 5000], ids=["short", "beyond body_limit"])
async def test_claim_entry_and_recorded_answer_are_one_commit(body):
    async with bed(KEYED) as b:
        commits = b.store.stats.commits
        b.upstream.hold = asyncio.Event()
        first = await b.ask("POST", "/o", body, "Idempotency-Key: k")
        assert first.status == 202
        again = await b.ask("POST", "/o", body, "Idempotency-Key: k")
        assert (again.status, again.body) == (202, first.body)
        assert again.get("location") == first.get("location")
        assert again.get("idempotent-replayed") == "true"
        other = await b.ask("POST", "/o", body + b"y", "Idempotency-Key: k")
        assert (other.status, json.loads(other.body)["reason"]) == (422, "idempotency-key-reused")
        b.upstream.hold.set()
        await b.until_state(first.get("location"), "delivered")
        assert len(await b.outbox.entries()) == len(b.upstream.requests) == 1
        assert b.store.stats.commits > commits


async def test_repeats_at_once_are_accepted_once():
    async with bed(KEYED) as b:
        fields = ("POST", "/o", b"{}", "Idempotency-Key: k")
        answers = await asyncio.gather(*(b.ask(*fields) for _ in range(8)))
        assert {one.status for one in answers} == {202}
        assert len({one.get("location") for one in answers}) == 1
        await b.until_state(answers[0].get("location"), "delivered")
        assert len(b.upstream.requests) == 1


async def test_each_try_counts_once():
    async with bed("outbox: {attempts: 2, order_by: header:x-lane, on_dead: block}") as b:
        b.upstream.answers.extend([404, 500, 500, 400])
        for number, field in enumerate(("X: a", "X: b", "X-Lane: c")):
            await b.ask("POST", "/o", b"", field)
            await b.until(lambda count=number: len(b.upstream.requests) >= (1, 3, 4)[count])
        await b.until(lambda: b.outbox.worker.queue("shop").outcomes["parked"])
        assert b.outbox.worker.queue("shop").outcomes == {"dead": 2, "again": 1, "parked": 1}


async def test_a_full_outbox_leaves_the_key_free():
    async with bed(f"{KEYED}, outbox: {{max_pending: 1}}") as b:
        b.upstream.hold = asyncio.Event()
        await b.ask()
        fields = ("POST", "/o", b"{}", "Idempotency-Key: k")
        assert (await b.ask(*fields)).status == 503
        b.upstream.hold.set()

        async def accepted():
            return (await b.ask(*fields)).status == 202

        await b.until(accepted)


async def test_what_is_accepted_after_a_failure_is_what_repeats_get():
    async with bed(f"{KEYED}, outbox: {{mode: on-failure, when: [503]}}") as b:
        b.upstream.answers.append(503)
        fields = ("POST", "/o", b"{}", "Idempotency-Key: k")
        first = await b.ask(*fields)
        assert first.status == 202
        again = await b.ask(*fields)
        assert (again.status, again.get("idempotent-replayed")) == (202, "true")
        assert again.get("location") == first.get("location")
        await b.until_state(first.get("location"), "delivered")
        assert len(b.upstream.requests) == 2


async def test_a_body_is_read_whole_before_anything_is_stored():
    async with bed() as b:
        reader, writer = await asyncio.open_connection("127.0.0.1", b.ports[Listener.OUTBOUND])
        writer.write(
            b"POST /o HTTP/1.1\r\nHost: shop\r\nExpect: 100-continue\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"3\r\nabc\r\n")
        await asyncio.sleep(0.05)
        assert not await b.outbox.entries()
        writer.write(b"2\r\nde\r\n0\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 202 ")
        writer.close()
        await b.until(lambda: b.upstream.requests)
        (request,) = b.upstream.requests
        assert (request.body, request.get("content-length")) == (b"abcde", "5")


async def test_a_client_that_leaves_while_it_is_stored_loses_only_its_answer():
    async with bed() as b:
        _, writer = await asyncio.open_connection("127.0.0.1", b.ports[Listener.OUTBOUND])
        writer.write(b"POST /o HTTP/1.1\r\nHost: shop\r\nContent-Length: 1\r\n\r\nx")
        writer.close()
        await b.until(lambda: b.upstream.requests)
        (entry,) = await b.outbox.entries()
        assert entry["state"] in ("delivering", "delivered")


async def test_a_claim_that_fails_is_asked_for_again(monkeypatch):
    """A full disk, or a bug, must not end all deliveries."""
    async with bed() as b:
        claim, failures = Worker._claim, [StoreFull("full"), ValueError("bug")]

        async def failing(self):
            if failures:
                raise failures.pop(0)
            return await claim(self)

        monkeypatch.setattr(Worker, "_claim", failing)
        monkeypatch.setattr("proxy.delivery.worker._AGAIN", 0.01)
        place = (await b.ask()).get("location")
        await b.until_state(place, "delivered")
        assert not failures


async def test_a_full_bulkhead_and_no_healthy_endpoint_spend_no_attempt():
    async with bed("bulkhead: {max_concurrent: 1}, outbox: {concurrency: 8}") as b:
        b.upstream.hold = asyncio.Event()
        places = [(await b.ask()).get("location") for _ in range(4)]
        await b.until(lambda: b.upstream.at_once == 1)
        await asyncio.sleep(0.15)
        b.upstream.hold.set()
        states = [await b.until_state(place, "delivered") for place in places]
        assert {state["attempts"] for state in states} == {1}
        assert b.upstream.most_at_once == 1
    assert NoHealthyEndpoint.postpones
