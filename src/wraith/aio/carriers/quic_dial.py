"""Links over QUIC, dialled: from an address to an open link.

Each link has a host, a UDP port and a fresh identity of its own, so nothing ties two links of one
node together, and nothing of them stays. Whoever answers is as good as anybody else: the carrier
authenticates nobody.

Spec: docs/spec/carriers.md [CA-80, CA-83].
"""

from __future__ import annotations

import asyncio
import errno
from typing import Final

from wraith.abc import NullTracer
from wraith.aio.carriers.quic_link import PROTOCOL, QuicSocket, configuration
from wraith.aio.entropy import OsRng
from wraith.aio.libp2p import Libp2pHost
from wraith.aio.libp2p.protocols import negotiate_out
from wraith.aio.libp2p.sockets import Libp2pSockets
from wraith.aio.transports.base import OpenFailed
from wraith.aio.transports.datagram_endpoint import bind_sockets
from wraith.aio.transports.doorstep import Doorstep
from wraith.aio.transports.routes import has_route
from wraith.connection.links.link import StreamLink
from wraith.connection.roads.reasons import RoadFailure, RoadReason
from wraith.crypto.ed25519 import Identity
from wraith.errors import (
    ConnectFailed,
    RemoteProtocolError,
    StreamReset,
    TransportError,
    WraithError,
)
from wraith.libp2p.quic import load_backend
from wraith.libp2p.tls.alerts import TlsAlert
from wraith.types import Address, Carrier

_ICMP: Final = {
    errno.ECONNREFUSED: RoadReason.PORT_UNREACHABLE,
    errno.EHOSTUNREACH: RoadReason.UNREACHABLE,
    errno.ENETUNREACH: RoadReason.UNREACHABLE,
}


async def dial(
    address: Address,
    link: StreamLink,
    number: int,
    *,
    timeout_s: float,
    doorstep: Doorstep | None,
    local: Address,
    backend: str,
) -> QuicSocket:
    """As ``quic.open_link``."""
    load_backend(backend)
    if not has_route(address):
        raise OpenFailed(RoadFailure(RoadReason.UNREACHABLE))
    opening = _Opening(await _bind(local), address, backend)
    try:
        async with asyncio.timeout(timeout_s):
            return await opening.run(link, number, timeout_s, doorstep)
    except (WraithError, TimeoutError) as exc:
        opening.host.close_flushed()
        raise OpenFailed(opening.failure_of(exc)) from None
    except BaseException:
        opening.host.close_flushed()
        raise


async def _bind(local: Address) -> Libp2pSockets:
    """Sockets at ``local``, or on every interface. Raises ``OpenFailed``."""
    try:
        return Libp2pSockets((await bind_sockets(local)).sockets)
    except TransportError as exc:
        cause = exc.__cause__
        detail = cause.strerror if isinstance(cause, OSError) else None
        raise OpenFailed(RoadFailure(RoadReason.UNREACHABLE, detail)) from None


def make_host(sockets: Libp2pSockets, backend: str, *, is_listening: bool) -> Libp2pHost:
    """A host of carriers, with an identity that nobody has seen, not started."""
    return Libp2pHost(
        Identity.generate(OsRng()),
        configuration(backend),
        sockets,
        listening=is_listening,
        agent="",
        tracer=NullTracer(),
    )


class _Opening:
    """One try."""

    def __init__(self, sockets: Libp2pSockets, address: Address, backend: str) -> None:
        self.host = make_host(sockets, backend, is_listening=False)
        self._sockets = sockets
        self._address = address
        self._is_connected = False
        #: ICMP says that nobody is there.
        self._refused: RoadReason | None = None

    async def run(
        self, link: StreamLink, number: int, timeout_s: float, doorstep: Doorstep | None
    ) -> QuicSocket:
        host = self.host
        host.start()
        self._sockets.tell_errors(self._on_icmp)
        connection = await host.dial_anybody(self._address, timeout_s=timeout_s)
        self._sockets.tell_errors(None)
        self._is_connected = True
        await connection.wait_stream_credit()
        stream = connection.open_raw_stream()
        await negotiate_out(stream, (PROTOCOL,))
        path = host.machine.path_to(self._address)._replace(carrier=Carrier.QUIC, link=number)
        loop = asyncio.get_running_loop()
        return QuicSocket(loop, connection, stream, link, path, doorstep, host.close_flushed)

    def _on_icmp(self, address: Address, number: int) -> None:
        reason = _ICMP.get(number)
        if reason is not None and address == self._address:
            self._refused = reason
            self.host.fail_dials(ConnectFailed(reason.value))

    def failure_of(self, exc: Exception) -> RoadFailure:
        """What was seen."""
        if self._refused is not None:
            return RoadFailure(self._refused)
        match exc:
            case TlsAlert():
                return RoadFailure(RoadReason.TLS_ALERT, exc.alert.word)
            case RemoteProtocolError() | StreamReset():
                return RoadFailure(RoadReason.NOT_UPGRADED)
            case TimeoutError():
                silent = RoadReason.ACCEPTED_SILENT if self._is_connected else RoadReason.UDP_SILENT
                return RoadFailure(silent)
            case ConnectFailed():  # the peer's alert
                return RoadFailure(RoadReason.TLS_ALERT)
            case _:
                ended = RoadReason.RESET_AT_PREFACE if self._is_connected else RoadReason.REFUSED
                return RoadFailure(ended)
