"""helm/resilience-proxy/files/dashboard.json, the Grafana dashboard, from `dashboard_rows`.

    python -m tests.helm.dashboard      writes the file anew

Where a panel stands comes from its width: rows from top to bottom, panels from left to right.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .dashboard_panel import Panel
from .dashboard_rows import ROWS

FILE = Path(__file__).resolve().parents[2] / "helm/resilience-proxy/files/dashboard.json"

COLUMNS = 24
"""Width of Grafana's grid."""

_PROCESS = 'namespace=~"$namespace", job=~"$job", pod=~"$pod"'
_ROUTE = f'{_PROCESS}, route=~"$route"'
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def _selected(query: str) -> str:
    """The query with its ``@`` words spelled out, the longest first."""
    for word, labels in (
        ("@listener", f'{_ROUTE}, listener=~"$listener"'),
        ("@route", _ROUTE),
        ("@", _PROCESS),
    ):
        query = query.replace(word, labels)
    return query


def _merged(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Both, mappings in both of them merged likewise."""
    both = dict(base)
    for key, value in more.items():
        here = both.get(key)
        both[key] = _merged(here, value) if isinstance(here, dict) else value
    return both


def _panel(number: int, panel: Panel, x: int, y: int) -> dict[str, Any]:
    base: dict[str, Any] = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.tells,
        "datasource": _DATASOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _DATASOURCE,
                "expr": _selected(query),
                "legendFormat": legend or "__auto",
            }
            for index, (query, legend) in enumerate(panel.queries)
        ],
    }
    if panel.kind == "timeseries":
        base["options"] = {"tooltip": {"mode": "multi", "sort": "desc"}}
    return _merged(base, panel.more)


def _panels() -> Iterator[dict[str, Any]]:
    """Rows from top to bottom, panels from left to right, as many in a line as there is room."""
    number, y = 0, 0
    for title, panels in ROWS:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": title,
            "collapsed": False,
            "panels": [],
            "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
        }
        x, y = 0, y + 1
        height = panels[0].height
        for panel in panels:
            if x + panel.width > COLUMNS:
                x, y = 0, y + height
            number += 1
            yield _panel(number, panel, x, y)
            x += panel.width
        y += height


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": _DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": name},
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "refresh": 2,
        "sort": 1,
    }


def _variables() -> list[dict[str, Any]]:
    in_namespace = 'namespace=~"$namespace"'
    in_job = f'{in_namespace}, job=~"$job"'
    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
        _variable("namespace", "label_values(proxy_build_info, namespace)"),
        _variable("job", f"label_values(proxy_build_info{{{in_namespace}}}, job)"),
        _variable("pod", f"label_values(proxy_build_info{{{in_job}}}, pod)"),
        _variable("listener", f"label_values(proxy_in_flight{{{in_job}}}, listener)"),
        _variable("route", f"label_values(proxy_requests_total{{{in_job}}}, route)"),
    ]


def render() -> str:
    """The file's text."""
    dashboard = {
        "uid": "resilience-proxy",
        "title": "Resilience proxy",
        "description": "Requests, retries, circuit breakers and bulkheads of the sidecars.",
        "tags": ["resilience-proxy"],
        "schemaVersion": 36,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": _variables()},
        "annotations": {"list": []},
        "links": [],
        "panels": list(_panels()),
    }
    return json.dumps(dashboard, indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(render(), encoding="utf-8")
