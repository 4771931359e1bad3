"""The chart order-service: the example's policies, and commands that the image has."""

import pytest
import yaml

from helm.charts import CHARTS, HELM, NO_HELM, OLD, ROOT, Case, Object, objects_of, only
from proxy.config import load_text
from proxy.demo.role import main

needs_helm = pytest.mark.skipif(HELM is None, reason=NO_HELM)

DEFAULT, EXAMPLE = Case("order-service"), Case("order-service", "example")
POLICIES = (CHARTS / "order-service/files/proxy.yaml").read_text(encoding="utf-8")
SERVICES = ["orders", *(name for name in yaml.safe_load(POLICIES)["upstreams"] if name != "app")]


def pod(case: Case, name: str) -> Object:
    spec: Object = only(objects_of(case), "Deployment", name)["spec"]["template"]["spec"]
    return spec


def test_its_policies_are_the_example() -> None:
    example = ROOT / "config/examples/order-service.yaml"
    assert example.read_text(encoding="utf-8") == POLICIES


@needs_helm
def test_the_order_service_runs_under_them() -> None:
    text = only(objects_of(DEFAULT), "ConfigMap")["data"]["proxy.yaml"]
    config = load_text(text, "proxy.yaml", {}).config
    ports = {one["metadata"]["name"] for one in objects_of(DEFAULT) if one["kind"] == "Service"}
    for name, upstream in config.upstreams.items():
        if name != "app":
            assert {endpoint.host for endpoint in upstream.endpoints} <= ports
    volume = pod(DEFAULT, "orders")["volumes"][0]
    assert volume["configMap"]["name"] == only(objects_of(DEFAULT), "ConfigMap")["metadata"]["name"]
    sidecar = pod(DEFAULT, "orders")["initContainers"][0]
    assert sidecar["volumeMounts"][0]["name"] == volume["name"]


@needs_helm
@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_its_sidecar_in_front(name: str) -> None:
    assert pod(DEFAULT, name)["initContainers"][0]["restartPolicy"] == "Always"
    legacy = pod(Case("order-service", "", OLD), name)
    assert "initContainers" not in legacy
    assert [one["name"] for one in legacy["containers"]] == ["resilience-proxy", name]
    (port,) = only(objects_of(DEFAULT), "Service", name)["spec"]["ports"]
    assert port["targetPort"] == "proxy-in"


@needs_helm
@pytest.mark.parametrize("name", SERVICES)
@pytest.mark.parametrize("case", [DEFAULT, EXAMPLE], ids=["default", "example"])
def test_its_commands_exist(case: Case, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    container = pod(case, name)["containers"][-1]
    assert container["command"] == ["python", "-m", "proxy.demo.role"]
    served: list[tuple[str, int]] = []
    monkeypatch.setattr(
        "aiohttp.web.run_app", lambda _app, host, port, **_: served.append((host, port))
    )
    main(container["args"])
    assert served == [("0.0.0.0", container["ports"][0]["containerPort"])]


@needs_helm
def test_failures_are_what_the_values_say() -> None:
    arguments = {name: pod(EXAMPLE, name)["containers"][-1]["args"] for name in SERVICES}
    assert "--failures=0.5" in arguments["payment"]
    assert not any(
        "--failures" in one for name in ("orders", "inventory") for one in arguments[name]
    )


@needs_helm
def test_it_asks_for_the_library_that_it_has() -> None:
    about = yaml.safe_load((CHARTS / "order-service/Chart.yaml").read_text(encoding="utf-8"))
    (wanted,) = about["dependencies"]
    library = CHARTS / "order-service/charts" / wanted["name"]
    assert library.resolve() == CHARTS / wanted["name"]
    assert yaml.safe_load((library / "Chart.yaml").read_text())["version"] == wanted["version"]
