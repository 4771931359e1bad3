"""The library chart writes what `inject` would: the same container, volume, environment, hooks."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from helm.charts import CHARTS, HELM, NO_HELM, Object, helm, template
from proxy import __version__
from proxy.kubernetes.pod import inject
from proxy.kubernetes.settings import Settings

pytestmark = pytest.mark.skipif(HELM is None, reason=NO_HELM)

DEPLOYMENT = """\
{{- $sidecar := .Values.sidecar }}
apiVersion: v1
kind: Pod
metadata:
  name: orders
  annotations:
    {{- include "resilience-proxy-lib.annotations" $sidecar | nindent 4 }}
spec:
  terminationGracePeriodSeconds: {{ include "resilience-proxy-lib.gracePeriodSeconds" $sidecar }}
  {{- if not $sidecar.legacy }}
  initContainers:
    {{- include "resilience-proxy-lib.container" $sidecar | nindent 4 }}
  {{- end }}
  containers:
    {{- if $sidecar.legacy }}
    {{- include "resilience-proxy-lib.container" $sidecar | nindent 4 }}
    {{- end }}
    - name: orders
      image: orders
      env:
        {{- include "resilience-proxy-lib.env" $sidecar | nindent 8 }}
      lifecycle:
        preStop:
          {{- include "resilience-proxy-lib.preStop" $sidecar | nindent 10 }}
  {{- with include "resilience-proxy-lib.volume" $sidecar }}
  volumes:
    {{- . | nindent 4 }}
  {{- end }}
"""

PLAIN: Object = {
    "metadata": {"name": "orders"},
    "spec": {"containers": [{"name": "orders", "image": "orders"}]},
}

CASES: dict[str, tuple[dict[str, Any], Settings]] = {
    "defaults": ({"image": "i"}, Settings(image="i")),
    "legacy": ({"image": "i", "legacy": True}, Settings(image="i", legacy=True)),
    "everything": (
        {
            "image": "registry.internal/proxy@sha256:00",
            "imagePullPolicy": "Always",
            "configMap": "policies",
            "storeVolume": "emptyDir",
            "secret": "store-password",
            "appPort": 8080,
            "service": "orders",
            "noProxy": [".internal", "localhost"],
            "drainTimeout": 54.5,
            "cpuRequest": "1",
            "memoryRequest": "none",
            "cpuLimit": "2",
            "memoryLimit": "1Gi",
        },
        Settings(
            image="registry.internal/proxy@sha256:00",
            image_pull_policy="Always",
            config_map="policies",
            store_volume="emptyDir",
            secret="store-password",
            app_port=8080,
            service="orders",
            no_proxy=(".internal", "localhost"),
            drain_timeout=54.5,
            cpu_request="1",
            memory_request=None,
            cpu_limit="2",
            memory_limit="1Gi",
        ),
    ),
    "a volume of the pod for the store": (
        {"image": "i", "storeVolume": "promises"},
        Settings(image="i", store_volume="promises"),
    ),
    "no resources": (
        {"image": "i", **dict.fromkeys(("cpuRequest", "memoryRequest", "memoryLimit"), "none")},
        Settings(image="i", cpu_request=None, memory_request=None, memory_limit=None),
    ),
}


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """A chart that uses the library."""
    library = {"name": "resilience-proxy-lib", "version": __version__, "repository": ""}
    about = {"apiVersion": "v2", "name": "orders", "version": "1.0.0", "dependencies": [library]}
    chart = tmp_path / "orders"
    (chart / "templates").mkdir(parents=True)
    (chart / "charts").mkdir()
    (chart / "charts" / "resilience-proxy-lib").symlink_to(CHARTS / "resilience-proxy-lib")
    (chart / "Chart.yaml").write_text(yaml.safe_dump(about), encoding="utf-8")
    (chart / "templates" / "pod.yaml").write_text(DEPLOYMENT, encoding="utf-8")
    return chart


@pytest.mark.parametrize("case", CASES)
def test_the_pod_is_as_inject_makes_it(chart: Path, tmp_path: Path, case: str) -> None:
    values, settings = CASES[case]
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump({"sidecar": values}), encoding="utf-8")
    (rendered,) = yaml.safe_load_all(template(chart, "--values", str(file)))
    injected = deepcopy(PLAIN)
    inject(injected, settings)
    injected["spec"].setdefault("terminationGracePeriodSeconds", 30)
    assert rendered["spec"] == injected["spec"]


def test_the_webhook_leaves_it_alone(chart: Path) -> None:
    (rendered,) = yaml.safe_load_all(template(chart, "--set", "sidecar.image=i"))
    before = deepcopy(rendered)
    assert inject(rendered, Settings()).skipped
    assert rendered == before


def test_a_setting_that_is_missing_is_told(chart: Path) -> None:
    run = helm("template", str(chart), "--set", "sidecar.legacy=true")
    assert run.returncode != 0
    assert "the sidecar's settings need an image" in run.stderr
