"""docs/metrics.md has every family with its type and labels, and none that does not exist."""

import re

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from unit.telemetry.test_metrics import Scraped, fill

from documents.blocks import ROOT

PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")

_ROW = re.compile(r"^\| `(proxy_\w+)` \| (\w+) \|([^|]*)\| [^|]+ \|$", re.MULTILINE)


def test_every_metric_is_told_and_none_besides() -> None:
    told = {
        name.removesuffix("_total"): (kind, set(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in _ROW.findall(PAGE)
    }
    scraped = Scraped()
    fill(scraped)
    there = {
        family.name: (family.type, {name for one in family.samples for name in one.labels})
        for family in text_string_to_metric_families(generate_latest(scraped.registry).decode())
        if family.name.startswith("proxy_")
    }
    for _, labels in there.values():
        labels.discard("le")
    assert told == there
    assert len(_ROW.findall(PAGE)) == PAGE.count("\n| `proxy_")
