"""Where each value of a configuration comes from."""

from pathlib import Path

import pytest

from proxy.config import effective, load, load_text, provenance
from proxy.config.record import MOST_SHARED
from proxy.config.sources import BUILT_IN

HERE = Path(__file__).parent

TEXT = """\
service: orders
limits: {connections: 10}
upstreams:
  stock: {endpoints: ["http://a:1"]}
policies:
  default:
    retry: {attempts: 2}
  gold:
    timeouts: {attempt: 1s}
routes:
  - name: "first"
    upstream: stock
    policy: gold
    match: {prefix: /a}
    bulkhead: {max_concurrent: 5}
"""


def sources_of(text: str, environ: dict[str, str] | None = None) -> dict[str, str]:
    loaded = load_text(text, "f.yaml", environ or {})
    return dict(provenance(loaded.config, loaded.sources))


def test_each_layer() -> None:
    found = sources_of(TEXT)
    expected = {
        "service": "f.yaml:1",
        "limits.connections": "f.yaml:2",
        "limits.headers": BUILT_IN,
        "upstreams.stock.endpoints": "f.yaml:4",
        "upstreams.stock.connections.max": BUILT_IN,
        "policies.default.retry.attempts": "f.yaml:7 (policy default)",
        "policies.gold.timeouts.attempt": "f.yaml:9 (policy gold)",
        "policies.gold.retry.attempts": "f.yaml:7 (policy default)",
        "policies.gold.timeouts.request": BUILT_IN,
        "routes[0].name": "f.yaml:11",
        "routes[0].match.prefix": "f.yaml:14",
        "routes[0].bulkhead.max_concurrent": "f.yaml:15 (route first)",
        "routes[0].timeouts.attempt": "f.yaml:9 (policy gold)",
        "routes[0].retry.attempts": "f.yaml:7 (policy default)",
        "routes[0].circuit_breaker.minimum_calls": BUILT_IN,
    }
    assert {key: found[key] for key in expected} == expected


def test_a_default_that_depends_on_the_place_says_on_what() -> None:
    found = sources_of("routes: []")
    assert found["service"] == f"{BUILT_IN} (OTEL_SERVICE_NAME, else the host's name)"
    assert found["upstreams.app.endpoints"] == f"{BUILT_IN} (RESILIENCE_PROXY_APP_PORT, else 8080)"


def at(document: object, key: str) -> object:
    for step in key.replace("[", ".[").split("."):
        document = document[int(step[1:-1]) if step.startswith("[") else step]
    return document


@pytest.mark.parametrize("file", [HERE / "reference.yaml", None])
def test_every_key_is_one_of_what_is_shown_and_all_are_there(file: Path | None) -> None:
    loaded = load(file, {})
    shown = effective(loaded.config)
    found = dict(provenance(loaded.config, loaded.sources))
    for key in found:
        at(shown, key)
    for section in shown:
        if shown[section]:
            assert any(key.startswith(section) for key in found), section


def test_the_embedded_default_is_built_in() -> None:
    loaded = load(None, {})
    sources = set(dict(provenance(loaded.config, loaded.sources)).values())
    assert all(source.startswith(BUILT_IN) for source in sources)


def test_many_values_that_share_nothing_are_all_told() -> None:
    routes = "".join(
        f"  - {{name: r{n}, match: {{prefix: /{n}}}, retry: {{attempts: {n % 9 + 1}}}}}\n"
        for n in range(MOST_SHARED + 10)
    )
    loaded = load_text(f"routes:\n{routes}", "f.yaml", {})
    found = dict(provenance(loaded.config, loaded.sources))
    shown = effective(loaded.config)["routes"]
    for n in (0, MOST_SHARED - 1, MOST_SHARED, MOST_SHARED + 9):
        assert found[f"routes[{n}].retry.attempts"] == f"f.yaml:{n + 2} (route r{n})"
        assert shown[n]["retry"]["attempts"] == n % 9 + 1
