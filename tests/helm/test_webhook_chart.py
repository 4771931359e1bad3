"""The chart resilience-proxy: what its values do, its certificate, and that an upgrade keeps it."""

import base64
import json
import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from helm.charts import CHARTS, HELM, NO_HELM, OLD, Case, Object, helm, objects_of, only, template
from helm.fake_cluster import Store, fake_cluster
from helm.queries import FILES, alerts, dashboard, recorded
from proxy import __version__
from proxy.command_line.parser import make_parser
from proxy.config import load_text
from proxy.kubernetes.command_line import settings_of
from proxy.kubernetes.settings import Settings
from proxy.kubernetes.webhook import Webhook

needs_helm = pytest.mark.skipif(HELM is None, reason=NO_HELM)

CHART = CHARTS / "resilience-proxy"
DEFAULT, FULL, BARE = (Case("resilience-proxy", values) for values in ("", "full", "bare"))
HOST = "shop-resilience-proxy.shop.svc"


def values() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    return found


def configuration(case: Case) -> Object:
    webhook: Object = only(objects_of(case), "MutatingWebhookConfiguration")["webhooks"][0]
    return webhook


def container(case: Case) -> Object:
    spec: Object = only(objects_of(case), "Deployment")["spec"]["template"]["spec"]
    return spec["containers"][0]


def decoded(text: str) -> str:
    return base64.b64decode(text).decode()


# --- values --------------------------------------------------------------------------------------


def test_the_chart_is_of_this_version() -> None:
    for chart in CHARTS.iterdir():
        about = yaml.safe_load((chart / "Chart.yaml").read_text(encoding="utf-8"))
        assert about["appVersion"] == about["version"] == __version__


def test_the_schema_knows_every_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    Draft7Validator.check_schema(schema)
    assert not list(Draft7Validator(schema).iter_errors(values()))
    assert set(_closed(schema, values())) == set()


def _closed(schema: Object, value: Object, path: str = "") -> list[str]:
    """Mappings whose keys the schema does not list, where values.yaml has some."""
    if not value or "properties" not in schema:
        return []
    found = [] if schema["additionalProperties"] is False else [path]
    for key, below in value.items():
        assert key in schema["properties"], f"{path}.{key}"
        if isinstance(below, dict):
            found += _closed(schema["properties"][key], below, f"{path}.{key}")
    return found


def test_the_schema_lists_the_alerts() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    rule = schema["properties"]["prometheusRule"]["properties"]
    assert rule["disabled"]["items"]["enum"] == [alert["alert"] for alert in alerts()]


@needs_helm
@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("webhook.replica=3", "Additional property replica is not allowed"),
        ("webhook.failurePolicy=Maybe", "webhook.failurePolicy must be one of"),
        ("webhook.timeoutSeconds=31", "Must be less than or equal to 30"),
        ("image.digest=abc", "Does not match pattern"),
        ("policies.useByDefault=true", "policies.useByDefault needs policies.namespaces"),
        ("certificate.source=secret", "certificate.secretName is needed"),
    ],
)
def test_mistakes_are_told(setting: str, complaint: str) -> None:
    run = helm("template", str(CHART), "--kube-version", "1.32.0", "--set", setting)
    assert run.returncode != 0
    assert complaint in run.stderr


def test_the_policies_are_a_valid_configuration() -> None:
    loaded = load_text(values()["policies"]["config"], "values.yaml", {})
    assert not loaded.warnings


@needs_helm
def test_policies_come_to_the_namespaces_that_are_listed() -> None:
    maps = [
        one
        for one in objects_of(FULL)
        if one["kind"] == "ConfigMap" and one["metadata"]["name"] == "resilience-proxy-policies"
    ]
    assert [one["metadata"]["namespace"] for one in maps] == ["shop", "billing"]
    for one in maps:
        assert one["data"]["proxy.yaml"] == values()["policies"]["config"]
    assert "ConfigMap" not in {one["kind"] for one in objects_of(DEFAULT)}


# --- the webhook ---------------------------------------------------------------------------------


@needs_helm
def test_what_the_api_server_is_told() -> None:
    webhook = configuration(DEFAULT)
    assert webhook["sideEffects"] == "None"
    assert webhook["failurePolicy"] == "Fail"
    assert webhook["timeoutSeconds"] == 5
    assert webhook["reinvocationPolicy"] == "IfNeeded"
    assert webhook["clientConfig"]["service"]["name"] == "shop-resilience-proxy"
    (rule,) = webhook["rules"]
    assert (rule["operations"], rule["resources"]) == (["CREATE"], ["pods"])
    full = configuration(FULL)
    assert (full["failurePolicy"], full["timeoutSeconds"]) == ("Ignore", 10)
    assert full["reinvocationPolicy"] == "Never"


