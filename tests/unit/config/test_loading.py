"""Files: the embedded one, the reference, and those that cannot be read."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.config import Config, ConfigError, effective, load, load_text
from proxy.config.keys import CONFIG
from proxy.config.kinds import Choice
from proxy.config.match import MatchConfig
from proxy.config.model import EndpointConfig, RouteConfig, UpstreamConfig
from proxy.config.policy_keys import POLICY
from proxy.config.record import Record
from proxy.config.sources import BUILT_IN
from proxy.config.upstream_keys import UPSTREAM

ROOT = Path(__file__).parents[3]
REFERENCE = Path(__file__).with_name("reference.yaml")
ENVIRON = {"OTEL_SERVICE_NAME": "orders"}


def test_the_embedded_default_is_what_the_code_has_built_in():
    loaded = load(None, ENVIRON)
    assert loaded.config == Config(service="orders")
    assert loaded.warnings == ()
    assert loaded.filename is None


def test_the_shipped_file_is_the_embedded_one():
    shipped = ROOT / "config/proxy.yaml"
    assert shipped.read_bytes() == (ROOT / "proxy/config/default.yaml").read_bytes()
    assert load(shipped, ENVIRON).config == load(None, ENVIRON).config


def test_the_shipped_file_shows_every_key_with_its_value():
    """A key that is added has to be written there as well."""
    sources = load(ROOT / "config/proxy.yaml", ENVIRON).sources
    commented_out = {
        ("service",),
        ("listeners", "outbound", "tls"),
        ("listeners", "inbound", "tls"),
        ("upstreams", "app", "hash"),
        ("upstreams", "app", "outlier_detection"),
        ("upstreams", "app", "health_check"),
        ("upstreams", "app", "tls"),
        ("policies", "default", "outbox", "answer", "headers"),
        ("policies", "default", "outbox", "answer", "json"),
    }
    paths = {
        *_paths(CONFIG),
        *_paths(UPSTREAM, ("upstreams", "app")),
        *_paths(POLICY, ("policies", "default")),
    }
    assert {path for path in paths if sources.of(path) == BUILT_IN} == commented_out


def test_a_comment_that_lists_the_words_of_a_key_lists_them_all():
    words = {}
    for record in (CONFIG, UPSTREAM, POLICY):
        for name, kind in _choices(record):
            words.setdefault(name, []).append(set(kind.words))
    compared = set()
    for line in (ROOT / "config/proxy.yaml").read_text(encoding="utf-8").splitlines():
        key, _, comment = line.partition("#")
        name = key.strip().partition(":")[0]
        if " | " in comment and name in words:
            told = set(re.findall(r"[\w-]+", comment))
            assert any(one <= told for one in words[name]), line
            compared.add(name)
    assert {"load_balancing", "mode", "scope", "on_dead"} <= compared


def _choices(record):
    for name, field in record.keys.items():
        if isinstance(field.kind, Choice):
            yield name, field.kind
        elif isinstance(field.kind, Record):
            yield from _choices(field.kind)


_COMMENTED_OUT = {"tls", "outlier_detection", "health_check"}
"""Off unless they are written."""


def _paths(record: Record, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, field in record.keys.items():
        if isinstance(field.kind, Record) and key not in _COMMENTED_OUT:
            yield from _paths(field.kind, (*above, key))
        else:
            yield (*above, key)


def test_the_reference_loads_and_states_the_defaults():
    config = load(REFERENCE, {}).config
    (route,) = config.routes
    policies = config.policies["default"]
    assert config == replace(
        Config(service="orders"),
        upstreams={
            "app": Config("x").upstreams["app"],
            "inventory": UpstreamConfig(
                "inventory",
                (replace(Config("x").upstreams["app"].endpoints[0],
                         host="inventory.shop.svc", port=8080),),
            ),
        },
        routes=(route,),
    )  # fmt: skip
    assert route.policies == replace(policies, retry=replace(policies.retry, attempts=2))
    assert isinstance(route, RouteConfig)
    assert route.match != MatchConfig()
    assert route.upstream == "inventory"


def test_the_reference_has_no_warnings():
    assert load(REFERENCE, {}).warnings == ()


def test_what_the_reference_shows_in_comments_is_valid(config):
    made = config("""
        listeners:
          inbound:
            tls: {cert: /tls/tls.crt, key: /tls/tls.key, client_ca: /tls/ca.crt}
        upstreams:
          inventory:
            endpoints: [https://inventory.shop]
            tls: {ca: /tls/ca.crt, cert: /tls/tls.crt, key: /tls/tls.key,
                  server_name: inventory.shop, verify: true}
          shipping-backup: {endpoints: [http://b]}
        policies:
          default:
            circuit_breaker: {window: {type: time, size: 60s}, half_open: {failure_rate: 50%}}
            fallback:
              when: [circuit-open, bulkhead-full, timeout]
              response: {status: 200, headers: {x-fallback: shipping},
                         json: {status: DEFERRED, trackingNumber: null}}
        routes:
          - name: a
            upstream: inventory
            fallback: {upstream: shipping-backup}
        """)
    assert made.listeners.inbound.tls.client_ca == "/tls/ca.crt"
    assert made.policies["default"].circuit_breaker.half_open.failure_rate == 0.5
    assert made.policies["default"].fallback.response.body == (
        b'{"status":"DEFERRED","trackingNumber":null}'
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"service: \xff", ":1:10: not UTF-8: the byte 0xff"),
        ("# ü\nservice: ö".encode() + b"\xc3(", ":2:11: not UTF-8: the byte 0xc3"),
        (b"#" * (4 * 1024 * 1024 + 1), ":1:1: is larger than 4MiB"),
        ("service: a".encode("utf-16"), ":1:1: not UTF-8: the byte 0xff"),
    ],
)
def test_bytes_that_are_no_text(content, problem, tmp_path):
    file = tmp_path / "f.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        load(file, {})
    assert str(raised.value) == f"{file}{problem}"


def test_files_that_cannot_be_opened(tmp_path):
    for path, reason in (
        (tmp_path / "none.yaml", "cannot be read: No such file"),
        (tmp_path, "is a directory without a file that ends in .yaml"),
    ):
        with pytest.raises(ConfigError, match=f"{path}:1:1: {reason}"):
            load(path, {})


def test_a_problem_names_the_file_as_it_was_given():
    with pytest.raises(ConfigError) as raised:
        load(Path("no/such.yaml"), {})
    assert str(raised.value).startswith("no/such.yaml:1:1: ")


def test_the_typed_model_costs_no_yaml_and_no_event_loop():
    code = "import sys, proxy.config; print({'yaml', 'asyncio', 'socket'} & sys.modules.keys())"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "set()\n"


def test_effective_is_complete():
    shown = effective(load(None, ENVIRON).config)
    assert shown["service"] == "orders"
    assert shown["policies"]["default"]["retry"]["backoff"] == {
        "initial": "25ms",
        "multiplier": 2,
        "max": "1s",
        "jitter": "full",
    }


# --- where the service listens ------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", "upstreams: {shop: {endpoints: ['http://a']}}", "upstreams: {}", None]
)
def test_the_environment_names_the_services_port(text):
    environ = ENVIRON | {"RESILIENCE_PROXY_APP_PORT": "3000"}
    loaded = load(None, environ) if text is None else load_text(text, "x.yaml", environ)
    assert loaded.config.upstreams["app"].endpoints == (EndpointConfig("http", "127.0.0.1", 3000),)


def test_the_file_knows_better():
    environ = ENVIRON | {"RESILIENCE_PROXY_APP_PORT": "3000"}
    text = "upstreams: {app: {endpoints: ['http://127.0.0.1:4000']}}"
    (endpoint,) = load_text(text, "x.yaml", environ).config.upstreams["app"].endpoints
    assert endpoint.port == 4000


@pytest.mark.parametrize("port", ["0", "65536", "8o80", "-1", "9" * 5000])
def test_a_port_that_is_none_is_a_problem(port):
    with pytest.raises(ConfigError, match="RESILIENCE_PROXY_APP_PORT"):
        load_text("", "x.yaml", {"RESILIENCE_PROXY_APP_PORT": port})
