"""What is bound before a code is shown, and which port it is."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from contextlib import ExitStack

import pytest

from wraith.aio.ports import bind_preferred
from wraith.aio.road_choice import Reached, choose_listening
from wraith.aio.transports import datagram_endpoint
from wraith.aio.transports.datagram_endpoint import bind_sockets
from wraith.aio.transports.socket_set import SocketSet
from wraith.errors import TransportError
from wraith.testing.links import WAIT_S
from wraith.types import Address, Carrier

LOOPBACK = Address(b"\x7f\0\0\1", 0)

pytestmark = [pytest.mark.asyncio, pytest.mark.spec("CA-86")]


def taken(carrier: str, port: int) -> socket.socket:
    """Somebody else's."""
    kind = socket.SOCK_STREAM if carrier == "tcp" else socket.SOCK_DGRAM
    sock = socket.socket(socket.AF_INET, kind)
    sock.bind(("127.0.0.1", port))
    if carrier == "tcp":
        sock.listen()
    return sock


async def bound(names: str, preferred: int = 0) -> tuple[SocketSet, Reached]:
    choice = choose_listening(names)
    sockets = await bind_preferred(LOOPBACK, preferred, choice)
    return sockets, choice.reached(sockets)


async def free_pair() -> int:
    """A port that is free with the next one."""
    sockets, _ = await bound("udp,tcp,quic")
    sockets.close()
    return sockets.port


@pytest.mark.parametrize("names", ["udp,quic", "udp,tcp,quic"])
async def test_quic_listens_at_the_port_after_the_one_of_udp(names: str) -> None:
    sockets, reached = await bound(names)
    assert reached.quic_port == sockets.port + 1 and not reached.missing
    assert sockets.quic is not None and sockets.quic.port == sockets.port + 1
    sockets.close()
    taken("udp", reached.quic_port).close()  # it was bound, and is free again


@pytest.mark.parametrize("names", ["quic", "tcp,quic"])
async def test_without_udp_quic_listens_at_the_port_itself(names: str) -> None:
    sockets, reached = await bound(names)
    assert reached.quic_port == sockets.port and sockets.quic is not None
    assert sockets.locals == (LOOPBACK._replace(port=sockets.port),) == sockets.quic.locals
    assert not sockets.sockets and sockets.is_mute
    with pytest.raises(OSError, match="in use"):
        taken("udp", sockets.port)
    sockets.close()
    taken("udp", sockets.port).close()


@pytest.mark.parametrize(
    ("others", "missing"),
    [
        (("tcp",), (Carrier.TCP,)),
        (("quic",), (Carrier.QUIC,)),
        (("tcp", "quic"), (Carrier.TCP, Carrier.QUIC)),
    ],
)
async def test_a_kept_port_stays_with_what_of_it_is_free(
    others: Iterable[str], missing: tuple[Carrier, ...]
) -> None:
    port = await free_pair()
    with ExitStack() as stack:
        for carrier in others:
            stack.enter_context(taken(carrier, port + (carrier == "quic")))
        sockets, reached = await bound("udp,tcp,quic", port)
        assert sockets.port == port and reached.missing == missing
        assert not set(missing) & set(reached.carriers)
        sockets.close()


async def test_a_kept_port_without_any_carrier_is_given_up() -> None:
    port = await free_pair()
    with taken("tcp", port), taken("udp", port):
        sockets, reached = await bound("tcp,quic", port)
        assert sockets.port != port and not reached.missing
        sockets.close()


async def test_another_port_is_taken_where_the_next_one_is_in_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = await free_pair()
    bind_udp, first = datagram_endpoint._bind_udp, [port]

    async def first_that_one(address: Address) -> SocketSet:
        return await bind_udp(
            address if address.port or not first else address._replace(port=first.pop())
        )

    monkeypatch.setattr(datagram_endpoint, "_bind_udp", first_that_one)
    with taken("udp", port + 1):
        sockets = await bind_sockets(LOOPBACK, with_quic=True)
        assert sockets.port != port and not first
        sockets.close()


async def test_a_port_that_was_asked_for_is_refused_without_its_next() -> None:
    port = await free_pair()
    with taken("udp", port + 1), pytest.raises(TransportError):
        await bind_sockets(LOOPBACK._replace(port=port), with_quic=True)
    taken("udp", port).close()
    async with asyncio.timeout(WAIT_S):
        with pytest.raises(TransportError, match="after 65535"):
            await bind_sockets(LOOPBACK._replace(port=65_535), with_quic=True)
