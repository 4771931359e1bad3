"""`resilience-proxy demo`: an order service with failing dependencies, with and without the proxy.

Its dependencies (rich, aiohttp) are imported when it runs, so that other commands start fast.
"""


def run(duration: float = 30.0, *, faults: bool = False, saga: bool = False) -> int:
    """Run the scene for `duration` seconds in this terminal; returns the exit status.

    With `faults` the dependencies work, and the proxy injects faults. With `saga` the order service
    is asynchronous, and the proxy is killed and started again.

    0 also after Ctrl-C, 2 for a duration that is too short, 1 if the proxy could not be started.
    Takes two or three seconds longer than `duration`.
    """
    if saga:
        from proxy.demo import saga_play

        return saga_play.play(duration)
    from proxy.demo.stage import play

    return play(duration, faults=faults)
