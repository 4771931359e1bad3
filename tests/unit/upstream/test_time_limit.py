"""A task's time limit, which is judged after what had arrived was read."""

import asyncio
import gc
import socket
import time
import weakref

import pytest
import uvloop

from proxy.upstream.time_limit import TimeLimit


def run(coroutine):
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coroutine)


def test_it_ends_the_wait():
    async def waits():
        limit = TimeLimit(asyncio.get_running_loop(), 0.02)
        with pytest.raises(TimeoutError), limit:
            await asyncio.sleep(10)
        return limit.stood_still

    assert run(waits()) is False


def test_what_is_done_in_time_is_left_alone():
    async def works():
        with TimeLimit(asyncio.get_running_loop(), 0.05):
            await asyncio.sleep(0)
        await asyncio.sleep(0.06)
        return "done"

    assert run(works()) == "done"


def test_another_ones_cancellation_stays_that():
    async def cancelled():
        with TimeLimit(asyncio.get_running_loop(), 10):
            asyncio.current_task().cancel()
            await asyncio.sleep(1)

    with pytest.raises(asyncio.CancelledError):
        run(cancelled())


def test_what_had_arrived_counts_although_the_loop_stood_still():
    async def reads():
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)

            def stand_still():
                theirs.send(b"in time")
                time.sleep(0.1)

            with TimeLimit(loop, 0.05):
                loop.call_soon(stand_still)
                return await loop.sock_recv(ours, 100)

    assert run(reads()) == b"in time"


def test_what_is_missed_in_a_standstill_is_told():
    async def misses():
        loop = asyncio.get_running_loop()
        limit = TimeLimit(loop, 0.02)
        try:
            with limit:
                loop.call_soon(time.sleep, 0.35)
                await asyncio.sleep(10)
        except TimeoutError:
            return limit.stood_still

    assert run(misses()) is True


def test_a_task_that_it_ends_is_not_kept_by_its_own_error():
    async def ends():
        loop = asyncio.get_running_loop()

        async def limited():
            with TimeLimit(loop, 0.01):
                await asyncio.sleep(10)

        task = loop.create_task(limited())
        await asyncio.wait([task])
        assert isinstance(task.exception(), TimeoutError)
        kept = weakref.ref(task)
        del task
        await asyncio.sleep(0)
        return kept() is not None

    gc.disable()
    try:
        assert run(ends()) is False
    finally:
        gc.enable()
