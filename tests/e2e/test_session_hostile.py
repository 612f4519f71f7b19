"""A listener among strangers, losses and replays, over real sockets."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest

import wraith
from wraith.aio.clock import SystemClock
from wraith.aio.disk.replay_files import ReplayFiles
from wraith.aio.entropy import OsRng
from wraith.aio.sessions.dial import dial
from wraith.aio.sessions.endpoint import AsyncEndpoint, open_endpoint
from wraith.aio.transports.socket_set import SocketSet
from wraith.config import EndpointConfig
from wraith.connection import events
from wraith.connection.connection import Connection
from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.connection.handshake.node_record import NodeRecord
from wraith.crypto.x25519 import X25519Key
from wraith.errors import ConfigError, HandshakeTimeout
from wraith.testing.netem import LinkConfig
from wraith.testing.relay import UdpRelay
from wraith.testing.sessions import session_pair
from wraith.types import Address, Transmit

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]
LOOPBACK = Address(b"\x7f\0\0\1", 0)


async def test_garbage_meets_silence_and_disturbs_nobody() -> None:
    dice = random.Random(7)
    async with session_pair() as pair:
        stream = await pair.client.open_stream()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.connect(("127.0.0.1", pair.listener.port))
            stranger.setblocking(False)
            for i in range(2000):
                stranger.send(dice.randbytes(dice.randrange(1, 1500)))
                if i % 100 == 0:
                    await stream.write(b"x" * 100)
                    await asyncio.sleep(0.001)
            stream.finish()
            incoming = await pair.server.accept_stream()
            assert await incoming.read_all() == b"x" * 2000
            with pytest.raises(BlockingIOError):
                stranger.recv(2000)
        assert len(pair.listener.sessions) == 1


async def test_a_lossy_reordering_path_delivers_everything() -> None:
    data = os.urandom(300_000)
    link = LinkConfig(latency_s=0.005, jitter_s=0.004, loss=0.05, duplicate=0.02)
    async with wraith.listen("127.0.0.1:0") as listener:
        with UdpRelay(("127.0.0.1", listener.port), link=link, seed=3) as relay:
            record = listener.node_record
            host, port = relay.address
            via = NodeRecord(
                access_key=record.access_key,
                peer=record.peer,
                suites=record.suites,
                access_psk=record.access_psk,
                addresses=(Address(socket.inet_aton(host), port),),
            )
            async with wraith.connect(via) as session:
                stream = await session.open_stream()
                writer = asyncio.create_task(stream.write(data))
                incoming = await (await listener.accept()).accept_stream()
                assert await incoming.read_exactly(len(data)) == data
                await writer
                assert session.stats().lost_packets > 0


async def listening(
    folder: Path, ak: X25519Key, psk: bytes, *, fresh: bool
) -> tuple[AsyncEndpoint, ReplayFiles]:
    """A node whose access key outlives it."""
    files = ReplayFiles(folder, SystemClock(), max_clock_skew_s=60.0, fresh=fresh)
    endpoint = await open_endpoint(
        config=EndpointConfig(),
        identity=None,
        local=LOOPBACK,
        access=AccessKey(ak, psk, persistent=True),
        listening=True,
        replay=files,
    )

    def accept(connection: Connection, event: events.Event) -> None:
        if isinstance(event, events.PeerAuthenticated):
            connection.accept(endpoint.driver.now())

    endpoint.on_accept = accept
    return endpoint, files


async def test_a_recorded_hello_stays_spent_after_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = OsRng()
    ak, psk = X25519Key.generate(rng), rng.secret_bytes(32)
    node, files = await listening(tmp_path, ak, psk, fresh=True)
    record = NodeRecord(
        access_key=ak.public,
        access_psk=psk,
        addresses=(Address(LOOPBACK.ip, node.driver.port),),
    )
    recorded: list[bytes] = []
    stored_before: list[int] = []
    real_send = SocketSet.send

    def recording_send(sockets: SocketSet, transmit: Transmit, start: int) -> int:
        if sockets.port != node.driver.port:
            recorded.append(bytes(transmit.data))
        else:
            stored_before.append(len(next(iter(tmp_path.glob("replay-*"))).read_bytes()))
        return real_send(sockets, transmit, start)

    monkeypatch.setattr(SocketSet, "send", recording_send)
    client = await open_endpoint(
        config=EndpointConfig(), identity=None, local=LOOPBACK, listening=False
    )
    session = await dial(client, record, require_pq=True)
    monkeypatch.undo()
    assert stored_before[0] == 32 + 24, "the record is on disk before the first answer leaves"
    await session.close()
    client.close()
    node.close()  # and no files.close(): the process was killed

    again, files_again = await listening(tmp_path, ak, psk, fresh=False)
    try:
        assert len(files_again.history.records) == 1
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as replayer:
            replayer.setblocking(False)
            for datagram in recorded[:2]:
                replayer.sendto(datagram, ("127.0.0.1", again.driver.port))
            with pytest.raises(TimeoutError):
                answer = asyncio.get_running_loop().sock_recv(replayer, 2000)
                await asyncio.wait_for(answer, 0.2)
        fresh = NodeRecord(
            access_key=ak.public,
            access_psk=psk,
            addresses=(Address(LOOPBACK.ip, again.driver.port),),
        )
        async with wraith.connect(fresh):
            pass  # an honest peer gets in at once all the same
    finally:
        again.close()
        files.close()
        files_again.close()


async def test_a_full_disk_means_silence_not_an_unrecorded_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = OsRng()
    ak, psk = X25519Key.generate(rng), rng.secret_bytes(32)
    node, files = await listening(tmp_path, ak, psk, fresh=True)

    def full(records: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(files, "append", full)
    record = NodeRecord(
        access_key=ak.public,
        access_psk=psk,
        addresses=(Address(LOOPBACK.ip, node.driver.port),),
    )
    try:
        with pytest.raises(HandshakeTimeout):
            await wraith.connect(record, config=EndpointConfig(handshake_timeout_s=1))
    finally:
        node.close()
        files.close()


@pytest.mark.spec("HS-33")
async def test_the_rest_of_a_hello_whose_record_was_lost_is_not_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first part makes the record; the second one comes when nothing is left to store."""
    rng = OsRng()
    ak, psk = X25519Key.generate(rng), rng.secret_bytes(32)
    node, files = await listening(tmp_path, ak, psk, fresh=True)
    here = ("127.0.0.1", node.driver.port)
    record = NodeRecord(
        access_key=ak.public, access_psk=psk, addresses=(Address(LOOPBACK.ip, here[1]),)
    )
    hello: list[bytes] = []

    def held_back(sockets: SocketSet, transmit: Transmit, start: int) -> int:
        hello.append(bytes(transmit.data))
        return len(transmit.data)

    with monkeypatch.context() as patch:
        patch.setattr(SocketSet, "send", held_back)
        with pytest.raises(HandshakeTimeout):
            await wraith.connect(record, config=EndpointConfig(handshake_timeout_s=1))
    append, n_failed = files.append, 0

    def full_once(records: Sequence[bytes], /) -> None:
        nonlocal n_failed
        if n_failed == 0:
            n_failed = len(records)
            raise OSError("disk full")
        append(records)

    monkeypatch.setattr(files, "append", full_once)
    loop = asyncio.get_running_loop()
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
            caller.setblocking(False)
            for datagram in (*hello[:2], hello[1]):
                caller.sendto(datagram, here)
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(loop.sock_recv(caller, 2000), 0.4)
        assert n_failed == 1
        async with wraith.connect(record):
            pass  # whoever calls anew gets in, and is on record
    finally:
        node.close()
        files.close()
    (log,) = tmp_path.glob("replay-*")
    assert log.stat().st_size == 32 + 24 + 24, "a header, one caller, the mark of a clean end"


async def test_a_lasting_key_without_files_is_refused() -> None:
    key = AccessKey(X25519Key.generate(OsRng()), None, persistent=True)
    with pytest.raises(ConfigError, match="replay_files"):
        await open_endpoint(
            config=EndpointConfig(), identity=None, access=key, listening=True, local=LOOPBACK
        )


async def test_the_sockets_of_a_dialled_session_go_with_it() -> None:
    async with wraith.listen("127.0.0.1:0") as listener:
        session = await wraith.connect(listener.code)
        endpoint = session._endpoint
        await session.close()
        async with asyncio.timeout(5):
            while not endpoint.driver.closed:
                await asyncio.sleep(0.01)
        assert endpoint.driver._sockets.sockets[0].local.port > 0
