"""`store`: what its keys mean, and which files are mistakes."""

import sys

import pytest

from proxy.config import effective
from proxy.config.loading import load_text
from proxy.config.model import Config
from proxy.config.problems import ConfigError
from proxy.config.store_checks import all_inbound_needs_store
from proxy.config.store_model import StoreConfig, StoreEngine, StoreSync, StoreUrl
from proxy.config.summary import summary


def load(text: str) -> Config:
    return load_text(text, "f.yaml", {}).config


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load(text)
    return [str(problem) for problem in raised.value.problems]


@pytest.mark.parametrize("installed", [True, False])
def test_a_missing_asyncpg_is_told_where_it_is_needed(
    monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    if not installed:
        monkeypatch.setitem(sys.modules, "asyncpg", None)
    table = "table: t, columns: {id: id, body: b, status: s}, to: {upstream: u, path: /}"
    text = f"""store:
  url: postgresql://proxy@db/orders
upstreams: {{u: {{endpoints: ["http://u"]}}}}
outbox_tables:
  shared: {{{table}}}
  own: {{url: "postgresql://db/other", {table}}}
"""
    told = [
        str(one)
        for one in load_text(text, "f.yaml", {}).warnings
        if "pip install 'resilience-proxy[postgres]'" in str(one)
    ]
    places = [one.split(": ")[0] + ": " + one.split(": ")[2] for one in told]
    expected = ["f.yaml:2:8: store.url", "f.yaml:6:14: outbox_tables.own.url"]
    assert places == ([] if installed else expected)
    sqlite = load_text("store: {url: sqlite:/s.db}", "f.yaml", {}).warnings
    assert "asyncpg" not in str(sqlite)


def test_without_the_key_there_is_no_store() -> None:
    assert load("{}").store is None


def test_a_url_is_enough() -> None:
    store = load("store: {url: sqlite:/var/lib/p/store.db}").store
    assert store == StoreConfig(StoreUrl(StoreEngine.SQLITE, "sqlite:/var/lib/p/store.db"))
    assert store.url.path == "/var/lib/p/store.db"
    assert store.dies_with_pod
    assert not store.shared


def test_all_keys() -> None:
    text = (
        "store: {url: sqlite:///data/s.db, sync: normal, persistent: true, max_bytes: 2GiB, "
        "record_bytes: 64KiB}"
    )
    store = load(text).store
    url = StoreUrl(StoreEngine.SQLITE, "sqlite:/data/s.db")
    assert store == StoreConfig(url, StoreSync.NORMAL, True, 2 << 30, 64 << 10)
    assert not store.dies_with_pod
    assert effective(load(text))["store"] == {
        "url": "sqlite:/data/s.db",
        "sync": "normal",
        "persistent": True,
        "max_bytes": "2GiB",
        "record_bytes": "64KiB",
        "schema": "resilience_proxy",
        "connections": 2,
        "timeout": "2s",
    }


POSTGRES = "postgresql://proxy:p4ssw0rd@db.internal:5432/orders?sslmode=verify-full"


def test_postgresql_is_shared_by_replicas() -> None:
    loaded = load_text(
        f"store: {{url: '{POSTGRES}', schema: promises, connections: 4, timeout: 500ms}}",
        "f.yaml",
        {},
    )
    store = loaded.config.store
    assert store is not None
    assert (store.url.engine, store.url.text) == (StoreEngine.POSTGRESQL, POSTGRES)
    assert (store.schema, store.connections, store.timeout) == ("promises", 4, 0.5)
    assert store.shared
    assert not store.dies_with_pod
    assert not loaded.warnings


def test_a_password_is_shown_nowhere() -> None:
    loaded = load_text("store: {url: '" + POSTGRES + "'}", "f.yaml", {})
    shown = "postgresql://proxy:***@db.internal:5432/orders?sslmode=verify-full"
    assert effective(loaded.config)["store"]["url"] == shown
    assert f"store  {shown}, schema resilience_proxy, 2 connections, shared" in summary(loaded)
    wrong = problems("store: {url: 'postgrsql://proxy:p4ssw0rd@db/orders'}")
    assert any("did you mean 'postgresql'?" in one for one in wrong), wrong
    assert "p4ssw0rd" not in str(wrong)


def test_a_password_comes_from_the_environment() -> None:
    text = "store: {url: 'postgresql://proxy:${PASSWORD}@db/orders'}"
    store = load_text(text, "f.yaml", {"PASSWORD": "s3cret"}).config.store
    assert store is not None
    assert store.url.text == "postgresql://proxy:s3cret@db/orders"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("store: {}", "'url' is missing"),
        ("store: {url: redis://x}", "must be sqlite:/path/to/store.db, postgresql:"),
        ("store: {url: 'sqllite:/x'}", "did you mean 'sqlite'?"),
        ("store: {url: 'sqlite:/x/'}", "does not name a file"),
        ("store: {url: 'memory:', max_bytes: 1KiB}", "must be at least 1MiB"),
        ("store: {url: 'memory:', record_bytes: 100MiB}", "a sixteenth of max_bytes"),
        ("store: {url: 'memory:', sync: off}", "must be one of full, normal"),
        ("store: {url: 'postgresql://db'}", "names no database"),
        ("store: {url: 'postgresql://db/x', schema: Orders}", "is not a schema's name"),
        ("store: {url: 'postgresql://db/x', schema: pg_x}", "is not a schema's name"),
        ("store: {url: 'postgresql://db/x', connections: 0}", "must be"),
    ],
)
def test_mistakes(text: str, said: str) -> None:
    assert any(said in one for one in problems(text)), problems(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("store: {url: 'memory:'}", "gone when the process ends"),
        ("store: {url: memory}", "gone when the process ends"),
        ("store: {url: 'memory:', persistent: true}", "has no effect: the store is in memory"),
        ("store: {url: 'memory:', schema: x}", "has no effect: it is for a store on PostgreSQL"),
        ("store: {url: 'postgresql://db/x', sync: normal}", "the store is a PostgreSQL server's"),
    ],
)
def test_warnings(text: str, said: str) -> None:
    found = [str(one) for one in load_text(text, "f.yaml", {}).warnings]
    assert any(said in one for one in found), found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("store: {url: sqlite:/s.db}", "store  sqlite:/s.db, sync full, at most 1GiB, gone with"),
        ("store: {url: 'memory:'}", "store  memory:, at most 1GiB"),
    ],
)
def test_the_summary_says_it(text: str, said: str) -> None:
    assert said in summary(load_text(text, "f.yaml", {}))


