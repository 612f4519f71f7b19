"""Which transport opens which road.

A carrier that needs a library loads it with its first road. Spec: docs/spec/carriers.md.
"""

from __future__ import annotations

import asyncio
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
            if road.proxy is None:
                return await tcp.open_link(
                    road, wish.link, number, timeout_s=self._timeout_s, doorstep=doorstep
                )
            from wraith.aio.transports.proxy import connect_through

            assert road.address is not None
            deadline = asyncio.get_running_loop().time() + self._timeout_s
            host = road.address.host
            sock = await connect_through(road.proxy, host, road.address.port, deadline=deadline)
            tcp.set_options(sock)
            return await tcp.link_over(sock, wish.link, number, doorstep=doorstep)
        if road.carrier is Carrier.WS:
            return await self._open_websocket(wish, number, doorstep)
        raise OpenFailed(RoadFailure(RoadReason.POLICY, f"no transport for {road.carrier.name}"))

    async def _open_websocket(
        self, wish: OpenRoad, number: int, doorstep: Doorstep
    ) -> StreamSocket:
        from wraith.aio.transports import websocket

        connect = None
        if (proxy := wish.road.proxy) is not None:
            from wraith.aio.transports.proxy import connect_through

            loop, timeout_s = asyncio.get_running_loop(), self._timeout_s

            async def connect(host: str, port: int):  # type: ignore[no-untyped-def]
                return await connect_through(proxy, host, port, deadline=loop.time() + timeout_s)

        return await websocket.open_link(
            wish.road, wish.link, number, token=wish.token, tls=self._tls, connect=connect,
            doorstep=doorstep, timeout_s=self._timeout_s,
        )  # fmt: skip
