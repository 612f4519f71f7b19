"""Which carrier opens which road.

A carrier that needs a library loads it with its first road. Spec: docs/spec/carriers.md.
"""

from __future__ import annotations

import ssl

from wraith.aio.transports import tcp
from wraith.aio.transports.base import OpenFailed, StreamSocket
from wraith.aio.transports.doorstep import Doorstep
from wraith.aio.transports.tcp import CONNECT_S
from wraith.connection.links.wishes import OpenRoad
from wraith.connection.roads.reasons import RoadFailure, RoadReason
from wraith.types import Carrier


class RoadOpener:
    """Opens the roads of one node.

    Args:
        tls: what ``wss`` servers are checked with; the system's trust store without one.
        timeout_s: for each road.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None, timeout_s: float = CONNECT_S) -> None:
        self._tls = tls
        self._timeout_s = timeout_s

    async def __call__(self, wish: OpenRoad, number: int, doorstep: Doorstep) -> StreamSocket:
        """Opens ``wish`` as link ``number``.

        Raises:
            OpenFailed: it cannot be had, with the reason.
            MissingExtra: this installation lacks what the road needs.
        """
        road = wish.road
        if road.carrier is Carrier.TCP:
            return await tcp.open_link(
                road, wish.link, number, timeout_s=self._timeout_s, doorstep=doorstep
            )
        if road.carrier is Carrier.WS:
            return await self._open_websocket(wish, number, doorstep)
        if road.carrier is Carrier.QUIC:
            return await self._open_quic(wish, number, doorstep)
        raise OpenFailed(RoadFailure(RoadReason.POLICY, f"no transport for {road.carrier.name}"))

    async def _open_websocket(
        self, wish: OpenRoad, number: int, doorstep: Doorstep
    ) -> StreamSocket:
        from wraith.aio.transports import websocket

        return await websocket.open_link(
            wish.road, wish.link, number, token=wish.token, tls=self._tls, doorstep=doorstep,
            timeout_s=self._timeout_s,
        )  # fmt: skip

    async def _open_quic(self, wish: OpenRoad, number: int, doorstep: Doorstep) -> StreamSocket:
        from wraith.aio.carriers import quic

        await quic.load()
        return await quic.open_link(
            wish.road, wish.link, number, doorstep=doorstep, timeout_s=self._timeout_s,
            backend=quic.best_backend(),
        )  # fmt: skip
