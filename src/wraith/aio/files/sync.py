"""``send`` and ``receive`` for programs without asyncio: every call blocks.

How the calls share one event loop says ``aio/blocking.py``.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence, Set
from types import TracebackType
from typing import Any, Final, Literal, TypeVar

from wraith.aio.blocking import awaited, wait
from wraith.aio.files import receiving, sending
from wraith.aio.files.calls import StrPath
from wraith.aio.files.events import DoneEvent, Event, OfferEvent
from wraith.aio.files.receiving import Answer, OnExists
from wraith.aio.files.send import send as offer
from wraith.aio.transports.local import LocalAddress
from wraith.config import EndpointConfig
from wraith.crypto.ed25519 import Identity
from wraith.types import PeerKey, SuiteId

T = TypeVar("T")

END_S: Final = 15.0
"""So long an interrupted call waits for its end in good order."""

Accept = Literal[True] | Set[PeerKey] | Callable[[OfferEvent], bool | Answer]
"""As in ``wraith.receive``, with a plain function."""


def _wait(coroutine: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
    """As ``wait``, and interrupted it returns when what it waited for has ended in good order."""
    ended = threading.Event()

    async def told() -> T:
        try:
            return await coroutine
        finally:
            ended.set()

    try:
        return wait(told(), timeout_s)
    except (KeyboardInterrupt, TimeoutError):
        ended.wait(END_S)
        raise


class Sending:
    """A blocking offer; see ``wraith.Sending`` for what each method means."""

    def __init__(self, sending: sending.Sending) -> None:
        self._sending = sending

    def __repr__(self) -> str:
        return repr(self._sending)

    @property
    def code(self) -> str:
        """The code for the other side. It is a secret."""
        return self._sending.code

    @property
    def is_done(self) -> bool:
        """A receiver has everything."""
        return self._sending.is_done

    def __iter__(self) -> Iterator[Event]:
        while True:
            try:
                yield wait(self._sending.__anext__())
            except StopAsyncIteration:
                return

    def done(self, *, timeout_s: float | None = None) -> DoneEvent:
        """Blocks until a receiver has everything."""
        return wait(self._sending.done(), timeout_s)

    def close(self) -> None:
        """Ends it: a receiver is told and keeps what it has."""
        wait(self._sending.close())

    def __enter__(self) -> Sending:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def send(
    paths: StrPath | Iterable[StrPath] = (),
    *,
    text: str | None = None,
    to: str | None = None,
    allow: Iterable[PeerKey] | None = None,
    keep: bool = False,
    new_code: bool = False,
    exclude: str | Iterable[str] = (),
    skip_unreadable: bool = False,
    limit_bytes_per_s: float | None = None,
    wait_s: float | None = None,
    connect_timeout_s: float = 30.0,
    on_event: Callable[[Event], None] | None = None,
    identity: Identity | None = None,
    require_pq: bool = True,
    suites: tuple[SuiteId, ...] | None = None,
    config: EndpointConfig | None = None,
    local: LocalAddress | None = None,
    carriers: Sequence[str] | None = None,
    proxy: str = "auto",
    ws: str | None = None,
    ws_listen: LocalAddress | None = None,
    state: StrPath | None = None,
) -> Sending:
    """As ``wraith.send``, blocking. ``on_event`` is called in the thread ``wraith-loop``."""
    opening = offer(
        paths,
        text=text,
        to=to,
        allow=allow,
        keep=keep,
        new_code=new_code,
        exclude=exclude,
        skip_unreadable=skip_unreadable,
        limit_bytes_per_s=limit_bytes_per_s,
        wait_s=wait_s,
        connect_timeout_s=connect_timeout_s,
        on_event=on_event,
        identity=identity,
        require_pq=require_pq,
        suites=suites,
        config=config,
        local=local,
        carriers=carriers,
        proxy=proxy,
        ws=ws,
        ws_listen=ws_listen,
        state=state,
    )
    return Sending(_wait(awaited(opening)))


def receive(
    code: str,
    out: StrPath,
    *,
    accept: Accept,
    on_exists: OnExists = "refuse",
    verify: bool | None = None,
    wait_s: float | None = 600.0,
    connect_timeout_s: float = 30.0,
    on_event: Callable[[Event], None] | None = None,
    identity: Identity | None = None,
    require_pq: bool = True,
    suites: tuple[SuiteId, ...] | None = None,
    config: EndpointConfig | None = None,
    local: LocalAddress | None = None,
    carriers: Sequence[str] | None = None,
    proxy: str = "auto",
    state: StrPath | None = None,
    timeout_s: float | None = None,
) -> DoneEvent:
    """As ``wraith.receive``, blocking. ``accept`` may be a plain function, which is called in a
    thread of its own and may block; ``on_event`` is called in the thread ``wraith-loop``. Ctrl-C
    and ``timeout_s`` end it as a cancellation does: the same call goes on where it stopped."""
    return _wait(
        receiving.receive(
            code,
            out,
            accept=_awaitable(accept) if callable(accept) else accept,
            on_exists=on_exists,
            verify=verify,
            wait_s=wait_s,
            connect_timeout_s=connect_timeout_s,
            on_event=on_event,
            identity=identity,
            require_pq=require_pq,
            suites=suites,
            config=config,
            local=local,
            carriers=carriers,
            proxy=proxy,
            state=state,
        ),
        timeout_s,
    )


def _awaitable(
    accept: Callable[[OfferEvent], bool | Answer],
) -> Callable[[OfferEvent], Awaitable[bool | Answer]]:
    async def ask(offer: OfferEvent) -> bool | Answer:
        return await asyncio.to_thread(accept, offer)

    return ask
