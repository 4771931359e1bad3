"""The page's files: who gets them, as what, and that nothing of them comes from elsewhere."""

import re
from importlib import resources
from pathlib import Path

import pytest
from unit.admin.asking import Admin

PAGE = Path(str(resources.files("proxy.admin").joinpath("page")))
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
OWN = sorted(file.name for file in PAGE.iterdir() if file.is_file())


async def test_a_browser_gets_the_page(admin: Admin) -> None:
    answer = await admin.ask("GET", "/", BROWSER)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["Vary"] == "Accept"
    assert answer.headers["Cache-Control"] == "no-store"


async def test_all_that_the_page_names_is_there(admin: Admin) -> None:
    page = (await admin.ask("GET", "/", BROWSER)).body
    named = re.findall(r'(?:src|href)="(/page/[^"]+)"', page)
    assert len(named) >= 6
    for path in named:
        assert (await admin.ask("GET", path)).status == 200


@pytest.mark.parametrize("name", [name for name in OWN if name.endswith(".js")])
async def test_modules_and_what_they_import(admin: Admin, name: str) -> None:
    answer = await admin.ask("GET", f"/page/{name}")
    assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
    imported = re.findall(r'from "\./([^"]+)"', answer.body)
    for other in imported:
        assert other in OWN


@pytest.mark.parametrize(
    "path",
    ["/page/none.js", "/page/", "/page/../api.py", "/page/%2e%2e/api.py", "/page/vendor",
     "/page/vendor/uPlot.LICENSE", "/page//etc/passwd"],
)  # fmt: skip
async def test_nothing_else_is_served(admin: Admin, path: str) -> None:
    answer = await admin.ask("GET", path)
    assert answer.status == 404
    assert answer.headers["Content-Type"].startswith("application/problem+json")


async def test_a_name_that_could_be_rebound_gets_nothing(admin: Admin) -> None:
    for path in ("/", "/page/app.js", "/events", "/history", "/recent"):
        assert (await admin.ask("GET", path, {"Host": "evil.test"} | BROWSER)).status == 403


async def test_a_page_of_another_origin_takes_no_place(admin: Admin) -> None:
    assert (await admin.ask("GET", "/events", {"Origin": "http://evil.test"})).status == 403


@pytest.mark.parametrize("name", OWN)
def test_no_markup_is_made_of_text_and_nothing_comes_from_elsewhere(name: str) -> None:
    text = (PAGE / name).read_text("utf-8")
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert word not in text
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text) == []
    assert "style=" not in text  # the policy would not have it


def test_the_library_comes_with_its_licence() -> None:
    vendor = PAGE / "vendor"
    assert {file.name for file in vendor.iterdir()} == {
        "uPlot.LICENSE",
        "uPlot.iife.min.js",
        "uPlot.min.css",
    }
    assert "Permission is hereby granted" in (vendor / "uPlot.LICENSE").read_text("utf-8")