BASE = "store: {url: sqlite:/s.db, persistent: true, max_bytes: 20GiB}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("policies: {default: {idempotency: {mode: optional}}}", "mode: needs a store: write"),
        ("routes: [{name: a, idempotency: {mode: required}}]", "needs a store: write store:"),
        (BASE + "routes: [{name: a, idempotency: {mode: on}}]", "must be one of off, optional"),
        (BASE + "routes: [{name: a, idempotency: {headers: []}}]", "at least one"),
        (BASE + "routes: [{name: a, idempotency: {scope: [x-tenant]}}]", "must be header:NAME or"),
        (
            BASE + "routes: [{name: a, idempotency: {scope: [client-cert]}}]",
            "did you mean 'client-certificate'?",
        ),
        (
            BASE + "routes: [{name: a, idempotency: {fingerprint: {ignore: [sentAt]}}}]",
            "is not a JSON pointer such as /meta/sentAt",
        ),
        (
            BASE + "routes: [{name: a, idempotency: {mode: optional, keep: 1s}}]",
            "keep must be at least lease",
        ),
    ],
)
def test_mistakes_of_idempotency(text: str, said: str) -> None:
    assert any(said in one for one in problems(text)), problems(text)


SCOPED = "scope: ['header:x-t']"
INBOUND = BASE + "routes: [{name: a, listener: inbound, idempotency: {mode: optional, %s}}]"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (INBOUND % SCOPED, "each pod has its own store: a repeat that reaches another pod"),
        (INBOUND % "wait: 1s", "there is no scope: two callers that use one key"),
        (INBOUND % "mint: true", "has no effect on inbound routes"),
        (
            BASE + "routes: [{name: a, match: {grpc: {}}, idempotency: {mode: optional}}]",
            "gRPC calls take no part",
        ),
        (
            "store: {url: sqlite:/s.db}\nroutes: [{name: a, idempotency: {mode: optional}}]",
            "store.max_bytes: 1GiB is less than about 5356MiB",
        ),
        (
            "store: {url: sqlite:/s.db}\n"
            "routes: [{name: a, outbox: {mode: always, keep_done: 24h}}]",
            "1GiB is less than about 5356MiB, which 50 requests a second leave in 1d "
            "(outbox.keep_done); when it is full, requests that would be accepted are refused",
        ),
        (
            BASE + "policies: {p: {idempotency: {mode: optional}}}\n"
            "routes: [{name: a, policy: p, listener: inbound}]",
            "policies.p.idempotency.mode: there is no scope",
        ),
        (
            BASE + "routes: [{name: a, respond: {status: 200}, idempotency: {mode: optional}}]",
            "routes[0].idempotency.mode: has no effect: 'respond' answers all requests",
        ),
        (
            BASE + "routes: [{name: a, idempotency: {mint: true}}]",
            "routes[0].idempotency.mint: has no effect: idempotency.mode is off",
        ),
    ],
)
def test_warnings_of_idempotency(text: str, said: str) -> None:
    found = [str(one) for one in load_text(text, "f.yaml", {}).warnings]
    assert any(said in one for one in found), found


