"""Where programs bind: the forms that are taken, and sockets that are bound already."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

import wraith
from wraith.aio import open_node
from wraith.aio.transports.local import bound_already, local_address
from wraith.errors import ConfigError
from wraith.types import ANY_ADDRESS, Address

LOOPBACK = bytes([127, 0, 0, 1])


@pytest.mark.parametrize(
    ("where", "address"),
    [
        (None, ANY_ADDRESS),
        (0, ANY_ADDRESS),
        (4433, Address(b"", 4433)),
        ("127.0.0.1:4433", Address(LOOPBACK, 4433)),
        ("localhost:4433", Address(LOOPBACK, 4433)),
        (":4433", Address(b"", 4433)),
        (("127.0.0.1", 4433), Address(LOOPBACK, 4433)),
        (("localhost", 0), Address(LOOPBACK, 0)),
        (("", 4433), Address(b"", 4433)),
        (("::1", 4433), Address(bytes(15) + b"\1", 4433)),
    ],
)
def test_every_form_that_is_taken(where: Any, address: Address) -> None:
    assert local_address(where) == address


@pytest.mark.parametrize(
    "where",
    [
        *(-1, 65_536, True, 3.5, b"127.0.0.1:1", ["127.0.0.1", 1], ("127.0.0.1",)),
        *(
            ("127.0.0.1", "1"),
            ("127.0.0.1", 1, 2),
            (1, 2),
            ("example.org", 1),
            ("127.0.0.1", 70_000),
        ),
    ],
)
def test_anything_else_is_one_clear_error(where: Any) -> None:
    with pytest.raises(ConfigError, match="address = "):
        local_address(where)


@pytest.fixture
def udp() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


def test_sockets_that_cannot_be_used_are_refused(udp: socket.socket) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unbound,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as local,
    ):
        for given, words in (
            (stream, "a UDP socket"),
            (unbound, "bound to a port"),
            (local, "IPv4 or IPv6"),
            ([udp, udp], "at most one socket"),
            ([], "at least one"),
            ([3], "a UDP socket"),
        ):
            with pytest.raises(ConfigError, match=words):
                bound_already(given)  # type: ignore[arg-type]
    assert bound_already(udp) == bound_already([udp]) == [udp]


def test_an_ipv6_socket_that_takes_ipv4_too_is_refused() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", 0))
        with pytest.raises(ConfigError, match="IPV6_V6ONLY"):
            bound_already(sock)


@pytest.mark.asyncio
async def test_a_listener_takes_a_bound_socket_over(udp: socket.socket) -> None:
    port = udp.getsockname()[1]
    async with wraith.listen(sock=udp) as listener:
        assert listener.port == port
        assert listener.addresses == (Address(LOOPBACK, port),)
        async with wraith.connect(listener.code, local=("127.0.0.1", 0)) as session:
            assert session.peer is not None
    assert udp.fileno() == -1, "closed with the listener"


@pytest.mark.asyncio
async def test_a_node_takes_a_bound_socket_over(udp: socket.socket) -> None:
    async with open_node(sock=udp) as node, wraith.listen(at=node) as listener:
        assert node.port == listener.port
        async with wraith.connect(listener.code):
            pass


@pytest.mark.asyncio
async def test_an_address_beside_a_socket_is_refused_and_the_socket_stays_open(
    udp: socket.socket,
) -> None:
    with pytest.raises(ConfigError, match="nothing beside sock"):
        await wraith.listen(4433, sock=udp)
    assert udp.fileno() >= 0
