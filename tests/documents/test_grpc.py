"""docs/grpc.md lists every reason with the status of its class."""

import re

from documents.blocks import ROOT
from proxy.errors import subclasses
from proxy.grpc_status import NAMES, of_http_answer, of_http_response

PAGE = (ROOT / "docs" / "grpc.md").read_text(encoding="utf-8")


def test_every_reason_is_told_once_and_right() -> None:
    rows = re.findall(r"^\| ((?:`[a-z-]+`(?:, )?)+) \| ([A-Z_]+)", PAGE, re.MULTILINE)
    told = [(reason, code) for reasons, code in rows for reason in re.findall(r"[a-z-]+", reasons)]
    assert sorted(told) == sorted((one.reason, NAMES[one.grpc]) for one in subclasses())


def test_the_statuses_of_fixed_answers() -> None:
    told = re.findall(r"\b(\d{3})\s+([A-Z_]{5,})", PAGE)
    assert len(told) >= 11
    for status, name in told:
        assert NAMES[of_http_answer(int(status))] == name, status


def test_the_statuses_of_http_errors() -> None:
    (row,) = re.findall(r"assigns to it \(([^)]*)\)", PAGE)
    told = {"401": "UNAUTHENTICATED", "404": "UNIMPLEMENTED", "429": "UNAVAILABLE"}
    for status, name in told.items():
        assert status in row
        assert NAMES[of_http_response(int(status))] == name