@needs_helm
def test_the_program_takes_its_arguments() -> None:
    """And means by them what the values say."""

    def settings(case: Case) -> Settings:
        return settings_of(make_parser().parse_args(container(case)["args"]))

    image = f"resilience-proxy:{__version__}"
    assert settings(DEFAULT) == Settings(image=image)
    assert settings(FULL) == Settings(
        inject=False,
        legacy=True,
        image="registry.internal/resilience-proxy:special",
        image_pull_policy="Always",
        config_map="resilience-proxy-policies",
        http_proxy=False,
        no_proxy=(".internal", "10.0.0.1"),
        pre_stop=False,
        drain_timeout=55.0,
        cpu_request="200m",
        memory_request=None,
        cpu_limit="1",
        memory_limit="256Mi",
    )
    options = make_parser().parse_args(container(FULL)["args"])
    assert str(options.address) == "0.0.0.0:9443"
    mounted = container(FULL)["volumeMounts"][0]["mountPath"]
    assert {str(options.tls_cert.parent), str(options.tls_key.parent)} == {mounted}


@needs_helm
def test_the_webhook_answers_where_it_is_asked() -> None:
    application = Webhook(Settings(), lambda: True).application()
    paths = {resource.canonical for resource in application.router.resources()}
    assert configuration(DEFAULT)["clientConfig"]["service"]["path"] in paths
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container(DEFAULT)[probe]["httpGet"]["path"] in paths


@needs_helm
def test_a_namespace_opts_in_and_a_pod_out() -> None:
    webhook = configuration(DEFAULT)
    label, name = webhook["namespaceSelector"]["matchExpressions"]
    assert label == {"key": "resilience-proxy/inject", "operator": "In", "values": ["enabled"]}
    assert name["operator"] == "NotIn"
    assert {"kube-system", "shop"} <= set(name["values"])  # shop is the release's own here
    (out,) = webhook["objectSelector"]["matchExpressions"]
    assert out == {"key": "resilience-proxy/inject", "operator": "NotIn", "values": ["disabled"]}


@needs_helm
def test_sidecars_are_legacy_where_kubernetes_is_old() -> None:
    assert "--legacy" not in container(DEFAULT)["args"]
    assert "--legacy" in container(Case("resilience-proxy", "", OLD))["args"]


