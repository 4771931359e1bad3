"""The dashboard is the one that is described, and Grafana can show it."""

import itertools
from typing import Any

from helm.dashboard import COLUMNS, FILE, render
from helm.queries import dashboard


def test_the_file_is_as_it_would_be_written() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert text == render(), "run: python -m tests.helm.dashboard"


def test_panels_have_room() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= COLUMNS
        across = range(at["x"], at["x"] + at["w"])
        down = range(at["y"], at["y"] + at["h"])
        for cell in itertools.product(across, down):
            assert cell not in taken, f"{panel['title']} lies over {taken[cell]}"
            taken[cell] = panel["title"]


def test_what_grafana_needs_of_a_panel() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 20
    for panel in panels:
        assert panel["type"] in ("row", "stat", "timeseries", "state-timeline")
        if panel["type"] == "row":
            continue
        assert panel["title"]
        assert panel["description"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["fieldConfig"].keys() == {"defaults", "overrides"}
        assert [one["refId"] for one in panel["targets"]] == ["A", "B", "C"][
            : len(panel["targets"])
        ]


def test_the_variables_are_those_that_queries_use() -> None:
    document = dashboard()
    variables: list[dict[str, Any]] = document["templating"]["list"]
    names = [variable["name"] for variable in variables]
    assert names == ["datasource", "namespace", "job", "pod", "listener", "route"]
    assert variables[0]["type"] == "datasource"
    text = FILE.read_text(encoding="utf-8")
    assert all(f"${name}" in text for name in names[1:])
    # All: without a namespace (outside Kubernetes) the label is empty, which only .* matches.
    assert all(variable["allValue"] == ".*" for variable in variables[1:])
