"""Links over QUIC: dialling them, and listening for them.

Needs the extra ``quic`` (or ``qh3``). The libp2p room cannot be imported without its library, so it
is imported here when the first link is opened or the first port is bound, and not before.

Spec: docs/spec/carriers.md [CA-80 to CA-85].
"""

from __future__ import annotations

import asyncio
import importlib.util
from typing import TYPE_CHECKING, Final

from wraith.aio.transports.doorstep import Doorstep
from wraith.connection.links.link import StreamLink
from wraith.types import ANY_ADDRESS, Address, Road

if TYPE_CHECKING:
    from wraith.aio.carriers.quic_link import QuicSocket
    from wraith.aio.carriers.quic_listener import QuicListener
    from wraith.aio.transports.socket_set import SocketSet

CONNECT_S: Final = 10.0
DEFAULT_BACKEND: Final = "aioquic"


async def load() -> None:
    """Loads what a link needs, in a thread: it takes half a second and more, and other roads are
    being tried meanwhile.

    Raises:
        MissingExtra: the backend's library is not installed.
    """
    await asyncio.to_thread(_load)


def _load() -> None:
    from wraith.aio.carriers import quic_listener as quic_listener
    from wraith.libp2p.quic import load_backend

    load_backend(best_backend())


def best_backend() -> str:
    """The one that a node takes: qh3, which is several times faster, where it is installed."""
    return "qh3" if importlib.util.find_spec("qh3") is not None else DEFAULT_BACKEND


async def open_link(
    road: Road,
    link: StreamLink,
    number: int,
    *,
    timeout_s: float = CONNECT_S,
    doorstep: Doorstep | None = None,
    local: Address = ANY_ADDRESS,
    backend: str = DEFAULT_BACKEND,
) -> QuicSocket:
    """Connects to the address of ``road``, which leads through no proxy.

    Args:
        link: the dialler's end. Its preface leaves with the first record, not before.
        number: of the link, unique in the endpoint.
        timeout_s: for everything: the handshake and the word on the protocol.
        doorstep: keeps the link when it discards.
        local: where to connect from; empty: the kernel chooses.
        backend: aioquic or qh3.

    Raises:
        OpenFailed: no link within ``timeout_s``, or a refusal, with the reason.
        ValueError: the road leads through a proxy, or has no address.
        MissingExtra: the backend's library is not installed.
    """
    if road.address is None or road.proxy is not None:
        raise ValueError("a road over QUIC has an address and no proxy")
    from wraith.aio.carriers.quic_dial import dial

    return await dial(
        road.address,
        link,
        number,
        timeout_s=timeout_s,
        doorstep=doorstep,
        local=local,
        backend=backend,
    )


def bind_listener(
    address: Address = ANY_ADDRESS, *, backend: str = DEFAULT_BACKEND
) -> QuicListener:
    """A listener at ``address``, or with an empty ``ip`` on every interface of both families; a
    family that the host does not have is no error. Nobody is answered until its ``start``.

    Raises:
        TransportError: the port is taken, or nothing could be bound.
        MissingExtra: the backend's library is not installed.
    """
    from wraith.aio.carriers.quic_listener import QuicListener

    return QuicListener.bind(address, backend)


def listener_at(sockets: SocketSet) -> QuicListener:
    """The same at ``sockets``, which it takes over, on the best backend; after ``load``."""
    from wraith.aio.carriers.quic_listener import QuicListener

    return QuicListener(sockets, best_backend())
