"""`resilience-proxy top`: a running proxy in the terminal, live, over its admin API.

    watcher (a thread: /status, /recent) ──▶ looks ──▶ rates ──▶ sections ──▶ picture
                                    keyboard ──▶ live (a terminal) or plain (anything else)

The proxy counts nothing extra for it: rates and percentiles are differences between two samples of
counters that the proxy keeps anyway. Its dependency (rich) is imported when it runs.
"""


def run(
    url: str, interval: float = 1.0, iterations: int | None = None, *, as_json: bool = False
) -> int:
    """Show the proxy whose admin address is `url`; returns the exit status.

    On a terminal: live, a sample every `interval` seconds, until Q or Ctrl-C; status 0. As plain
    text, or as one JSON document a line: `iterations` times if given, once if standard output is
    not a terminal; status 0, or 1 if the proxy did not answer the last time.
    """
    import os
    import sys

    from rich.console import Console

    from proxy.top.live import live
    from proxy.top.plain import WIDTH, print_looks

    # Some containers have no TERM: assume an ordinary terminal.
    on_terminal = sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
    if iterations is None and on_terminal and not as_json:
        live(url, interval, Console(highlight=False))
        return 0
    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else WIDTH
    console = Console(highlight=False, width=width)
    return 0 if print_looks(url, interval, iterations or 1, console, as_json=as_json) else 1
