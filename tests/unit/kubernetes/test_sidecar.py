"""The container as the API server, the kubelet and the restricted Pod Security Standard want it."""

from dataclasses import replace

import pytest

from proxy.kubernetes import sidecar
from proxy.kubernetes.settings import Settings

NATIVE = Settings()
LEGACY = Settings(legacy=True)


@pytest.mark.parametrize("settings", [NATIVE, LEGACY])
def test_the_restricted_pod_security_standard(settings):
    context = sidecar.container(settings)["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] > 0
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert context["readOnlyRootFilesystem"] is True
    assert "privileged" not in context


def test_a_native_sidecar_is_held_back_by_its_startup_probe():
    made = sidecar.container(NATIVE)
    assert made["restartPolicy"] == "Always"
    assert made["startupProbe"]["httpGet"] == {"path": "/health/ready", "port": 7072}
    assert "postStart" not in made["lifecycle"]


def test_a_legacy_one_holds_back_by_its_first_hook():
    made = sidecar.container(LEGACY)
    assert "restartPolicy" not in made, "only init containers may have one"
    assert made["lifecycle"]["postStart"]["exec"]["command"][:2] == ["resilience-proxy", "ready"]


@pytest.mark.parametrize("settings", [NATIVE, LEGACY])
def test_it_drains_before_it_is_told_to_end(settings):
    hook = sidecar.container(settings)["lifecycle"]["preStop"]
    assert hook == {"exec": {"command": ["resilience-proxy", "drain"]}}


def test_probes_ask_what_other_machines_may_ask():
    made = sidecar.container(NATIVE)
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert made[probe]["httpGet"]["path"].startswith("/health/")
        assert made[probe]["httpGet"]["port"] == 7072
    assert made["livenessProbe"]["httpGet"]["path"] == "/health/live"
    assert sidecar.service_pre_stop()["httpGet"]["path"].startswith("/health/")


def test_ports_have_names():
    ports = {port["name"]: port["containerPort"] for port in sidecar.container(NATIVE)["ports"]}
    assert ports == {"proxy-in": 7071, "proxy-admin": 7072}
    taken = sidecar.container(NATIVE, inbound_port_name="http")["ports"]
    assert [port["name"] for port in taken] == ["http", "proxy-admin"]
    numbers = [port["containerPort"] for port in taken]
    assert len(set(numbers)) == len(numbers), "server-side apply knows ports by their numbers"


def test_without_a_config_map_nothing_is_mounted():
    made = sidecar.container(NATIVE)
    assert made["args"] == ["run"]
    assert "volumeMounts" not in made
    assert sidecar.volumes(NATIVE) == []


def test_a_config_map_is_mounted_as_a_directory():
    settings = Settings(config_map="policies")
    made = sidecar.container(settings)
    (mount,) = made["volumeMounts"]
    assert "subPath" not in mount, "it would never see a change"
    assert made["args"][-1] == f"{mount['mountPath']}/proxy.yaml"
    assert sidecar.volumes(settings) == [{"name": mount["name"], "configMap": {"name": "policies"}}]


def test_the_store_gets_a_volume_of_its_own_or_one_of_the_pods():
    own = Settings(store_volume="emptyDir")
    (mount,) = sidecar.container(own)["volumeMounts"]
    assert mount == {"name": "resilience-proxy-store", "mountPath": "/var/lib/resilience-proxy"}
    assert sidecar.volumes(own) == [{"name": mount["name"], "emptyDir": {}}]
    claimed = Settings(store_volume="promises", config_map="policies")
    mounts = sidecar.container(claimed)["volumeMounts"]
    assert [one["name"] for one in mounts] == ["resilience-proxy-config", "promises"]
    assert [one["name"] for one in sidecar.volumes(claimed)] == ["resilience-proxy-config"]


def test_a_secret_is_the_sidecars_alone():
    made = sidecar.container(Settings(secret="store-password"))
    assert made["envFrom"] == [{"secretRef": {"name": "store-password"}}]
    assert "envFrom" not in sidecar.container(Settings())


def test_resources():
    assert sidecar.container(NATIVE)["resources"] == {
        "requests": {"cpu": "100m", "memory": "64Mi"},
        "limits": {"memory": "192Mi"},
    }
    bare = replace(
        NATIVE, cpu_request=None, memory_request=None, memory_limit=None, cpu_limit="500m"
    )
    assert sidecar.container(bare)["resources"] == {"limits": {"cpu": "500m"}}
    assert "resources" not in sidecar.container(replace(bare, cpu_limit=None))


def test_the_environment_says_what_the_pod_knows():
    made = sidecar.container(NATIVE, app_port=3000, service="orders")
    assert made["env"] == [
        {"name": "OTEL_SERVICE_NAME", "value": "orders"},
        {"name": "RESILIENCE_PROXY_APP_PORT", "value": "3000"},
    ]
    assert "env" not in sidecar.container(NATIVE)
