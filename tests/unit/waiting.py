"""Waiting for what happens soon, in tests of things with a timer of their own."""

import asyncio
from collections.abc import Callable


async def eventually(condition: Callable[[], object], within: float = 3.0) -> None:
    """Return once `condition` holds; fail if it does not in that many seconds."""
    for _ in range(int(within / 0.005)):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"{condition} did not come true within {within} s")
