"""Between multiaddrs and UDP sockets: what to bind, where to dial, and changing ports under way.

Must not know the endpoint. Spec: libp2p-quic section 5.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

from wraith.abc import Tracer
from wraith.aio.transports.socket_set import SocketSet
from wraith.aio.transports.udp import EndTurn, PutAside, ReceiveBurst, UdpSocket
from wraith.errors import ConfigError, ConnectFailed, RemoteProtocolError
from wraith.libp2p.multiaddr import Multiaddr, literal_address
from wraith.types import Address


class Libp2pSockets(SocketSet):
    """A socket set whose sockets can be replaced while the driver runs (rebinding)."""

    def start(
        self,
        loop: asyncio.AbstractEventLoop,
        receive: ReceiveBurst,
        turn: EndTurn,
        put_aside: PutAside,
    ) -> None:
        self._started = (loop, receive, turn, put_aside)
        super().start(loop, receive, turn, put_aside)

    @property
    def addresses(self) -> list[Address]:
        """What the sockets are bound to."""
        return [each.local for each in self.sockets]

    def replace(self, fresh: SocketSet) -> None:
        """Takes over the sockets of ``fresh`` and closes the present ones."""
        old = list(self.sockets)
        self.sockets = fresh.sockets
        self._by_size = fresh._by_size
        if self._tell_refused_size is not None:
            self.tell_refused_size(self._tell_refused_size)
        super().start(*self._started)
        for each in old:
            each.close()


def parse_multiaddr(text: str) -> Multiaddr:
    """Parses what a user typed. Raises :class:`ConfigError`."""
    try:
        return Multiaddr.parse(text)
    except RemoteProtocolError as error:
        raise ConfigError(
            "multiaddr", text, f"/ip4/.../udp/.../quic-v1/p2p/...; {error}"
        ) from error


def _literal(multiaddr: Multiaddr) -> Address | None:
    try:
        return literal_address(multiaddr)
    except RemoteProtocolError as error:
        raise ConfigError(
            "multiaddr", str(multiaddr), "/ip4|ip6|dns/.../udp/.../quic-v1[/p2p/...]"
        ) from error


def bind(listen: Sequence[str | Multiaddr], tracer: Tracer | None) -> SocketSet:
    """Sockets for ``listen``, at most one per family; for every interface when it is empty.

    Raises:
        ConfigError: an address is not a literal one, or a second one of a family.
        TransportError: an address cannot be bound.
    """
    if not listen:
        return SocketSet.bind(tracer=tracer)
    sockets: list[UdpSocket] = []
    try:
        for each in listen:
            multiaddr = parse_multiaddr(each) if isinstance(each, str) else each
            address = _literal(multiaddr)
            if address is None:
                raise ConfigError("listen", str(multiaddr), "an address without a name to resolve")
            if any(len(address.ip) == (4 if s.family == socket.AF_INET else 16) for s in sockets):
                raise ConfigError("listen", str(multiaddr), "at most one address per family")
            sockets.append(UdpSocket.bind(address, tracer=tracer))
    except BaseException:
        for bound in sockets:
            bound.close()
        raise
    return SocketSet(list(sockets))


async def resolve(multiaddr: Multiaddr) -> Address:
    """The address behind ``multiaddr``; the first one that a name resolves to.

    Raises:
        ConfigError: it is no QUIC address.
        ConnectFailed: the name does not resolve.
    """
    address = _literal(multiaddr)
    if address is not None:
        return address
    family = socket.AF_UNSPEC
    for name, wanted in (("dns4", socket.AF_INET), ("dns6", socket.AF_INET6), ("dns", family)):
        host = multiaddr.value(name)
        if host is None:
            continue
        port = int(multiaddr.value("udp") or 0)
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                host, port, family=wanted, type=socket.SOCK_DGRAM
            )
        except OSError as error:
            raise ConnectFailed(f"cannot resolve {host}: {error}") from error
        kind, _, _, _, sockaddr = found[0]
        return Address(socket.inet_pton(kind, str(sockaddr[0]).partition("%")[0]), port)
    raise ConfigError("multiaddr", str(multiaddr), "a name or a literal address")
