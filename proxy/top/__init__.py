"""`resilience-proxy top`: a running proxy in the terminal, live, over its admin API.

    watcher (a thread: /status, /recent) ──▶ looks ──▶ rates ──▶ sections ──▶ picture
                                    keyboard ──▶ live (a terminal) or plain (anything else)

It counts nothing of its own in the proxy: rates and percentiles are the difference between two
looks at counters that the proxy keeps anyway. What it needs (rich) is imported when it runs.
"""


def run(url: str, interval: float = 1.0, iterations: int | None = None) -> int:
    """Show the proxy whose admin address is `url`; the exit status.

    Live on a terminal, looking every `interval` seconds, until Q or Ctrl-C: 0. `iterations` times
    as plain text where that is given, once where standard output is no terminal: 0, or 1 if the
    proxy did not answer the last time.
    """
    import os
    import sys

    from rich.console import Console

    from proxy.top.live import live
    from proxy.top.plain import WIDTH, print_looks

    # Without TERM, as in some containers, it is taken for one of the usual kind.
    on_terminal = sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
    if iterations is None and on_terminal:
        live(url, interval, Console(highlight=False))
        return 0
    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else WIDTH
    console = Console(highlight=False, width=width)
    return 0 if print_looks(url, interval, iterations or 1, console) else 1
