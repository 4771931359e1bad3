"""The page's files from the package, read at the first request."""

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path

from aiohttp import web

_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}

PAGE_HEADERS = {
    # Only files from this server, and no foreign frame around the page.
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "object-src 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Vary": "Accept",
}

INDEX = "index.html"


class PageFiles:
    """Keeps the files after the first read: about 120 KB."""

    def __init__(self) -> None:
        self._files: Mapping[str, tuple[bytes, str]] | None = None

    async def answer(self, name: str) -> web.Response:
        """The file with this name and directory. Raises HTTPNotFound."""
        if self._files is None:
            self._files = await asyncio.to_thread(_read_all)
        found = self._files.get(name)
        if found is None:
            raise web.HTTPNotFound
        content, content_type = found
        return web.Response(
            body=content, content_type=content_type, charset="utf-8", headers=PAGE_HEADERS
        )


def _read_all() -> dict[str, tuple[bytes, str]]:
    return dict(_walk(Path(__file__).with_name("page"), ""))


def _walk(directory: Path, prefix: str) -> Iterator[tuple[str, tuple[bytes, str]]]:
    for entry in directory.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
            continue
        _, dot, ending = entry.name.rpartition(".")
        content_type = _TYPES.get(dot + ending)
        if content_type is not None:
            yield prefix + entry.name, (entry.read_bytes(), content_type)
