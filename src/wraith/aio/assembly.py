"""One node with its sockets, out of what this process has: randomness, clock, ML-KEM, tracer.

``wraith.listen``, ``wraith.connect``, the file commands and the doctor all begin here. What drives
the node is ``running``, and what its services' events mean is their shells' business.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from wraith.abc import Kem, Tracer
from wraith.aio.argument_kinds import check_identity
from wraith.aio.carriers.select import RoadOpener
from wraith.aio.clock import SystemClock
from wraith.aio.entropy import OsRng
from wraith.aio.links import LinkListener, Links
from wraith.aio.path_keys import PathKeys
from wraith.aio.ports import bind_preferred
from wraith.aio.road_choice import Reached, RoadChoice, WebPlace
from wraith.aio.tracing import make_tracer
from wraith.aio.transports.datagram_endpoint import bind_quic, take_sockets
from wraith.aio.transports.forwarded import ListedProxies
from wraith.aio.transports.listening import listening_sockets
from wraith.aio.transports.local import GivenSockets, bound_already
from wraith.aio.transports.routes import is_loopback
from wraith.aio.transports.socket_set import SocketSet
from wraith.config import EndpointConfig
from wraith.connection.endpoint import Endpoint
from wraith.connection.handshake.endpoint_keys import EndpointKeys
from wraith.crypto.ed25519 import Identity
from wraith.crypto.mlkem import MlKem768
from wraith.crypto.x25519 import X25519Key
from wraith.errors import ConfigError
from wraith.node.node import Node
from wraith.types import ANY_ADDRESS, Address, Carrier


@dataclass(frozen=True, slots=True)
class BoundNode:
    """A node that nobody drives yet, with its sockets and links. ``rng`` is the one it draws from.
    ``paths``: which paths of WebSocket count. ``reached``: on what others find it."""

    node: Node
    sockets: SocketSet
    links: Links
    paths: PathKeys
    reached: Reached
    rng: OsRng
    tracer: Tracer


async def bind_node(
    *,
    config: EndpointConfig,
    identity: Identity | None = None,
    local: Address = ANY_ADDRESS,
    preferred_port: int = 0,
    sock: GivenSockets | None = None,
    sockets: SocketSet | None = None,
    kem: Kem | None = None,
    choice: RoadChoice | None = None,
) -> BoundNode:
    """Binds sockets and makes the node, without services; nothing is sent or answered before it is
    driven.

    Args:
        identity: a fresh one when ``None``.
        local: the address to bind; its port 0 takes any.
        preferred_port: with port 0 in ``local``, taken if it is free.
        sock: bound already; taken over, in place of binding ``local``.
        sockets: the same, ready for a node (``ports.py``); closed if this raises.
        choice: which roads it may take; UDP alone without one.

    Raises:
        TransportError: the address cannot be bound.
        ConfigError: ``kem`` is one that only simulations may use; ``sock`` is no bound UDP socket,
            or ``identity`` none.
    """
    if getattr(kem, "insecure", False):
        raise ConfigError("kem", getattr(kem, "name", kem), "a KEM that keeps secrets")
    check_identity(identity)
    choice = choice or RoadChoice()
    rng, tracer = OsRng(), make_tracer()
    if sock is not None:
        sockets = await take_sockets(bound_already(sock))
        await _bind_beside(sockets, choice)
    elif sockets is None:
        sockets = await bind_preferred(local, preferred_port, choice)
    now = asyncio.get_running_loop().time()
    try:
        endpoint = Endpoint(
            config=config,
            keys=EndpointKeys(identity or Identity.generate(rng), X25519Key.generate(rng)),
            rng=rng,
            clock=SystemClock(),
            kem=kem or MlKem768(),
            tracer=tracer,
            listening=True,
            now=now,
        )
        quic = await _quic_listener(sockets)
    except BaseException:
        sockets.close()
        raise
    node = Node(endpoint, now=now)
    node.choose_roads = choice.roads
    endpoint.choose_roads = choice.usable
    links = Links(node, rng, RoadOpener())
    sockets.is_mute = not choice.uses_udp
    reached = choice.reached(sockets)
    if reached.tcp:
        from wraith.aio.transports.tcp_listener import TcpListener  # who only dials needs none

        links.add(TcpListener(sockets.tcp))
        sockets.tcp = []
    if quic is not None:
        links.add(quic)
        sockets.quic = None
    paths = PathKeys(SystemClock())
    if choice.web is not None:
        _listen_to_web(sockets, choice.web, links, paths)
    return BoundNode(node, sockets, links, paths, reached, rng, tracer)


async def _bind_beside(sockets: SocketSet, choice: RoadChoice) -> None:
    """What ``choice`` listens on beside sockets that somebody else has bound."""
    try:
        if choice.web is not None:
            sockets.web = listening_sockets(choice.web.local)
        if Carrier.QUIC in choice.listens:
            sockets.quic = await bind_quic(sockets, sockets.locals[0], with_udp=choice.uses_udp)
    except BaseException:
        sockets.close()
        raise


async def _quic_listener(sockets: SocketSet) -> LinkListener | None:
    if sockets.quic is None:
        return None
    from wraith.aio.carriers import quic  # who has no such port loads no library for it

    await quic.load()
    return quic.listener_at(sockets.quic)


def _listen_to_web(sockets: SocketSet, place: WebPlace, links: Links, paths: PathKeys) -> None:
    from wraith.aio.transports.websocket_listener import WebSocketListener

    # Whoever is on this host may say for whom it speaks: it is the web server that stands before.
    behind = ListedProxies(("127.0.0.0/8", "::1") if is_loopback(place.local) else ())
    for sock in sockets.web:
        listener = WebSocketListener(
            sock, prefix=place.prefix, accepts_token=paths.accepts, proxies=behind
        )
        links.add(listener)
    sockets.web = []
