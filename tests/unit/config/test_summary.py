from pathlib import Path

from proxy.config import load, load_text
from proxy.config.summary import summary

HERE = Path(__file__).parent


def test_every_route_has_its_match_target_and_numbers():
    text = summary(load(HERE / "everything.yaml", {}))
    assert "valid; 5 routes, 2 upstreams, 3 policies, 6 warnings" in text
    assert "outbound  [::1]:0 (TLS)" in text
    assert "inbound  127.0.0.1:8071 (mutual TLS)" in text
    assert "GET|POST a|*.b /api/*, x-a: v, x-b: ~v+, x-c: absent, ?q=1, ?r s=~.*" in text
    assert (
        "-> spare (https://spare.example:443 weight 3, http://[::1]:81, consistent_hash, "
        "ejects (observes), checked)" in text
    )
    assert "~/y/[0-9]+" in text
    assert "-> 100% spare, 0% app, by cookie user" in text
    assert (
        "[gold] request 4s, attempt 3s, 4 attempts, breaker off, bulkhead 2 to 5 (learned)+6 queued"
        in text
    )
    assert "fallback to spare on timeout, 503" in text
    assert "breaker 50% of 100 (observes)" in text
    assert (
        "the authority asked for, if egress allows it (a, *.b:8443, [::1]:80), mirrors 10% to app"
        in text
    )
    assert "default-outbound" in text
    assert "default-inbound" in text


def test_the_embedded_default_takes_everything():
    text = summary(load(None, {}))
    assert text.startswith("embedded default: valid; 0 routes, 1 upstream, 2 policies\n")
    assert "default-inbound  everything  -> app (http://127.0.0.1:8080)" in text


def test_what_applies_to_inbound_requests_is_said():
    default = "policies: {default: {retry: {attempts: 2}}}"
    app = "upstreams: {app: {endpoints: ['http://a']}}"
    note = "(policies.default does not apply here; policies.inbound does)"
    assert note in summary(load_text(f"{default}\n{app}", "f", {}))
    assert note in summary(load_text(f"{default}\nlisteners: {{inbound: {{}}}}", "f", {}))
    for other in (default, app, f"{default}\n{app}".replace("}}}\n", "}}, inbound: {}}\n")):
        assert note not in summary(load_text(other, "f", {}))
    assert (
        "[inbound] request 1m, attempt 1m, 3 attempts only for connect-failure and "
        "refused-stream, breaker off, bulkhead 1024" in summary(load(None, {}))
    )


def test_policies_that_a_file_turns_on_are_named():
    text = """\
store: {url: "sqlite:/a/b.db"}
policies:
  default:
    hedge: {delay: 50ms}
    idempotency: {mode: required}
    outbox: {mode: prefer}
"""
    row = next(one for one in summary(load_text(text, "f", {})).splitlines() if "[default]" in one)
    assert row.endswith("bulkhead 256, hedge after 50ms, idempotency required, outbox prefer")
    ordered = summary(
        load_text(text.replace("prefer", "always, order_by: header:x-order"), "f", {})
    )
    assert "outbox always by header:x-order" in ordered
    learned = summary(load_text("policies: {default: {hedge: {delay: p95}}}", "f", {}))
    assert "hedge after p95" in learned


PROMISES = """\
store: {url: "sqlite:/a/b.db"}
upstreams: {shop: {endpoints: ["http://shop"]}}
sagas: {order: {steps: [{name: pay, request: {upstream: shop, path: /}}]}}
routes:
  - {name: plain, match: {path: /plain}, upstream: shop}
  - {name: orders, match: {path: /orders}, saga: order}
  - name: both
    match: {path: /both}
    upstream: shop
    idempotency: {mode: required, scope: ["header:x-user"], on_unknown: execute}
    outbox: {mode: always, order_by: "header:x-user", on_dead: block, attempts: 9}
  - name: later
    match: {path: /later}
    upstream: shop
    idempotency: {mode: optional, mint: true}
    outbox: {mode: on-failure, when: [timeout]}
  - name: deferred
    match: {path: /deferred}
    upstream: shop
    outbox: {max_age: 1h}
    fallback: {when: [circuit-open], outbox: true, response: {status: 200}}
  - {name: calls, match: {grpc: {}}, upstream: shop, outbox: {mode: always}}
"""


def test_what_each_route_promises():
    found: dict[str, list[str]] = {}
    for line in summary(load_text(PROMISES, "f", {})).splitlines():
        if line.startswith("  ") and line[2:3].strip():
            name = line.split()[0]
        elif "promises: " in line:
            found.setdefault(name, []).append(line.partition("promises: ")[2])
    assert found == {
        "orders": ["answered 202 after the commit; then pay"],
        "both": [
            "one answer for each idempotency key of one header:x-user, which each request must "
            "have, for 1d (POST and PATCH); where it is not known what became of the first "
            "request, a repeat is executed again",
            "answered 202 after the commit; then delivered at least once in order of "
            "header:x-user, within 1d or 9 tries, else parked, and its lane waits for an operator",
        ],
        "later": [
            "one answer for each idempotency key, for 1d (POST and PATCH); where it is not known "
            "what became of the first request, a repeat is refused",
            "a request without an idempotency key gets one, the same for all its attempts",
            "after timeout answered 202 after the commit; then delivered at least once, within 1d, "
            "else dead",
        ],
        "deferred": [
            "after circuit-open answered 200 after the commit; then delivered at least once, "
            "within 1h, else dead"
        ],
    }


def test_policies_that_only_observe_are_named():
    text = "policies: {default: {timeouts: {mode: observe}, retry: {mode: observe}}}"
    row = next(one for one in summary(load_text(text, "f", {})).splitlines() if "[default]" in one)
    assert "attempt 5s (observes), 3 attempts (observes), breaker" in row
    assert row.endswith("bulkhead 256")
