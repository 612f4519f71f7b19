"""One endpoint with its sockets, out of what this process has: randomness, clock, ML-KEM, tracer.

``wraith.listen``, ``wraith.connect``, the file commands and the doctor all begin here. What drives
the endpoint, and what its events mean, is the caller's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

from wraith.abc import Kem, Tracer
from wraith.aio.clock import SystemClock
from wraith.aio.disk.replay_files import ReplayFiles
from wraith.aio.entropy import OsRng
from wraith.aio.sockets.datagram_endpoint import bind_sockets
from wraith.aio.sockets.udp import SocketSet
from wraith.aio.tracing import make_tracer
from wraith.config import EndpointConfig
from wraith.connection.endpoint import Endpoint
from wraith.connection.handshake.endpoint_keys import AccessKey, EndpointKeys
from wraith.crypto.ed25519 import Identity
from wraith.crypto.mlkem import MlKem768
from wraith.crypto.x25519 import X25519Key
from wraith.errors import TransportError
from wraith.types import ANY_ADDRESS, Address


@dataclass(frozen=True, slots=True)
class BoundEndpoint:
    """An endpoint that nobody drives yet, with its sockets. ``rng`` is the one it draws from."""

    machine: Endpoint
    sockets: SocketSet
    rng: OsRng
    tracer: Tracer


async def bind_endpoint(
    *,
    config: EndpointConfig,
    identity: Identity | None = None,
    access: tuple[AccessKey, ...] = (),
    replay_files: Mapping[bytes, ReplayFiles] | None = None,
    local: Address = ANY_ADDRESS,
    preferred_port: int = 0,
    kem: Kem | None = None,
) -> BoundEndpoint:
    """Binds sockets and makes the endpoint; nothing is sent or answered before it is driven.

    Args:
        identity: a fresh one when ``None``.
        access: the keys to listen with; none only dials.
        replay_files: for access keys (by their public half) what an earlier process recorded.
        local: the address to bind; its port 0 takes any.
        preferred_port: with port 0 in ``local``, taken if it is free.

    Raises:
        TransportError: the address cannot be bound.
    """
    rng, tracer = OsRng(), make_tracer()
    sockets = await _bind(local, preferred_port)
    now = asyncio.get_running_loop().time()
    try:
        machine = Endpoint(
            config=config,
            keys=EndpointKeys(identity or Identity.generate(rng), X25519Key.generate(rng), access),
            rng=rng,
            clock=SystemClock(),
            kem=kem or MlKem768(),
            tracer=tracer,
            listening=bool(access),
            now=now,
        )
        for ak_public, files in (replay_files or {}).items():
            # Without this the machine refuses what may be a replay: right for incomplete records.
            if not files.history.complete_after:
                machine.load_replay_records(ak_public, files.history.records, now)
    except BaseException:
        sockets.close()
        raise
    return BoundEndpoint(machine, sockets, rng, tracer)


async def _bind(local: Address, preferred_port: int) -> SocketSet:
    if preferred_port and not local.port:
        with contextlib.suppress(TransportError):
            return await bind_sockets(local._replace(port=preferred_port))
    return await bind_sockets(local)
