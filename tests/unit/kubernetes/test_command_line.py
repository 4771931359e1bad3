"""`resilience-proxy inject` as it is called, and its results as Kubernetes' schemas see them."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

from proxy import cli
from proxy.command_line.parser import make_parser
from proxy.kubernetes import command_line
from proxy.kubernetes.settings import SETTINGS, Settings

MANIFESTS = Path(__file__).with_name("manifests.yaml")
VERSIONS = ("1.32", "1.37")
"""The oldest and the newest that kubernetes-validate knows."""


DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: orders}
spec:
  selector: {matchLabels: {app: orders}}
  template:
    metadata:
      annotations:
        shop.test: "x"
      labels: {app: orders}
    spec:
      containers: [{name: orders, image: "orders:1"}]
"""
SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: orders}
spec: {selector: {app: orders}, ports: [{port: 80, targetPort: 8080}]}
"""
POD = """{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lonely"},
 "spec": {"containers": [{"name": "a", "image": "a"}]}}"""


def injected(text, settings=None, expect=False):
    result, failed = command_line.injected([("stdin", text)], settings or Settings(), {})
    assert failed is expect
    return result


def called(*arguments, stdin=""):
    return subprocess.run(
        [sys.executable, "-m", "proxy", "inject", *arguments],
        input=stdin.encode(),
        capture_output=True,
        timeout=30,
    )


SETTINGS_TRIED = {
    "native": Settings(),
    "legacy": Settings(legacy=True),
    "all": Settings(
        app_port="http",
        config_map="policies",
        cpu_limit="1",
        no_proxy=("x.test",),
        drain_timeout=60.0,
    ),
    "little": Settings(http_proxy=False, pre_stop=False, cpu_request=None, memory_limit=None),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("tried", ["legacy", "all"])
def test_what_comes_out_is_valid(tried, version, monkeypatch):
    utils = pytest.importorskip("kubernetes_validate.utils", reason="no kubernetes-validate")
    monkeypatch.setattr(utils, "schema_contents", cache(utils.schema_contents))
    text = injected(MANIFESTS.read_text(), SETTINGS_TRIED[tried])
    documents = [document for document in yaml.safe_load_all(text) if document]
    assert len(documents) == 11
    for document in documents:
        for item in document["items"] if document["kind"] == "List" else [document]:
            utils.validate(item, version, strict=True)


@pytest.mark.parametrize("settings", SETTINGS_TRIED.values(), ids=SETTINGS_TRIED)
def test_twice_is_the_same_as_once_to_the_byte(settings):
    once = injected(MANIFESTS.read_text(), settings)
    assert once != MANIFESTS.read_text()
    assert injected(once, settings) == once


def test_the_command_itself():
    done = called("--app-port", "8080", stdin=MANIFESTS.read_text())
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode() == injected(MANIFESTS.read_text(), Settings(app_port=8080))
    assert b"note: DaemonSet agent: left without sidecar: it has hostNetwork" in done.stderr
    assert b"Traceback" not in done.stderr


def test_from_a_file(tmp_path):
    done = called("-f", str(MANIFESTS))
    assert done.stdout.decode() == injected(MANIFESTS.read_text())
    assert called("-f", "-", stdin="a: 1\n").stdout == b"a: 1\n"
    missing = called("--file", str(tmp_path / "nothing.yaml"))
    assert (missing.returncode, missing.stdout) == (1, b"")
    assert b"nothing.yaml" in missing.stderr


def test_all_files_are_one_input(tmp_path):
    """A Service in one leads to the pods in another; without a final newline, without a marker."""
    names = []
    for name, text in {
        "deployment.yaml": DEPLOYMENT.rstrip("\n"),
        "service.yaml": "# in front of it\n" + SERVICE,
        "pod.json": json.dumps(json.loads(POD)),
    }.items():
        (tmp_path / name).write_text(text)
        names.append(str(tmp_path / name))
    done = called("--app-port", "8080", "-f", names[0], "-f", names[1], names[2])
    assert done.returncode == 0, done.stderr
    deployment, service, pod = yaml.safe_load_all(done.stdout)
    assert deployment["spec"]["template"]["spec"]["initContainers"][0]["name"] == "resilience-proxy"
    assert service["spec"]["ports"][0]["targetPort"] == 7071
    assert pod["spec"]["initContainers"][0]["name"] == "resilience-proxy"
    assert b"no Service" not in done.stderr.replace(b"Pod lonely: no Service", b"")


def test_files_without_the_option(tmp_path):
    (tmp_path / "a.yaml").write_text("---\na: 1\n")
    (tmp_path / "b.yaml").write_text("b: 1\n")
    done = called(str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml"), "-", stdin="c: 1\n")
    assert done.stdout == b"---\na: 1\n---\nb: 1\n---\nc: 1\n"


def test_a_mistake_is_told_with_its_file(tmp_path):
    (tmp_path / "good.yaml").write_text("a: 1\n")
    (tmp_path / "bad.yaml").write_text(DEPLOYMENT.replace("shop.test", "resilience-proxy/legacy"))
    done = called("-f", str(tmp_path / "good.yaml"), "-f", str(tmp_path / "bad.yaml"))
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"bad.yaml: document 1, line 9: Deployment orders: legacy:" in done.stderr


@pytest.mark.parametrize("command", ["inject", "webhook"])
def test_options_that_contradict_each_other(command, capsys):
    tls = ["--tls-cert", "c", "--tls-key", "k"] if command == "webhook" else []
    assert cli.main([command, *tls, "--memory-request", "1Gi"]) == 2
    assert "--memory-request: 1Gi is more than the memory-limit" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["123", "0899", "1e3", "0x1f", "12:30", "1_000", "+1", ".5"])
def test_names_like_numbers_are_in_quotes(name):
    text = DEPLOYMENT.replace("app: orders", f'app: "{name}"')
    assert f'value: "{name}"' in injected(text)


def test_a_mistake_is_told_with_document_and_line_and_nothing_written(capsys):
    text = MANIFESTS.read_text() + (
        "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: bad\n  annotations:\n"
        "    resilience-proxy/legacy: perhaps\nspec:\n  containers: [{name: a, image: a}]\n"
    )
    assert injected(text, expect=True) == ""
    line = text[: text.index("perhaps")].count("\n") + 1
    assert capsys.readouterr().err == (
        f"resilience-proxy: stdin: document 13, line {line}: Pod bad: legacy: 'perhaps' is "
        "neither true nor false\n"
    )


def test_broken_yaml(capsys):
    assert injected("a: 1\n---\nb: [\n", expect=True) == ""
    told = capsys.readouterr().err
    assert told.startswith("resilience-proxy: stdin: document 2, line 4: not valid YAML: ")


def test_bytes_that_are_no_text():
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "inject"], input=b"a: 1\nb: \xff\n", capture_output=True
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"stdin: line 2: not UTF-8" in done.stderr


def test_a_byte_order_mark_stays():
    assert injected("\ufeffa: 1\n") == "\ufeffa: 1\n"


def test_json_gives_json():
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a"},
        "spec": {"containers": [{"name": "a", "image": "a"}]},
    }
    made = json.loads(injected(json.dumps(pod, indent=2)))
    assert made["spec"]["initContainers"][0]["name"] == "resilience-proxy"


@pytest.mark.parametrize(
    "setting",
    [s for s in SETTINGS if s.takes not in ("true|false", "HOST,...", "NAME,...")],
    ids=lambda setting: setting.name,
)
def test_options_that_make_no_sense(setting, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["inject", f"--{setting.name}", "\n"])
    assert ended.value.code == 2
    assert f"--{setting.name}" in capsys.readouterr().err


def test_every_setting_is_an_option():
    arguments = [
        *("--inject", "disabled", "--legacy", "--image", "i", "--image-pull-policy", "Always"),
        *("--config-map", "c", "--app-port", "http", "--service", "s", "--no-http-proxy"),
        *("--no-proxy", "a,b", "--containers", "c", "--no-pre-stop", "--drain-timeout", "1m"),
        *("--cpu-request", "none", "--memory-request", "1", "--cpu-limit", "2"),
        *("--memory-limit", "none"),
    ]
    options = make_parser().parse_args(["inject", *arguments])
    assert command_line.settings_of(options) == Settings(
        inject=False,
        legacy=True,
        image="i",
        image_pull_policy="Always",
        config_map="c",
        app_port="http",
        service="s",
        http_proxy=False,
        no_proxy=("a", "b"),
        containers=("c",),
        pre_stop=False,
        drain_timeout=60.0,
        cpu_request=None,
        memory_request="1",
        cpu_limit="2",
        memory_limit=None,
    )
    assert command_line.settings_of(make_parser().parse_args(["inject"])) == Settings()
