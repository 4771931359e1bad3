"""docs/balancing.md has every word of `load_balancing`."""

import re

from documents.blocks import ROOT
from proxy.config.model import LoadBalancing

PAGE = (ROOT / "docs" / "balancing.md").read_text(encoding="utf-8")


def test_the_table_has_every_balancer() -> None:
    _, _, after = PAGE.partition("| `load_balancing` | an attempt goes to |")
    table, _, _ = after.partition("\n\n")
    words = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert words == [one.value for one in LoadBalancing]
