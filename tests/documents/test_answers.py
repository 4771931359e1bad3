"""docs/answers.md lists every reason with the status and the error type of its class."""

import re

from documents.blocks import ROOT
from proxy.errors import ProxyError, subclasses

PAGE = (ROOT / "docs" / "answers.md").read_text(encoding="utf-8")

_ROW = re.compile(r"^\| `([a-z-]+)` \| (\d{3})[^|]* \| `([a-z_]+)`[^|]* \|", re.MULTILINE)


def test_every_reason_is_told_once_and_right() -> None:
    told = [(reason, int(status), error) for reason, status, error in _ROW.findall(PAGE)]
    assert sorted(told) == sorted(
        (failure.reason, failure.status, failure.proxy_error) for failure in subclasses(ProxyError)
    )