@needs_helm
def test_replicas_and_their_keeping() -> None:
    assert only(objects_of(DEFAULT), "Deployment")["spec"]["replicas"] == 2
    assert only(objects_of(DEFAULT), "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    left_out = {"PodDisruptionBudget", "NetworkPolicy", "ServiceAccount", "Secret"}
    assert not left_out & {one["kind"] for one in objects_of(BARE)}


# --- the certificate -----------------------------------------------------------------------------


def shakes_hands(secret: Object, bundle: str, directory: Path) -> None:
    """A TLS handshake of somebody who trusts `bundle` with the Secret's certificate."""
    for name, text in secret["data"].items():
        (directory / name).write_text(decoded(text))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(directory / "tls.crt", directory / "tls.key")
    client = ssl.create_default_context(cadata=decoded(bundle))
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    caller = client.wrap_bio(back, there, server_hostname=HOST)
    callee = server.wrap_bio(there, back, server_side=True)
    for _ in range(4):
        for side in (caller, callee):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert caller.version() is not None


@needs_helm
def test_the_api_server_can_trust_the_certificate(tmp_path: Path) -> None:
    secret = only(objects_of(DEFAULT), "Secret")
    shakes_hands(secret, configuration(DEFAULT)["clientConfig"]["caBundle"], tmp_path)
    volume = only(objects_of(DEFAULT), "Deployment")["spec"]["template"]["spec"]["volumes"][0]
    assert volume["secret"]["secretName"] == secret["metadata"]["name"]


@needs_helm
def test_a_certificate_of_ones_own() -> None:
    bundle = decoded(configuration(BARE)["clientConfig"]["caBundle"])
    assert bundle.startswith("-----BEGIN CERTIFICATE-----\n")
    volume = only(objects_of(BARE), "Deployment")["spec"]["template"]["spec"]["volumes"][0]
    assert volume["secret"]["secretName"] == "my-certificate"


@needs_helm
def test_cert_manager() -> None:
    objects = objects_of(FULL)
    certificate = only(objects, "Certificate")
    assert "injector.shop.svc" in certificate["spec"]["dnsNames"]
    assert certificate["spec"]["issuerRef"]["name"] == only(objects, "Issuer")["metadata"]["name"]
    webhook = only(objects, "MutatingWebhookConfiguration")
    assert "caBundle" not in webhook["webhooks"][0]["clientConfig"]
    source = webhook["metadata"]["annotations"]["cert-manager.io/inject-ca-from"]
    assert source == f"shop/{certificate['metadata']['name']}"
    volume = only(objects, "Deployment")["spec"]["template"]["spec"]["volumes"][0]
    assert volume["secret"]["secretName"] == certificate["spec"]["secretName"]
    given = template(
        CHART, "--set", "certificate.source=cert-manager,certificate.issuerRef.name=corporate"
    )
    kinds = {one["kind"]: one for one in yaml.safe_load_all(given) if one}
    assert "Issuer" not in kinds
    assert kinds["Certificate"]["spec"]["issuerRef"] == {"name": "corporate"}


class Cluster:
    """A cluster in which the chart gets installed, by real commands of Helm."""

    def __init__(self, store: Store, kubeconfig: Path) -> None:
        self.store = store
        self._options = ("--kubeconfig", str(kubeconfig), "--namespace", "shop")

    def upgrade(self) -> str:
        """What Helm prints; the first time it installs."""
        more = ("--install", "--disable-openapi-validation")
        done = helm(*self._options, "upgrade", "shop", str(CHART), *more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def bundle(self) -> str:
        webhook = self.store.found("MutatingWebhookConfiguration")["webhooks"][0]
        bundle: str = webhook["clientConfig"]["caBundle"]
        return bundle


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with fake_cluster(tmp_path) as (store, kubeconfig):
        yield Cluster(store, kubeconfig)


@needs_helm
def test_an_upgrade_keeps_the_certificate(cluster: Cluster, tmp_path: Path) -> None:
    cluster.upgrade()
    first = dict(cluster.store.found("Secret")["data"])
    cluster.upgrade()
    assert cluster.store.found("Secret")["data"] == first
    assert cluster.bundle == first["ca.crt"]
    shakes_hands(cluster.store.found("Secret"), cluster.bundle, tmp_path)


@needs_helm
def test_a_secret_that_lost_something_is_made_anew(cluster: Cluster, tmp_path: Path) -> None:
    cluster.upgrade()
    first = dict(cluster.store.found("Secret")["data"])
    cluster.store.change("Secret", data={"tls.crt": first["tls.crt"]})
    cluster.upgrade()
    second = cluster.store.found("Secret")["data"]
    assert second.keys() == first.keys() == {"ca.crt", "tls.crt", "tls.key"}
    assert second["tls.crt"] != first["tls.crt"]
    shakes_hands(cluster.store.found("Secret"), cluster.bundle, tmp_path)


@needs_helm
def test_the_notes_tell_how_to_go_on(cluster: Cluster) -> None:
    notes = cluster.upgrade().partition("NOTES:")[2]
    assert "kubectl label namespace MY-NAMESPACE resilience-proxy/inject=enabled" in notes
    assert "unless it has the label resilience-proxy/inject=disabled. Running pods" in notes
    assert "{{" not in notes


# --- what is watched -----------------------------------------------------------------------------


@needs_helm
def test_the_rules_are_those_of_the_file() -> None:
    group, recording = only(objects_of(FULL), "PrometheusRule")["spec"]["groups"]
    expected = [rule for rule in alerts() if rule["alert"] != "ResilienceProxyLogLinesDropped"]
    assert [rule["alert"] for rule in group["rules"]] == [rule["alert"] for rule in expected]
    for rule, of_file in zip(group["rules"], expected, strict=True):
        link = rule["annotations"].pop("runbook_url")
        assert link == "https://docs.internal/" + of_file["annotations"].pop("runbook_url")
        assert rule == of_file
    assert recording["rules"] == recorded()


@needs_helm
def test_the_dashboard_is_the_file() -> None:
    found = only(objects_of(FULL), "ConfigMap", "injector-dashboard")
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(found["data"]["resilience-proxy.json"]) == dashboard()
    assert (FILES / "dashboard.json").stat().st_size < 1_000_000  # a ConfigMap holds no more


@needs_helm
def test_the_webhook_is_watched_too() -> None:
    monitor = only(objects_of(FULL), "PodMonitor", "injector-webhook")["spec"]
    labels = only(objects_of(FULL), "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert monitor["selector"]["matchLabels"].items() <= labels.items()
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert endpoint["port"] in {port["name"] for port in container(FULL)["ports"]}
    application = Webhook(Settings(), lambda: True).application()
    assert endpoint["path"] in {resource.canonical for resource in application.router.resources()}


@needs_helm
@pytest.mark.parametrize(
    ("kind", "controller", "job"),
    [
        ("ReplicaSet", "order-service-7c9b8d6f5", "order-service"),
        ("StatefulSet", "orders-db", "orders-db"),
        ("Job", "report-28301", "report-28301"),
        ("", "", "shop/injector"),
    ],
)
def test_the_pod_monitor_names_the_workload(kind: str, controller: str, job: str) -> None:
    monitor = only(objects_of(FULL), "PodMonitor", "injector")["spec"]
    assert monitor["namespaceSelector"] == {"matchNames": ["shop", "billing"]}
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert endpoint["port"] == "proxy-admin"
    labels = {
        "__meta_kubernetes_pod_controller_kind": kind,
        "__meta_kubernetes_pod_controller_name": controller,
        "job": "shop/injector",
    }
    for rule in endpoint["relabelings"]:
        source = ";".join(labels[name] for name in rule["sourceLabels"])
        if found := re.fullmatch(rule["regex"], source):
            labels[rule["targetLabel"]] = found[1]
    assert labels["job"] == job
