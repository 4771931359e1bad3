"""The pages about traffic are complete: every key with its default, and where to look."""

import re
from collections.abc import Mapping
from typing import Any

import pytest

from documents.blocks import ROOT, blocks
from proxy.cli import main
from proxy.config import effective, load_text
from proxy.config.endpoint_keys import HEALTH_CHECK, OUTLIERS
from proxy.config.fallback_keys import RESPONSE
from proxy.config.kinds import Kind
from proxy.config.policy_keys import BULKHEAD, INHERIT
from proxy.config.record import Field, Optional, Record
from proxy.config.traffic_keys import FAULT, HEDGE, MIRROR, RATE_LIMIT

DOCS = ROOT / "docs"
METRICS = (DOCS / "metrics.md").read_text(encoding="utf-8")
TITLE = "## Every key, with its default"

TWO = "upstreams: {checkout-v1: {endpoints: ['http://checkout-v1:8080']}, checkout-v2: "
BLOCKS: dict[str, tuple[str, set[str]]] = {
    "balancing.md": (
        "upstreams: {inventory: {endpoints: ['http://inventory.shop.svc:8080'], outlier_detection: "
        "{}, health_check: {path: /health}}}\nroutes: [{name: stock, match: {hosts: [inventory]}, "
        "upstream: inventory}]",
        {"endpoints", "load_balancing", "hash", "slow_start"},
    ),
    "limits.md": ("policies: {default: {rate_limits: [{rate: 100/s}]}}", {"rate_limits"}),
    "hedging.md": ("{}", set()),
    "splitting-and-mirroring.md": (
        TWO + "{endpoints: ['http://checkout-v2:8080']}}\nroutes: [{name: checkout, upstream: "
        "{checkout-v1: 95, checkout-v2: 5}, mirror: {upstream: app}}]",
        {"upstream", "split_by"},
    ),
}
"""By page: the least file that means the same as its block of all keys, and keys of no record."""


def _keys(record: Record[Any]) -> set[str]:
    """The record's keys, and those of records below."""
    found = set(record.keys)
    for field in record.keys.values():
        below = _record(field)
        found |= _keys(below) if below is not None else set()
    return found


def _record(field: Field) -> Record[Any] | None:
    kind: Kind[Any] = field.kind
    kind = kind.kind if isinstance(kind, Optional) else kind
    return kind if isinstance(kind, Record) else None


RECORDS: dict[str, tuple[Record[Any], ...]] = {
    "balancing.md": (OUTLIERS, HEALTH_CHECK),
    "limits.md": (RATE_LIMIT, BULKHEAD),
    "hedging.md": (HEDGE,),
    "splitting-and-mirroring.md": (MIRROR,),
}

TABLES: Mapping[str, Record[Any]] = {"fault-injection.md": FAULT, "fixed-answers.md": RESPONSE}

PAGES = [*BLOCKS, *TABLES, "inheritance.md", "simulation.md"]


def section(page: str) -> str:
    text = (DOCS / page).read_text(encoding="utf-8")
    _, title, rest = text.partition(f"{TITLE}\n")
    assert title, f"{page} lost its section"
    return rest.partition("\n## ")[0]


@pytest.mark.parametrize("page", BLOCKS)
def test_the_block_of_all_keys_has_the_defaults(page: str) -> None:
    least, keys = BLOCKS[page]
    (block,) = [one for one in blocks(DOCS / page, "yaml") if one.text in section(page)]
    shown = effective(load_text(block.text, page, {}).config)
    assert shown == effective(load_text(least, page, {}).config)
    wanted = keys.union(*map(_keys, RECORDS[page]))
    assert {key for key in wanted if not re.search(rf"\b{key}\b[:,]?", block.text)} == set()


@pytest.mark.parametrize("page", TABLES)
def test_the_table_has_all_keys(page: str) -> None:
    told = re.findall(r"^\| `(\w+)` \|", section(page), re.MULTILINE)
    assert told == [key for key in TABLES[page].keys if key in told]
    assert set(told) == set(TABLES[page].keys)


def test_inheritance_has_its_keys_with_their_defaults() -> None:
    text = (DOCS / "inheritance.md").read_text(encoding="utf-8")
    shown = effective(load_text("{}", "f", {}).config)["policies"]["default"]["timeouts"]["inherit"]
    assert set(shown) == set(INHERIT.keys)
    written = ", ".join(f"{key}: {str(value).lower()}" for key, value in shown.items())
    assert f"inherit: {{{written}}}   # the defaults" in text


def test_simulation_has_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["simulate", "-h"])
    offered = re.findall(r"^  (--[a-z]+)", capsys.readouterr().out, re.MULTILINE)
    page = (DOCS / "simulation.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(--[a-z]+)", page, re.MULTILINE) == offered


@pytest.mark.parametrize("page", PAGES)
def test_it_says_where_to_look_if_it_does_not_work(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    assert re.search(r"^## If |^If the upstream answers instead", text, re.MULTILINE)
    for metric in set(re.findall(r"\bproxy_\w+", text)):
        assert f"`{metric}`" in METRICS, f"{page} names {metric}, which metrics.md does not"


def test_the_names_beside_those_of_istio_exist() -> None:
    text = (DOCS / "policies.md").read_text(encoding="utf-8").partition("## Coming from Istio")[2]
    reference = (DOCS / "configuration.md").read_text(encoding="utf-8")
    known = set(re.findall(r"^\| `([a-z_.]+)` \|", reference, re.MULTILINE))
    here = [row.split("|")[2] for row in text.splitlines() if row.startswith("| `")]
    named = {key for cell in here for key in re.findall(r"`(?:upstreams\.NAME\.)?([a-z_.]+)", cell)}
    assert len(named) > 15
    spelled = {key for one in known for key in (one, one.rsplit(".", 1)[-1], one.split(".")[0])}
    assert named - spelled == set()
