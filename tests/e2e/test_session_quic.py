"""Sessions over QUIC between two nodes, on both of its libraries: they come, go to other roads and
come back, and are what they are over UDP and TCP."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import wraith
from wraith.aio import open_node
from wraith.aio.carriers.quic_link import PROTOCOL, QuicSocket
from wraith.aio.libp2p import Libp2pHost
from wraith.errors import MissingExtra, PolicyRefused
from wraith.libp2p.multiaddr import quic_multiaddr
from wraith.testing.rng import SeededRng
from wraith.types import Address, Carrier, SuiteId

DEADLINE_S = 30.0
EVERY = ("udp", "tcp", "quic")
for _name in ("aioquic", "qh3"):
    pytest.importorskip(_name)

pytestmark = pytest.mark.asyncio


@pytest.fixture(params=["aioquic", "qh3"], autouse=True)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is installed for a node: it takes qh3 where there is one."""
    name: str = request.param
    if name == "aioquic":
        monkeypatch.setitem(sys.modules, "qh3", None)
    return name


@asynccontextmanager
async def pair(
    *carriers: str, dials: tuple[str, ...] = EVERY
) -> AsyncIterator[tuple[wraith.Listener, wraith.Session, wraith.Session]]:
    """A listener on ``carriers``, who has dialled it, and the listener's side of that."""
    async with (
        asyncio.timeout(2 * DEADLINE_S),
        wraith.listen("127.0.0.1:0", carriers=carriers) as listener,
        wraith.connect(listener.code, carriers=dials) as session,
    ):
        yield listener, session, await listener.accept()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not holds():
            await asyncio.sleep(0.01)


async def crosses(one: wraith.Session, other: wraith.Session, n_bytes: int) -> None:
    """A stream brings what was written, whole and in order."""
    data = SeededRng(f"{n_bytes} bytes").public_bytes(n_bytes)
    reading = asyncio.ensure_future(await_stream(other))
    async with one.open_stream() as stream:
        await stream.write(data)
    assert await reading == data


async def await_stream(session: wraith.Session) -> bytes:
    return await (await session.accept_stream()).read_all()


def quic_links(listener: wraith.Listener) -> list[QuicSocket]:
    links = listener._endpoint.driver.links
    assert links is not None
    return [link for link in links._links.values() if isinstance(link, QuicSocket)]


async def test_streams_cross_over_quic_alone(backend: str) -> None:
    async with pair("quic") as (listener, session, server):
        (link,) = quic_links(listener)
        assert link._connection._host.config.backend == backend
        assert session.carrier == server.carrier == "quic"
        assert session.stats().carrier is Carrier.QUIC
        (road,) = session.roads
        assert (road.carrier, road.state) == ("quic", "active")
        assert road.address == f"127.0.0.1:{listener.port}"
        await crosses(session, server, 2_000_000)
        await crosses(server, session, 2_000_000)


@pytest.mark.spec("RO-10")
async def test_where_udp_answers_quic_is_a_road_that_waits() -> None:
    async with pair(*EVERY) as (listener, session, server):
        assert session.carrier == "udp"
        places = [(road.carrier, road.address) for road in session.roads]
        assert ("quic", f"127.0.0.1:{listener.port + 1}") in places
        (quic,) = (road for road in session.roads if road.carrier == "quic")
        session.migrate(quic)
        await until(lambda: session.carrier == server.carrier == "quic")
        await crosses(session, server, 300_000)
        (tcp,) = (road for road in session.roads if road.carrier == "tcp")
        session.migrate(tcp)
        await until(lambda: session.carrier == server.carrier == "tcp")
        await crosses(server, session, 300_000)


@pytest.mark.parametrize("other", ["udp", "tcp"])
async def test_a_quic_connection_that_is_reset_gives_way_and_no_byte_is_lost(other: str) -> None:
    async with pair(other, "quic") as (listener, session, server):
        (quic,) = (road for road in session.roads if road.carrier == "quic")
        session.migrate(quic)
        await until(lambda: session.carrier == server.carrier == "quic")
        crossing = asyncio.ensure_future(crosses(session, server, 4_000_000))
        (link,) = quic_links(listener)
        await until(lambda: link.n_received > 500_000)
        link.reset()
        await crossing
        assert session.carrier == server.carrier == other


@pytest.mark.slow
async def test_when_quic_falls_silent_a_session_goes_by_tcp_and_comes_back() -> None:
    async with pair("tcp", "quic") as (listener, session, server):
        (quic,) = (road for road in session.roads if road.carrier == "quic")
        session.migrate(quic)
        await until(lambda: session.carrier == server.carrier == "quic")
        (link,) = quic_links(listener)
        crossing = asyncio.ensure_future(crosses(session, server, 4_000_000))
        await until(lambda: link.n_received > 500_000)
        link._connection._host._sockets.is_mute = True
        await crossing
        assert session.carrier == server.carrier == "tcp"
        link._connection._host._sockets.is_mute = False
        await until(lambda: session.carrier == server.carrier == "quic")
        await crosses(server, session, 300_000)


