"""A running node keeps its services apart when the world fails one of them."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from wraith.aio.clock import SystemClock
from wraith.aio.disk.replay_files import ReplayFiles
from wraith.aio.disk.seam import Disk
from wraith.aio.entropy import OsRng
from wraith.aio.running import RunningNode, run_node
from wraith.aio.sessions.dial import dial
from wraith.aio.sessions.endpoint import AsyncEndpoint, open_endpoint
from wraith.config import EndpointConfig
from wraith.connection import events
from wraith.connection.connection import Connection
from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.connection.handshake.node_record import NodeRecord
from wraith.crypto.x25519 import X25519Key
from wraith.errors import HandshakeTimeout
from wraith.types import Address

pytestmark = pytest.mark.asyncio
LOOPBACK = Address(b"\x7f\0\0\1", 0)


class FillingDisk(Disk):
    """A disk on which nothing can be written once it is full."""

    is_full = False

    def write(self, fd: int, data: bytes) -> int:  # type: ignore[override]
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(fd, data)


class Lasting:
    """Sessions with an access key that outlives the process, at a node of others."""

    def __init__(self, running: RunningNode, folder: Path) -> None:
        folder.mkdir()
        self.disk = FillingDisk()
        self.files = ReplayFiles(
            folder, SystemClock(), max_clock_skew_s=60.0, fresh=True, disk=self.disk
        )
        self.key = AccessKey(X25519Key.generate(OsRng()), None, persistent=True)
        self.endpoint = AsyncEndpoint(running, key=self.key, replay=self.files, owns_node=False)
        self.endpoint.on_accept = self.accept
        self.n_established = 0

    def accept(self, connection: Connection, event: events.Event) -> None:
        if isinstance(event, events.PeerAuthenticated):
            connection.accept(self.endpoint.driver.now())
        elif isinstance(event, events.Established):
            self.n_established += 1

    @property
    def record(self) -> NodeRecord:
        address = LOOPBACK._replace(port=self.endpoint.running.port)
        return self.endpoint.machine.node_record([address], key=self.key)


@pytest.mark.spec("HS-33")
async def test_a_record_that_cannot_be_stored_costs_nobody_else_anything(tmp_path: Path) -> None:
    running = await run_node(config=EndpointConfig(), local=LOOPBACK)
    failing, sound = Lasting(running, tmp_path / "a"), Lasting(running, tmp_path / "b")
    patience = EndpointConfig(handshake_timeout_s=1.5)
    dialler = await open_endpoint(config=patience, identity=None, local=LOOPBACK, listening=False)
    other = await open_endpoint(
        config=EndpointConfig(), identity=None, local=LOOPBACK, listening=False
    )
    try:
        failing.disk.is_full = True
        refused = asyncio.ensure_future(dial(dialler, failing.record, require_pq=True))
        session = await dial(other, sound.record, require_pq=True)
        with pytest.raises(HandshakeTimeout):
            await refused
        assert (failing.n_established, sound.n_established) == (0, 1)
        assert session.stats().lost_packets == 0
        assert running.node.endpoint.counters["attempt_ended"] >= 1
        failing.disk.is_full = False
        await dial(dialler, failing.record, require_pq=True)
        assert failing.n_established == 1, "the disk has room again"
    finally:
        dialler.close()
        other.close()
        await running.close()
        for one in (failing, sound):
            one.files.close()


async def test_a_service_that_leaves_is_told_nothing_more(tmp_path: Path) -> None:
    running = await run_node(config=EndpointConfig(), local=LOOPBACK)
    leaving, staying = Lasting(running, tmp_path / "a"), Lasting(running, tmp_path / "b")
    dialler = await open_endpoint(
        config=EndpointConfig(), identity=None, local=LOOPBACK, listening=False
    )
    try:
        session = await dial(dialler, leaving.record, require_pq=True)
        leaving.endpoint.close()
        assert not running.driver.closed
        await session.wait_closed()  # a planned end
        await dial(dialler, staying.record, require_pq=True)
        assert staying.n_established == 1
    finally:
        dialler.close()
        await running.close()
        for one in (leaving, staying):
            one.files.close()
