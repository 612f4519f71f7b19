"""Something that is being opened: ``await`` it for the thing, or use it in ``async with``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Generic, TypeVar

T = TypeVar("T", bound=AbstractAsyncContextManager[Any])


class Opening(Generic[T]):
    """``thing = await opening`` or ``async with opening as thing``; nothing starts before that.

    Leaving the ``async with`` leaves the thing's own context. Use it once.
    """

    __slots__ = ("_open", "_thing")

    def __init__(self, open_: Callable[[], Awaitable[T]]) -> None:
        self._open = open_
        self._thing: T | None = None

    def __await__(self) -> Generator[Any, None, T]:
        return self._open().__await__()

    async def __aenter__(self) -> T:
        self._thing = await self._open()
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
