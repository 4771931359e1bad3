"""Runs calls that may block for long, each in its own thread.

`loop.run_in_executor` is unsuitable: uvloop's getaddrinfo and libuv's files share four threads, the
default executor has a few dozen, and a process waits for all of them before it exits. These threads
are daemons: the exit of the process does not wait for them.
"""

import _thread
import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from proxy.upstream.shortages import NoThread

T = TypeVar("T")


def in_thread(call: Callable[[], T]) -> "asyncio.Future[T]":
    """The result of `call`. Raises NoThread if no thread can be started.

    If the caller is cancelled, the thread ends by itself later.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    try:
        _thread.start_new_thread(_run, (loop, future, call))
    except RuntimeError as error:
        raise NoThread(*error.args) from error
    return future


def _run(
    loop: asyncio.AbstractEventLoop, future: "asyncio.Future[T]", call: Callable[[], T]
) -> None:
    try:
        done = partial(_succeed, future, call())
    except (OSError, ValueError) as error:
        # An answer like any. Its frames refer to the future, and that to the error: without them
        # nothing needs the cycle collector.
        done = partial(_fail, future, error.with_traceback(None))
    except BaseException as error:  # noqa: BLE001 - any exception belongs to the future
        done = partial(_fail, future, error)
    try:
        loop.call_soon_threadsafe(done)
    except RuntimeError:
        return  # the loop is closed: nothing waits any more


def _succeed(future: "asyncio.Future[T]", result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: "asyncio.Future[T]", error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
