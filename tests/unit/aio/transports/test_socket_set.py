"""The sockets of one endpoint against the real kernel."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest

from wraith.aio.transports.socket_set import SocketSet
from wraith.aio.transports.udp import UdpSocket
from wraith.errors import TransportError
from wraith.types import Address, NetworkPath, Transmit

LOOPBACK = Address(b"\x7f\0\0\1", 0)
LOOPBACK6 = Address(bytes(15) + b"\1", 0)


def test_both_families_share_one_port_and_a_missing_family_is_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    both = SocketSet.bind()
    try:
        assert len({sock.local.port for sock in both.sockets}) == 1
        assert len(both.sockets) == 2
    finally:
        both.close()

    real = socket.socket

    def no_ipv6(family: int = -1, *rest: Any, **named: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "no IPv6 here")
        return real(family, *rest, **named)

    monkeypatch.setattr(socket, "socket", no_ipv6)
    alone = SocketSet.bind()
    try:
        assert [sock.local.ip for sock in alone.sockets] == [b""]
        missing = Transmit(memoryview(b"xy"), 2, NetworkPath(Address(b"", 0), LOOPBACK6))
        assert alone.send(missing, 0) == 2, "nothing to send it on: lost, like any datagram"
    finally:
        alone.close()


def test_a_taken_port_says_so() -> None:
    first = UdpSocket.bind(LOOPBACK)
    try:
        with pytest.raises(TransportError, match=str(first.local.port)):
            SocketSet.bind(first.local)
    finally:
        first.close()
