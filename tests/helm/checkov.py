"""All that the charts render and `inject` makes, looked at by checkov: it has to be explained.

    python -m tests.helm.checkov

Exit status 1 where something is found that README.md of the chart resilience-proxy does not
explain, or the other way round. One run of checkov over all files, for starting it takes longer
than checking. It is `$CHECKOV`, else what the PATH has.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from proxy.kubernetes.command_line import injected as inject_text
from proxy.kubernetes.settings import Settings

from .chart_readme import CHARTS, explained
from .charts import CASES, HELM, NO_HELM, Case, objects_of, only, text_of

NO_CHECKOV = "checkov is not installed (pip install checkov, in an environment of its own)"

README = CHARTS / "resilience-proxy/README.md"


def injected(legacy: bool) -> str:
    """A Deployment of the example without its sidecar, and with the one that `inject` gives it."""
    deployment = deepcopy(only(objects_of(Case("order-service")), "Deployment", "payment"))
    template = deployment["spec"]["template"]
    del template["spec"]["initContainers"], template["metadata"]["annotations"]
    settings = Settings(legacy=legacy, config_map="policies")
    text, failed = inject_text([("example", yaml.safe_dump(deployment))], settings, {})
    assert not failed
    assert "name: resilience-proxy\n" in text
    return text


def findings(directory: Path, checkov: str) -> list[dict[str, Any]]:
    """The checks that failed for the files in a directory, from one run without a network."""
    run = subprocess.run(
        [
            *(checkov, "--directory", str(directory), "--framework", "kubernetes"),
            *("--compact", "--quiet", "--skip-download", "--output", "json"),
        ],
        capture_output=True,
        text=True,
    )
    report = json.loads(run.stdout)
    assert report["summary"]["parsing_errors"] == 0, run.stdout
    assert report["summary"]["resource_count"] > 50, "hardly anything was looked at"
    failed: list[dict[str, Any]] = report["results"]["failed_checks"]
    return failed


def complaints(found: list[dict[str, Any]], reasons: dict[str, str]) -> Iterator[str]:
    for one in found:
        if one["check_id"] not in reasons:
            where = f"{one['file_path'].lstrip('/')}: {one['resource']}"
            yield f"{where}: {one['check_id']} {one['check_name']}"
    for number in reasons.keys() - {one["check_id"] for one in found}:
        yield f"{README}: explains {number}, which is not found any more"


def main() -> int:
    checkov = os.environ.get("CHECKOV") or shutil.which("checkov")
    if checkov is None or HELM is None:
        print(f"skipped: {NO_HELM if HELM is None else NO_CHECKOV}")
        return 0
    with tempfile.TemporaryDirectory() as directory:
        for case in CASES:
            Path(directory, f"{case.name}.yaml").write_text(text_of(case), encoding="utf-8")
        for legacy in (False, True):
            Path(directory, f"injected-{legacy}.yaml").write_text(
                injected(legacy), encoding="utf-8"
            )
        found = findings(Path(directory), checkov)
    wrong = list(complaints(found, explained(README)))
    print("\n".join(wrong) or f"{len(found)} findings, all explained in {README.name}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
