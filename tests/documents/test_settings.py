"""docs/inject.md tells every setting as the code has it."""

from documents.settings import DOCUMENT, render


def test_the_table_is_what_the_code_says() -> None:
    page = DOCUMENT.read_text(encoding="utf-8")
    assert page == render(page), "run: python -m tests.documents.settings"
