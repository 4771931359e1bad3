"""docs/inject.md has every setting as in the code."""

from documents.settings import DOCUMENT, render


def test_the_table_is_what_the_code_says() -> None:
    page = DOCUMENT.read_text(encoding="utf-8")
    assert page == render(page), "run: python -m tests.documents.settings"
