"""Two live sessions over real loopback sockets in one event loop, for end-to-end tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from wraith.aio.sessions.dial import connect
from wraith.aio.sessions.listener import Listener, listen
from wraith.aio.sessions.session import Session
from wraith.config import EndpointConfig
from wraith.crypto.ed25519 import Identity
from wraith.types import PeerKey, SuiteId


@dataclass(frozen=True, slots=True)
class SessionPair:
    """Both ends of one session, and the listener that accepted it."""

    client: Session
    server: Session
    listener: Listener


@asynccontextmanager
async def session_pair(
    *,
    identity: Identity | None = None,
    allow: Iterable[PeerKey] | None = None,
    suites: tuple[SuiteId, ...] | None = None,
    require_pq: bool = True,
    config: EndpointConfig | None = None,
    client_config: EndpointConfig | None = None,
) -> AsyncIterator[SessionPair]:
    """A connected pair on 127.0.0.1; everything is closed on the way out.

    ``config`` is the listener's, and the client's too unless ``client_config`` is given.
    """
    async with listen(
        "127.0.0.1:0", allow=allow, suites=suites, require_pq=require_pq, config=config
    ) as listener:
        client = await connect(
            listener.code,
            identity=identity,
            suites=suites,
            require_pq=require_pq,
            config=client_config or config,
        )
        try:
            yield SessionPair(client, await listener.accept(), listener)
        finally:
            await client.close()
