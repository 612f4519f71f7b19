"""Something that is being opened: ``await`` it for the thing, or use it in ``async with``."""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from wraith.errors import LocalProtocolError

T = TypeVar("T", bound=AbstractAsyncContextManager[Any])


def check_loop(words: str) -> None:
    """Returns where a loop of asyncio runs; ``words`` name the call that needs it.

    Raises:
        LocalProtocolError: none runs here: no loop at all, or trio's.
    """
    import asyncio  # who runs a loop has it

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise LocalProtocolError(
            f"{words} needs a running asyncio loop",
            hint="wraith runs on asyncio (with uvloop and under anyio too) and not on trio; "
            "threads without a loop use wraith.sync",
        ) from None


class Opening(Generic[T]):
    """``thing = await opening`` or ``async with opening as thing``; nothing starts before that.

    Leaving the ``async with`` leaves the thing's own context. Use it once. One that was never used
    is told by a ``ResourceWarning``, as a file that was never closed is.
    """

    __slots__ = ("_is_used", "_open", "_thing", "_words")

    def __init__(self, open_: Callable[[], Awaitable[T]], words: str = "this call") -> None:
        """``words`` name the call that made it, for people."""
        self._words = words
        self._is_used = False
        self._open = open_
        self._thing: T | None = None

    def __repr__(self) -> str:
        return f"<{self._words}, {'used' if self._is_used else 'not awaited yet'}>"

    if not TYPE_CHECKING:  # else no misspelt name would be found

        def __getattr__(self, name):
            if name.startswith("_"):
                raise AttributeError(name)
            raise AttributeError(
                f"{self._words} is not open yet and has no {name!r}: await it, or use async with"
            )

    def __del__(self) -> None:
        if not getattr(self, "_is_used", True):
            warnings.warn(
                f"{self._words} was never awaited: nothing was opened",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )

    def __enter__(self) -> NoReturn:
        self._is_used = True
        raise TypeError(f"{self._words} is asynchronous: use async with, or wraith.sync")

    def __exit__(self, *_: object) -> None:
        """Never reached: ``with`` asks for it before it enters."""

    def _begin(self) -> Awaitable[T]:
        if self._is_used:
            raise LocalProtocolError(f"{self._words} can be awaited once: call it again")
        self._is_used = True
        check_loop(self._words)
        return self._open()

    def __await__(self) -> Generator[Any, None, T]:
        return self._begin().__await__()

    async def __aenter__(self) -> T:
        self._thing = await self._begin()
        await self._thing.__aenter__()
        return self._thing

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        assert self._thing is not None
        return await self._thing.__aexit__(exc_type, exc, traceback)
