"""The keys of balancing, ejection and health checks: what they mean, and what is refused."""

import pytest

from proxy.config.loading import load_text
from proxy.config.model import EndpointConfig, HealthCheckConfig, LoadBalancing
from proxy.http.hash_key import HashKey, HashSource
from proxy.policies.ejection_config import EjectForConfig, FailureRateConfig, OnNone, OutlierConfig
from proxy.policies.gate import Mode

HEAD = 'upstreams: {shop: {endpoints: ["http://shop:80"], '
TAIL = "}}\nroutes: [{name: shop, upstream: shop}]"


def shop(keys):
    return load_text(HEAD + keys + TAIL, "f.yaml", {}).config.upstreams["shop"]


def test_off_unless_written():
    found = shop("dns_refresh: 5s")
    assert (found.outlier_detection, found.health_check, found.hash) == (None, None, None)
    assert found.endpoints == (EndpointConfig("http", "shop", 80, 1),)


def test_what_is_left_out_of_outlier_detection_has_the_defaults():
    assert shop("outlier_detection: {}").outlier_detection == OutlierConfig(
        Mode.ENFORCE,
        5,
        FailureRateConfig(0.5, 20, 30.0),
        EjectForConfig(30.0, 300.0),
        0.5,
        OnNone.USE_ALL,
    )
    one = shop("outlier_detection: {failure_rate: none, consecutive_failures: 3}")
    assert one.outlier_detection == OutlierConfig(consecutive_failures=3, failure_rate=None)
    two = shop("outlier_detection: {failure_rate: {rate: 10%}, consecutive_failures: 0}")
    assert two.outlier_detection.failure_rate == FailureRateConfig(0.1, 20, 30.0)


def test_health_checks():
    assert shop("health_check: {path: /health}").health_check == HealthCheckConfig("/health")
    assert shop("health_check: {grpc: ''}").health_check == HealthCheckConfig(None, "")
    assert shop("health_check: {grpc: a.B}").health_check == HealthCheckConfig(None, "a.B")
    found = shop('health_check: {path: "/h?x=1", expect: [204, 300-399]}').health_check
    assert (found.path, found.expect) == ("/h?x=1", ("204", "300-399"))


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("{header: User-Id}", HashKey(HashSource.HEADER, b"user-id")),
        ("{cookie: Sid}", HashKey(HashSource.COOKIE, b"Sid")),
        ("{query: basket}", HashKey(HashSource.QUERY, b"basket")),
        ("client", HashKey(HashSource.CLIENT)),
        ("{client: true}", HashKey(HashSource.CLIENT)),
    ],
)
def test_hashes(written, key):
    found = shop(f"load_balancing: consistent_hash, hash: {written}")
    assert (found.load_balancing, found.hash) == (LoadBalancing.CONSISTENT_HASH, key)


def test_weights(warned):
    text = HEAD.replace('"http://shop:80"', '{url: "http://a", weight: 3}, "http://b"')
    found = load_text(text + "slow_start: 10s" + TAIL, "f.yaml", {}).config.upstreams["shop"]
    assert [(one.host, one.weight) for one in found.endpoints] == [("a", 3), ("b", 1)]
    assert found.slow_start == 10.0


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("load_balancing: consistent_hash", "needs 'hash', such as hash: {header: user-id}"),
        ("load_balancing: peak_ewma", "must be one of"),
        ("hash: {header: a, cookie: b}", "must be {header: NAME}"),
        ("hash: {headers: a}", "unknown key"),
        ("load_balancing: consistent_hash, hash: {client: false}", "false names no key"),
        ("hash: clients", "did you mean 'client'?"),
        ("hash: {cookie: 'a b'}", "is not the name of a cookie"),
        ("hash: {query: ''}", "is empty"),
        ("health_check: {}", "needs a 'path', such as /health, or 'grpc'"),
        ("health_check: {path: /a, grpc: b.C}", "grpc: is another kind of check than path"),
        ("health_check: {path: health}", "must be a path such as /health"),
        ('health_check: {path: "/health#all"}', "must be a path such as /health"),
        ("health_check: {path: '/a b'}", "must be a path such as /health"),
        ("health_check: {path: /, timeout: 11s}", "must be at most interval (10s)"),
        ("health_check: {path: /, expect: [99]}", "99"),
        ("health_check: {path: /, expect: [5xx]}", "is not a status such as 204"),
        ("health_check: {path: /, expect: []}", "at least one"),
        ("health_check: {grpc: a.B, expect: [200]}", "has no meaning with grpc"),
        ("health_check: {grpc: a.B/Check}", "give the service without a method"),
        ("health_check: {grpc: a.B}, protocol: http1", "gRPC needs HTTP/2"),
        ("outlier_detection: {consecutive_failures: 0, failure_rate: none}", "would eject nothing"),
        ("outlier_detection: {eject_for: {initial: 10m}}", "10m is more than max, which is 5m"),
        ("outlier_detection: {failure_rate: {window: 11m}}", "between 1s and 10m, not 11m"),
        (
            "outlier_detection: {failure_rate: {window: 2500ms}}",
            "must be whole seconds between 1s and 10m, not 2.5s",
        ),
        ("outlier_detection: {max_ejected: 0}", "more than 0"),
        ("outlier_detection: {on_none: refused}", "did you mean 'refuse'?"),
        ("outlier_detection: {mode: off}", "must be one of enforce, observe"),
    ],
)
def test_what_is_refused(errors, keys, message):
    found = errors(HEAD + keys + TAIL)
    assert len(found) == 1, found
    assert message in found[0]


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ("{weight: 3}", "'url' is missing"),
        (
            "{url: 'http://a', weight: 0}",
            "not 0; to drain an endpoint leave it out of the list",
        ),
        ("{url: 'http://a', weight: -1}", "must be at least 1, not -1"),
        ("{url: 'http://a', weight: 1001}", "weight"),
        ("{url: 'http://a', wieght: 2}", "did you mean 'weight'?"),
        ("{url: a}", "has no scheme"),
    ],
)
def test_endpoints_that_are_refused(errors, endpoint, message):
    (found,) = errors(HEAD.replace('"http://shop:80"', endpoint) + "dns_refresh: 5s" + TAIL)
    assert message in found


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("hash: {header: a}", "has no effect without load_balancing: consistent_hash"),
    ],
)
def test_what_has_no_effect(warned, keys, message):
    (found,) = warned(HEAD + keys + TAIL)
    assert message in found


NOTHING = "outlier_detection: {consecutive_failures: 0, failure_rate: none, on_none: refuse}"


def test_health_checks_alone_may_refuse(warned, errors):
    checked = f"health_check: {{path: /health}}, {NOTHING}"
    one_address = HEAD.replace("shop:80", "127.0.0.1")
    for head in (HEAD, one_address):
        assert warned(head + checked + TAIL) == []
    (found,) = errors(HEAD + NOTHING + TAIL)
    assert "would eject nothing" in found


def test_one_address_is_never_ejected(warned):
    for address, told in (("127.0.0.1", 1), ("[::1]", 1), ("localhost", 1), ("shop.svc", 0)):
        text = HEAD.replace("shop:80", address) + "outlier_detection: {}" + TAIL
        found = warned(text)
        assert len(found) == told, address
        assert all("ejects nothing: there is one endpoint" in one for one in found)
