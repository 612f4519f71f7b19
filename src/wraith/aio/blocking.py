"""Blocking calls on one event loop of the process, for programs without asyncio.

One daemon thread, named ``wraith-loop``, runs one event loop for all blocking objects of the
process; it starts with the first call and lives until the process ends. Each call may be made
from any thread but that one. Ctrl-C interrupts the caller's wait and cancels what it waited for.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from wraith.errors import LocalProtocolError

T = TypeVar("T")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_loop_thread: threading.Thread | None = None


def running_loop() -> asyncio.AbstractEventLoop:
    """The shared loop, started on first use, and anew in a forked child."""
    global _loop, _loop_thread
    with _lock:
        if _loop is None or _loop_thread is None or not _loop_thread.is_alive():
            started = threading.Event()
            loop = asyncio.new_event_loop()

            def run() -> None:
                asyncio.set_event_loop(loop)
                loop.call_soon(started.set)
                loop.run_forever()

            _loop_thread = threading.Thread(target=run, name="wraith-loop", daemon=True)
            _loop_thread.start()
            started.wait()
            _loop = loop
        return _loop


def wait(coroutine: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
    """Runs ``coroutine`` in the loop's thread and waits for it. Interrupted, it is cancelled.

    Raises:
        LocalProtocolError: this is the loop's own thread.
        TimeoutError: it took longer than ``timeout_s``.
    """
    loop = running_loop()
    if threading.current_thread() is _loop_thread:
        coroutine.close()
        raise LocalProtocolError("a blocking call from the loop's own thread would never return")
    future: Future[T] = asyncio.run_coroutine_threadsafe(coroutine, loop)
    try:
        return future.result(timeout_s)
    except BaseException:
        future.cancel()
        raise


async def call(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """``function(...)`` in the loop's thread, where objects of that loop may be used."""
    return function(*args, **kwargs)


async def awaited(awaitable: Awaitable[T]) -> T:
    """``awaitable`` as a coroutine."""
    return await awaitable
