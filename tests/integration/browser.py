"""A real browser for tests of the page: Debian's chromium, driven by Playwright.

What the page says on its console, and every request that it makes, is kept and looked at in the
end: there may be no error, and nothing may go to anywhere but the proxy.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser; the test is skipped where there is none, or nothing to drive it with."""
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright (extra test-browser)")
    if CHROMIUM is None:
        pytest.skip("needs chromium (Debian's package of that name)")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """One page, opened at the proxy's admin address."""

    def __init__(self, browser: Any, port: int, **options: Any) -> None:
        self.origin = f"http://127.0.0.1:{port}"
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(8000)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def _on_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.said.append(message.text)

    def open(self) -> Any:
        """The page, once it shows the proxy's state."""
        self.page.goto(self.origin)
        self.page.locator("#link:has-text('Live')").wait_for()
        self.page.locator("#routes tbody tr").first.wait_for()
        return self.page

    def close(self) -> None:
        """Leave, and see that it was quiet and stayed at home."""
        self.context.close()
        assert self.said == []
        assert [url for url in self.asked if not url.startswith(self.origin)] == []
