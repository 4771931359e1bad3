"""`resilience-proxy demo`: an order service in trouble, with the proxy and without, side by side.

What it needs (rich, aiohttp) is imported when it runs, so that the other commands stay light.
"""


def run(duration: float = 30.0) -> int:
    """Play the scene for `duration` seconds in this terminal; the exit status.

    0 also when the audience leaves early (Ctrl-C), 2 for a duration too short to show anything,
    1 when the proxy could not be started. Takes two or three seconds longer than `duration`.
    """
    from proxy.demo.stage import play

    return play(duration)
