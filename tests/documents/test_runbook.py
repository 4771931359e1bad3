"""docs/runbook.md has a section for every reason, and names only what there is.

Keys, metrics and endpoints on the page are compared with the code: a name that no longer exists
would cost the reader time.
"""

import re
from types import SimpleNamespace
from typing import Any

import pytest
from unit.telemetry.fakes import FakeGateway, FakeLifecycle

from documents import reference
from documents.blocks import ROOT
from proxy.errors import ProxyError, subclasses
from proxy.policies.retry import StopReason
from proxy.store.store import StoreStats
from proxy.telemetry.metrics import registry_of
from proxy.telemetry.tracing import Tracing
from proxy.telemetry.transitions import Transitions

PAGE = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
ADMIN_PAGE = (ROOT / "docs" / "admin-api.md").read_text(encoding="utf-8")
REASONS = [failure.reason for failure in subclasses(ProxyError)]

PARTS = ("Means.", "Look at.", "Change.", "Do not")


def _sections(level: str) -> dict[str, str]:
    """Heading → text, of the headings of one level."""
    parts = re.split(rf"^{level} (.*)$", PAGE, flags=re.MULTILINE)[1:]
    texts = [re.split(r"^#+ ", text, maxsplit=1, flags=re.MULTILINE)[0] for text in parts[1::2]]
    return dict(zip(parts[::2], texts, strict=True))


SECTIONS = _sections("###")
SYMPTOMS = [name for name in _sections("##") if f"(#{name.lower().replace(' ', '-')})" in PAGE]


def test_there_is_a_section_for_every_reason_and_none_without_one() -> None:
    assert sorted(SECTIONS) == sorted(REASONS)


@pytest.mark.parametrize("reason", SECTIONS)
def test_a_section_says_what_it_means_where_to_look_what_to_change_and_what_not_to_do(
    reason: str,
) -> None:
    text = SECTIONS[reason]
    begun = [word for word in re.findall(r"^\*\*([^*]+)\*\*", text, re.MULTILINE) if word in PARTS]
    assert begun == list(PARTS)
    where = text.partition("**Look at.**")[2].partition("**Change.**")[0]
    assert re.search(r"^```sh\n\S", where, re.MULTILINE), "a command to begin with"


def test_the_table_of_contents_has_them_all() -> None:
    contents = PAGE.partition("\n## ")[0]
    linked = re.findall(r"\[([^\]]+)\]\(#([\w-]+)\)", contents)
    assert {anchor for _, anchor in linked} >= set(REASONS)
    assert len(SYMPTOMS) >= 6


def test_the_table_of_refused_retries_has_every_why() -> None:
    text = _sections("##")["Retries do not help"]
    told = re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE)
    assert told == [why.value for why in StopReason]


def _words() -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", PAGE))


def test_the_keys_that_it_names_exist() -> None:
    keys = set(reference.rows())
    keys |= {key.removeprefix("policies.NAME.") for key in keys}
    keys |= {key.replace(".NAME.", ".app.", 1) for key in keys}
    keys |= {key.replace("routes[]", "routes", 1) for key in keys}
    keys |= {key.rpartition(".")[0] for key in keys}  # a group of keys, such as retry.budget
    first = {key.partition(".")[0] for key in keys}
    named = {word for word in _words() if re.fullmatch(r"[a-z_]+(\.\w+)+", word)}
    named = {word for word in named if word.partition(".")[0] in first} - DOCUMENT_MEMBERS
    assert len(named) > 40
    assert named <= keys, named - keys


DOCUMENT_MEMBERS = {"access.log", "config.last_reload"}
"""They look like keys and are not."""


def test_the_metrics_that_it_names_exist() -> None:
    store: Any = SimpleNamespace(stats=StoreStats(), full=False, failure="")
    registry = registry_of(
        FakeGateway(),
        FakeLifecycle(
            deliveries=SimpleNamespace(left=0, figures=list),
            outbox_tables=SimpleNamespace(ready=dict, figures=list),
            store=store,
        ),
        [],
        Tracing(lambda line: None, Transitions()),
        SimpleNamespace(dropped=0),
    )
    families = {family.name for family in registry.collect()}
    named = set(re.findall(r"\b(proxy_[a-z_]+[a-z])\b", PAGE))
    assert len(named) > 10
    for name in named:
        assert any(family.startswith(name.removesuffix("_total")) for family in families), name


def test_the_endpoints_that_it_names_exist() -> None:
    named = {word for word in _words() if re.fullmatch(r"/[a-z-]+", word)}
    named |= set(re.findall(r"127\.0\.0\.1:7072(/[a-z-]+)", PAGE))
    told = set(re.findall(r"^\| `(?:GET|POST) (/[a-z-]*)", ADMIN_PAGE, re.MULTILINE))
    assert len(named) > 5
    assert named <= told, named - told
