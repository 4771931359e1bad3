import asyncio
import threading
import time

import pytest

from proxy.upstream.shortages import NoThread
from proxy.upstream.threads import in_thread


async def test_the_result_and_the_error_of_a_call():
    assert await in_thread(lambda: 5) == 5
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 / 0)


async def test_many_that_block_delay_no_other():
    gate = threading.Event()
    blocked = [in_thread(gate.wait) for _ in range(64)]
    began = time.monotonic()
    assert await in_thread(lambda: "at once") == "at once"
    assert time.monotonic() - began < 1
    gate.set()
    assert await asyncio.gather(*blocked) == [True] * 64


async def test_giving_up_leaves_the_thread_alone():
    gate, ended = threading.Event(), threading.Event()

    def call():
        gate.wait()
        ended.set()

    future = in_thread(call)
    future.cancel()
    gate.set()
    await asyncio.to_thread(ended.wait)
    await asyncio.sleep(0)
    assert future.cancelled()


def test_a_loop_that_is_closed_before_the_call_ends():
    gate, ended = threading.Event(), threading.Event()

    def call():
        gate.wait()
        ended.set()

    async def begin():
        in_thread(call)

    asyncio.run(begin())  # does not wait for it
    gate.set()
    assert ended.wait(5)


async def test_no_thread_can_be_started(monkeypatch):
    def fails(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("_thread.start_new_thread", fails)
    with pytest.raises(NoThread, match="can't start"):
        in_thread(lambda: 5)
