"""What a request is promised, in a sentence."""

import pytest

from proxy.config import load_text
from proxy.config.model import Listener
from proxy.policies.outbox import OutboxMode
from proxy.routing.explain import describe_request, explain
from proxy.routing.promised import Promised

FILE = """\
store: {{url: "{store}"{more}}}
upstreams: {{shop: {{endpoints: ["http://shop"]}}}}
sagas:
  order:
    pivot: pay
    steps:
      - name: reserve
        request: {{upstream: shop, path: /a}}
        undo: {{upstream: shop, path: /b}}
      - {{name: pay, request: {{upstream: shop, path: /c}}}}
      - {{name: ship, request: {{upstream: shop, path: /d}}}}
routes:
  - {{name: orders, match: {{path: /orders}}, saga: order}}
  - {{name: fixed, match: {{path: /fixed}}, respond: {{status: 204}}}}
  - {{name: pay, upstream: shop, {policies}}}
"""


def promised(
    policies: str, method: str = "POST", path: str = "/", **headers: str
) -> tuple[Promised, list[str]]:
    text = FILE.format(policies=policies, store="sqlite:/a/b.db", more=", persistent: true")
    config = load_text(text, "f", {}).config
    route = next(one for one in config.routes if one.match.path in (None, path))
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    found = Promised.of(method, names, route, config)
    return found, list(found.lines())


@pytest.mark.parametrize(
    ("policies", "method", "headers", "says"),
    [
        ("idempotency: {mode: optional}", "POST", {"idempotency_key": "k"}, "same answer"),
        ("idempotency: {mode: optional}", "POST", {"x_idempotency_key": '"k"'}, "within 1d"),
        ("idempotency: {mode: optional}", "POST", {}, "without idempotency: it has no idempotency"),
        ("idempotency: {mode: optional}", "GET", {}, "GET is not in idempotency.methods"),
        ("idempotency: {mode: required}", "POST", {}, "refused: 400 idempotency-key-missing"),
        ("idempotency: {mode: optional}", "POST", {"idempotency_key": "a b"}, "key-invalid"),
        ("idempotency: {mode: optional, mint: true}", "POST", {}, "gets an idempotency key"),
        (
            "idempotency: {mode: required}",
            "POST",
            {"content_type": "application/grpc"},
            "gRPC calls take no part",
        ),
    ],
)
def test_what_the_key_does(policies: str, method: str, headers: dict[str, str], says: str) -> None:
    found, lines = promised(policies, method, **headers)
    assert says in found.key
    assert lines == [found.key, "kept in sqlite:/a/b.db, which outlives the pod"]


def test_a_route_without_promises_says_nothing() -> None:
    assert promised("retry: {attempts: 2}") == (Promised(store=promised("")[0].store), [])
    assert promised("", path="/fixed")[1] == []


def test_what_the_outbox_does() -> None:
    for mode in (OutboxMode.ALWAYS, OutboxMode.PREFER):
        found, lines = promised(f"outbox: {{mode: {mode.value}}}", prefer="respond-async")
        assert "delivered later" in found.stored
        assert lines[-1].startswith("kept in ")


@pytest.mark.parametrize(
    ("mode", "headers", "says"),
    [
        ("always", {"content_type": "application/grpc"}, ""),
        ("always", {"upgrade": "websocket"}, ""),
        ("prefer", {"authorization": "x"}, ""),
        ("always", {"authorization": "x"}, "refused: 400 outbox-credentials: it has Authorization"),
        ("on-failure", {"cookie": "a=b"}, "not accepted by the outbox, because it has Cookie"),
    ],
)
def test_what_the_outbox_never_takes(mode: str, headers: dict[str, str], says: str) -> None:
    found, _ = promised(f"outbox: {{mode: {mode}}}", **headers)
    assert (found.stored.startswith(says), bool(found.stored)) == (True, bool(says))


def test_a_minted_key_allows_retries() -> None:
    text = FILE.format(
        policies="idempotency: {mode: optional, mint: true}", store="sqlite:/a", more=""
    )
    asked = describe_request("POST", "http://shop/", [])
    told = explain(load_text(text, "f", {}), Listener.OUTBOUND, asked)
    assert told.repeats.after_sending


def test_a_saga() -> None:
    _, (told, kept) = promised("", path="/orders")
    assert told == (
        "promises: answered 202 after the commit; then reserve, pay and ship; if a step fails, "
        "those before it are undone in reverse; after pay nothing is undone, the rest is tried "
        "until it works"
    )
    assert kept.startswith("kept in ")
