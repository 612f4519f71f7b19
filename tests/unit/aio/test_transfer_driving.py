"""What the world tells a transfer's driver reaches the transfer's node."""

from __future__ import annotations

import asyncio

import pytest

from wraith.abc import NullTracer
from wraith.aio.assembly import BoundNode
from wraith.aio.carriers.select import RoadOpener
from wraith.aio.clock import SystemClock
from wraith.aio.entropy import OsRng
from wraith.aio.links import Links
from wraith.aio.path_keys import PathKeys
from wraith.aio.road_choice import Reached
from wraith.aio.running import RunningNode
from wraith.aio.transfers import Transfer
from wraith.aio.transports.socket_set import SocketSet
from wraith.testing.node_pair import NodeSimulation
from wraith.transfer.memory_store import MemorySource, MemoryTarget
from wraith.types import Address


@pytest.mark.spec("CN-37")
@pytest.mark.asyncio
async def test_a_transfer_hears_of_a_size_that_the_host_refuses() -> None:
    source = MemorySource({b"f": bytes(3_000_000)})
    simulation = NodeSimulation(source)
    simulation.start_receiver(MemoryTarget())
    service = simulation.sender.transfer

    def has_searched() -> bool:
        connection = service.connection
        return connection is not None and connection.stats().datagram_bytes > 1_200

    assert simulation.run(seconds=5, until=has_searched)
    connection = service.connection
    assert connection is not None

    sockets = SocketSet.bind(Address(b"\x7f\0\0\1", 0))
    rng = OsRng()
    paths = PathKeys(SystemClock())
    links = Links(service.node, rng, RoadOpener())
    running = RunningNode(
        BoundNode(service.node, sockets, links, paths, Reached(), rng, NullTracer())
    )
    transfer = Transfer(running, service, source, replay=None, access=None, owns_node=True)
    transfer.start()
    try:
        refuse = sockets.sockets[0].on_refused_size
        assert refuse is not None, "nobody listens"
        refuse(connection.path, connection.stats().datagram_bytes)
        assert connection.stats().datagram_bytes == 1_200
    finally:
        transfer.abandon()
        await asyncio.sleep(0)