SAGA = (
    "upstreams: {s: {endpoints: ['http://s:1']}}\n"
    "sagas: {g: {steps: [{name: a, request: {upstream: s, path: /a}}]}}\n"
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "routes: [{name: a, respond: {status: 200}, outbox: {mode: always}}]",
            "routes[0].outbox.mode: has no effect: 'respond' answers all requests",
        ),
        (
            SAGA + "routes: [{name: a, saga: g, outbox: {mode: always}}]",
            "routes[0].outbox.mode: has no effect: each request starts a saga",
        ),
        (
            "routes: [{name: a, outbox: {order_by: 'header:x'}}]",
            "routes[0].outbox.order_by: has no effect: outbox.mode is off",
        ),
    ],
)
def test_an_outbox_that_accepts_nothing_is_told(text: str, said: str) -> None:
    found = [str(one) for one in load_text(BASE + text, "f.yaml", {}).warnings]
    assert any(said in one for one in found), found


@pytest.mark.parametrize("section", ["outbox: {mode: always}", "idempotency: {mode: optional}"])
def test_turning_off_what_the_policy_turns_on_has_an_effect(section: str) -> None:
    name = section.partition(":")[0]
    text = BASE + (
        f"policies: {{p: {{{section}}}}}\nroutes: [{{name: a, policy: p, {name}: {{mode: off}}}}]"
    )
    found = [str(one) for one in load_text(text, "f.yaml", {}).warnings]
    assert not any("routes[0]" in one for one in found), found


def test_an_outbound_route_with_room_enough_has_no_warning() -> None:
    text = BASE + "routes: [{name: a, idempotency: {mode: optional}}]"
    assert not load_text(text, "f.yaml", {}).warnings


@pytest.mark.parametrize(
    ("policies", "needs"),
    [
        ("policies: {inbound: {idempotency: {mode: required}}}", True),
        ("policies: {inbound: {idempotency: {mode: optional}}}", False),
        (
            "policies: {inbound: {idempotency: {mode: required}}}\n"
            "routes: [{name: a, listener: inbound, match: {prefix: /a}, idempotency: {mode: off}}]",
            False,
        ),
        (
            "policies: {inbound: {idempotency: {mode: required}}}\n"
            "routes: [{name: a, listener: inbound, match: {path: /a}, respond: {status: 200}}]",
            False,
        ),
        ("policies: {inbound: {outbox: {mode: always}}}", True),
        (
            SAGA + "policies: {inbound: {outbox: {mode: always}}}\n"
            "routes: [{name: a, listener: inbound, match: {path: /a}, saga: g}]",
            True,
        ),
    ],
)
def test_readiness_depends_on_the_store_where_every_inbound_request_does(
    policies: str, needs: bool
) -> None:
    assert all_inbound_needs_store(load(BASE + policies)) is needs
