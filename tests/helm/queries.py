"""The PromQL that is shipped, taken apart as far as needed to see whether it names what exists."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "helm/resilience-proxy/files"

_METRIC = re.compile(r"\b((?:proxy|process)_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
_LEGEND = re.compile(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}")


@dataclass(frozen=True, slots=True)
class Query:
    """One expression and where it stands; `shown` are the labels that its legend or text names."""

    where: str
    text: str
    shown: tuple[str, ...] = ()

    def metrics(self) -> list[tuple[str, list[tuple[str, str, str]]]]:
        """Each metric that is named, with its matchers: label, operator, value."""
        return [
            (found[1], [(m[1], m[2], m[3]) for m in _MATCHER.finditer(found[2] or "")])
            for found in _METRIC.finditer(self.text)
        ]

    def grouped(self) -> list[str]:
        """Labels that ``by (...)`` and its like name."""
        lists = _GROUPING.findall(self.text)
        return [label.strip() for one in lists for label in one.split(",") if label.strip()]


def alerts() -> list[dict[str, Any]]:
    return _rules("alerts.yaml")


def recorded() -> list[dict[str, Any]]:
    """The rules that give metrics the names of Resilience4j."""
    return _rules("resilience4j.yaml")


def _rules(name: str) -> list[dict[str, Any]]:
    document = yaml.safe_load((FILES / name).read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FILES / "dashboard.json").read_text(encoding="utf-8"))
    return found


def all_queries() -> list[Query]:
    """Those of every rule, panel and variable."""
    found = [Query(rule["record"], rule["expr"]) for rule in recorded()]
    for rule in alerts():
        texts = " ".join(rule["annotations"].values())
        found.append(Query(rule["alert"], rule["expr"], tuple(_LEGEND.findall(texts))))
    document = dashboard()
    for panel in document["panels"]:
        for target in panel.get("targets", ()):
            shown = tuple(_LEGEND.findall(target["legendFormat"]))
            found.append(Query(f"{panel['title']} {target['refId']}", target["expr"], shown))
    for variable in document["templating"]["list"]:
        if variable["type"] == "query":
            inside, _, label = variable["definition"][len("label_values(") : -1].rpartition(", ")
            found.append(Query(f"${variable['name']}", inside, (label,)))
    return found


def evaluable(query: Query) -> str:
    """The expression with Grafana's own variables replaced, as Prometheus would get it."""
    text = query.text.replace("$__rate_interval", "1m")
    return re.sub(r"\$\w+", ".*", text)
