"""The driver over asyncio's datagram endpoint, as on a loop without ``add_reader``."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from wraith.aio.driver import Driver
from wraith.aio.transports import datagram_endpoint
from wraith.aio.transports.datagram_endpoint import (
    EndpointSocket,
    bind_sockets,
    supports_add_reader,
)
from wraith.aio.transports.socket_set import SocketSet
from wraith.aio.transports.udp import UdpSocket
from wraith.errors import TransportError
from wraith.testing.echo import EchoEvent, EchoMachine, Received
from wraith.types import ANY_ADDRESS, Address, NetworkPath, Transmit

LOOPBACK = Address(b"\x7f\0\0\1", 0)


@pytest.mark.asyncio
async def test_echo_over_a_loop_without_add_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(datagram_endpoint, "supports_add_reader", lambda loop: False)
    server_sockets, client_sockets = await bind_sockets(LOOPBACK), await bind_sockets(LOOPBACK)
    assert isinstance(server_sockets.sockets[0], EndpointSocket)
    got: asyncio.Queue[bytes] = asyncio.Queue()

    def on_client(event: EchoEvent) -> None:
        assert isinstance(event, Received)
        got.put_nowait(event.data)

    machine = EchoMachine(echo=False)
    server: Driver[EchoEvent] = Driver(EchoMachine(), server_sockets, on_event=lambda _: None)
    client: Driver[EchoEvent] = Driver(machine, client_sockets, on_event=on_client)
    server.start()
    client.start()
    try:
        path = NetworkPath(ANY_ADDRESS, Address(LOOPBACK.ip, server.port))
        machine.queue(b"aaabbbcc", 3, path)
        client.wake()
        async with asyncio.timeout(5):
            assert [await got.get() for _ in range(3)] == [b"aaa", b"bbb", b"cc"]
    finally:
        server.close()
        client.close()
    assert loop.is_running()


@pytest.mark.asyncio
async def test_this_loop_gets_raw_sockets_and_every_family() -> None:
    assert supports_add_reader(asyncio.get_running_loop())
    sockets = await bind_sockets(ANY_ADDRESS)
    assert all(isinstance(sock, UdpSocket) for sock in sockets.sockets)
    sockets.close()
    both = await datagram_endpoint.bind_endpoints(ANY_ADDRESS)
    assert len(both.sockets) == 2
    assert len({sock.local.port for sock in both.sockets}) == 1
    both.close()


def test_the_proactor_is_recognised() -> None:
    class Proactor:
        def add_reader(self, fd: int, callback: Any) -> None:
            raise NotImplementedError

    assert not supports_add_reader(Proactor())  # type: ignore[arg-type]


@pytest.mark.asyncio
async def test_back_pressure_of_the_transport_keeps_the_rest() -> None:
    sock = await EndpointSocket.bind(LOOPBACK)
    try:
        transmit = Transmit(memoryview(b"aabb"), 2, NetworkPath(ANY_ADDRESS, sock.local))
        sock.pause_writing()
        assert sock.send(transmit, 2) == 2
        resumed = asyncio.Event()
        sock.when_writable(resumed.set)
        await asyncio.sleep(0)
        assert not resumed.is_set()
        sock.resume_writing()
        assert resumed.is_set()
        assert sock.send(transmit, 2) == 4
    finally:
        sock.close()
        sock.close()
    assert sock.send(transmit, 0) == 4, "after the end everything is lost, like any datagram"


@pytest.mark.asyncio
async def test_a_taken_port_says_so() -> None:
    sockets = SocketSet.bind(LOOPBACK)
    try:
        with pytest.raises(TransportError, match=str(sockets.port)):
            await EndpointSocket.bind(Address(LOOPBACK.ip, sockets.port))
    finally:
        sockets.close()


@pytest.mark.asyncio
async def test_a_size_that_the_host_refuses_is_told() -> None:
    refused: list[tuple[NetworkPath, int]] = []
    sock = await EndpointSocket.bind(LOOPBACK)
    sock.on_refused_size = lambda path, n_bytes: refused.append((path, n_bytes))
    path = NetworkPath(sock.local, sock.local)
    try:
        n_bytes = 65_600
        assert sock.send(Transmit(memoryview(bytes(n_bytes)), n_bytes, path), 0) == n_bytes
    finally:
        sock.close()
    assert refused == [(path, n_bytes)]
    assert sock.datagrams_dropped == 1