@pytest.mark.slow
async def test_when_udp_falls_silent_a_session_goes_by_quic_and_comes_back() -> None:
    async with pair("udp", "quic") as (listener, session, server):
        sockets = listener._endpoint.running.sockets
        crossing = asyncio.ensure_future(crosses(session, server, 4_000_000))
        sockets.is_mute = True
        await crossing
        assert session.carrier == server.carrier == "quic"
        sockets.is_mute = False
        await until(lambda: session.carrier == server.carrier == "udp")
        await crosses(server, session, 300_000)


@pytest.mark.parametrize("carrier", EVERY)
async def test_the_security_of_a_session_is_the_same_over_every_carrier(carrier: str) -> None:
    async with (
        asyncio.timeout(DEADLINE_S),
        wraith.listen("127.0.0.1:0", carriers=(carrier,), suites=(SuiteId.B,)) as listener,
    ):
        async with wraith.connect(listener.code, carriers=(carrier,)) as session:
            server = await listener.accept()
            for side in (session.security, server.security):
                assert side.post_quantum and side.suite is SuiteId.B
        with pytest.raises(PolicyRefused):
            await wraith.connect(listener.code, carriers=(carrier,), suites=(SuiteId.A,))
    async with wraith.listen(
        "127.0.0.1:0", carriers=(carrier,), suites=(SuiteId.D,), require_pq=False
    ) as listener:
        with pytest.raises(PolicyRefused):
            await wraith.connect(listener.code, carriers=(carrier,))


@pytest.mark.spec("CA-21", "CA-81")
async def test_a_stranger_who_speaks_quic_and_proves_nothing_gets_no_byte() -> None:
    async with (
        asyncio.timeout(DEADLINE_S),
        wraith.listen("127.0.0.1:0", carriers=("quic",)) as listener,
        await Libp2pHost.create() as stranger,
    ):
        there = quic_multiaddr(Address(b"\x7f\0\0\1", listener.port))
        connection = await stranger.dial(str(there), any_peer=True)
        stream = await connection.open_stream(PROTOCOL)
        await stream.write(SeededRng("stranger").public_bytes(20_000))
        (link,) = quic_links(listener)
        await until(lambda: link.n_received >= 20_000)
        # Whatever could be said to the stranger would have been said by the end of this.
        async with wraith.connect(listener.code, carriers=("quic",)) as session:
            await crosses(session, await listener.accept(), 100_000)
        assert stream.read_nowait() is None and connection.is_open
        assert link.n_sent == 0


async def test_beside_a_socket_that_was_handed_in_quic_has_the_next_port() -> None:
    first = free_pair()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", first))
    async with (
        asyncio.timeout(DEADLINE_S),
        wraith.listen(sock=sock, carriers=("udp", "quic")) as listener,
        wraith.connect(listener.code, carriers=("quic",)) as session,
    ):
        assert listener.port == first
        assert [road.address for road in session.roads] == [f"127.0.0.1:{first + 1}"]


def free_pair() -> int:
    """A UDP port that is free with the next one."""
    for _ in range(100):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            with (
                contextlib.suppress(OSError, OverflowError),
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
            ):
                other.bind(("127.0.0.1", port + 1))
                return port
    raise AssertionError("no two ports in a row are free")


async def test_a_node_of_several_services_listens_on_what_it_was_told(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    async with (
        asyncio.timeout(DEADLINE_S),
        open_node("127.0.0.1:0", carriers=("udp", "quic")) as node,
        wraith.listen(at=node) as listener,
        wraith.send(text="over quic", at=node, state=tmp_path / "sender") as sending,
    ):
        async with wraith.connect(listener.code, carriers=("quic",)) as session:
            assert (await listener.accept()).carrier == session.carrier == "quic"
        done = await wraith.receive(
            sending.code, tmp_path / "out", accept=True, carriers=("quic",),
            state=tmp_path / "receiver",
        )  # fmt: skip
        assert [use.carrier for use in done.roads] == ["quic"]


async def test_without_its_library_quic_is_refused_before_anything_is_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "aioquic", None)
    with pytest.raises(MissingExtra, match="quic") as missing:
        await wraith.listen("127.0.0.1:0", carriers=("udp", "quic"))
    assert "aioquic" in missing.value.hint
    with pytest.raises(MissingExtra):
        await open_node("127.0.0.1:0", carriers=("quic",))
    async with wraith.listen("127.0.0.1:0") as listener:
        with pytest.raises(MissingExtra):
            await wraith.connect(listener.code, carriers=("quic",))
        async with wraith.connect(listener.code) as session:
            assert session.carrier == "udp"
