"""Makes docs/images/top.svg: the view of `resilience-proxy top` of a running proxy.

python -m tests.documents.top_image [ADMIN-URL]      watches for ten seconds and writes it
"""

import re
import sys
import time
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from proxy.top.live import Session
from proxy.top.picture import picture
from proxy.top.watcher import look_once

IMAGE = Path(__file__).resolve().parents[2] / "docs" / "images" / "top.svg"
WIDTH, HEIGHT = 106, 41
SECONDS = 10

_FONTS = re.compile(r"@font-face \{\{.*?\}\}\s*", re.DOTALL)
FORMAT = _FONTS.sub("", CONSOLE_SVG_FORMAT).replace("Fira Code", "DejaVu Sans Mono, Menlo")
"""rich's format without external fonts."""


def take(url: str) -> None:
    session = Session(url)
    for number in range(SECONDS + 1):
        if number:
            time.sleep(1)
        session.see(look_once(url), time.monotonic())
    with open("/dev/null", "w") as nowhere:
        console = Console(
            file=nowhere, record=True, width=WIDTH, force_terminal=True, color_system="truecolor"
        )
        console.print(picture(session.view, time.monotonic(), WIDTH, HEIGHT))
    svg = console.export_svg(title="resilience-proxy top", code_format=FORMAT)
    IMAGE.write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n")


if __name__ == "__main__":
    take(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:7072")
