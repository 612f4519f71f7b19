"""What a program sees of the roads of its session, and how it goes to another one."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from dataclasses import replace

import pytest

import wraith
from wraith.aio.transports.base import SHORT_BYTES_MAX
from wraith.aio.transports.tcp import TcpSocket
from wraith.testing.proxies import free_port
from wraith.types import Carrier

pytestmark = pytest.mark.asyncio

DEADLINE_S = 20.0


async def until_over(session: wraith.Session, carrier: str) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while session.carrier != carrier:
            await asyncio.sleep(0.01)


async def test_a_session_shows_its_roads_and_goes_to_another_without_losing_a_byte(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "wraith")
    async with (
        wraith.listen("127.0.0.1:0", carriers=("udp", "tcp")) as listener,
        wraith.connect(listener.code) as session,
    ):
        server = await listener.accept()
        udp, tcp = session.roads
        assert (udp.carrier, udp.state, udp.reason) == ("udp", "active", None)
        assert (tcp.carrier, tcp.address) == ("tcp", f"127.0.0.1:{listener.port}")
        assert session.stats().carrier is Carrier.UDP
        session.migrate(tcp)
        await until_over(session, "tcp")
        async with session.open_stream() as stream:
            await stream.write(b"over tcp")
        assert await (await server.accept_stream()).read_all() == b"over tcp"
        await until_over(server, "tcp")
        assert session.stats().carrier is Carrier.TCP
        assert [road.state for road in session.roads if road.carrier == "tcp"] == ["active"]
        assert [(road.carrier, road.state) for road in server.roads] == [("tcp", "active")]
    changed = [vars(r) for r in caplog.records if vars(r)["event"] == "session.path_changed"]
    assert {each["carrier"] for each in changed} == {"TCP"} and len(changed) == 2


async def test_only_who_dialled_moves_and_only_to_a_road_of_the_session() -> None:
    async with (
        wraith.listen("127.0.0.1:0", carriers=("udp", "tcp")) as listener,
        wraith.connect(listener.code) as session,
    ):
        server = await listener.accept()
        with pytest.raises(wraith.LocalProtocolError, match="one road only"):
            server.migrate()
        with pytest.raises(wraith.LocalProtocolError, match=r"session\.roads"):
            session.migrate(replace(session.roads[0], address="192.0.2.1:1"))
        with pytest.raises(wraith.LocalProtocolError, match=r"session\.roads"):
            session.migrate("tcp")  # type: ignore[arg-type]
    with pytest.raises(wraith.LocalProtocolError, match="closed"):
        session.migrate()


async def test_a_carrier_alone_is_the_one_that_is_used() -> None:
    async with (
        wraith.listen("127.0.0.1:0", carriers=("udp", "tcp")) as listener,
        wraith.connect(listener.code, carriers=("tcp",)) as session,
    ):
        assert session.carrier == "tcp" and {road.carrier for road in session.roads} == {"tcp"}


@pytest.mark.spec("CA-28")
@pytest.mark.skipif(sys.platform != "linux", reason="a Linux socket option")
async def test_an_urgent_stream_keeps_the_link_of_its_session_short() -> None:
    async with (
        wraith.listen("127.0.0.1:0", carriers=("tcp",)) as listener,
        wraith.connect(listener.code) as session,
    ):
        links = session._endpoint.driver.links
        assert links is not None
        (link,) = links._links.values()
        assert isinstance(link, TcpSocket)
        long_room = link.room_bytes
        async with session.open_stream(expedited=True) as stream:
            await stream.write(b"now")
            await session._endpoint.driver.flushed()
            assert link.room_bytes <= 2 * SHORT_BYTES_MAX < long_room
            assert link._sock.getsockopt(socket.IPPROTO_TCP, 25) == SHORT_BYTES_MAX


async def test_a_listener_is_reached_over_websocket_at_its_url() -> None:
    port = free_port()
    async with (
        wraith.listen(
            "127.0.0.1:0",
            carriers=("udp", "ws"),
            ws=f"ws://localhost:{port}/share",
            ws_listen=("127.0.0.1", port),
        ) as listener,
        wraith.connect(listener.code, carriers=("ws",)) as session,
    ):
        server = await listener.accept()
        assert (session.carrier, server.carrier) == ("ws", "ws")
        assert [road.address for road in session.roads] == [f"ws://localhost:{port}/share"]


async def test_websocket_without_its_url_is_refused_before_anything_is_bound() -> None:
    with pytest.raises(wraith.ConfigError, match="--ws-listen"):
        await wraith.listen("127.0.0.1:0", carriers=("udp", "ws"))
    with pytest.raises(wraith.ConfigError):
        await wraith.listen("127.0.0.1:0", ws="wss://example.org/")
