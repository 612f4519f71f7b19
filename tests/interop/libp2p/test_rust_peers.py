"""Against rust-libp2p, and against quinn with rustls on aws-lc-rs, in both directions.

rust-libp2p fixes its TLS provider to ring, which has no hybrid group: it is reached under PREFER,
and refused under REQUIRE. The quinn peer keeps libp2p's certificate rules and offers X25519MLKEM768
only; it cannot report what was negotiated, only that nothing else was possible.
"""

from __future__ import annotations

import asyncio
import hashlib
import os

import pytest

from wraith.aio.libp2p import Libp2pConnection, Libp2pHost
from wraith.aio.libp2p.protocols import ECHO_PROTOCOL, serve_echo
from wraith.aio.libp2p.stream import Libp2pStream
from wraith.errors import ConnectFailed, PeerKeyMismatch
from wraith.libp2p.config import PqPolicy, QuicTransportConfig
from wraith.testing.foreign_peers import ForeignPeer, require_binary

pytestmark = [pytest.mark.interop, pytest.mark.asyncio, pytest.mark.timeout(90)]

LISTEN = ["/ip4/127.0.0.1/udp/0/quic-v1"]
MIB = 1 << 20


@pytest.fixture(params=["aioquic", "qh3"])
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    pytest.importorskip(name)
    return name


def config(backend: str, policy: PqPolicy) -> QuicTransportConfig:
    return QuicTransportConfig(policy=policy, backend=backend)


async def echo(stream: Libp2pStream, data: bytes) -> str:
    async def send() -> None:
        await stream.write(data)
        await stream.close_write()

    async with stream, asyncio.TaskGroup() as tasks:
        tasks.create_task(send())
        received = await stream.read_all(2 * MIB)
    return hashlib.sha256(received).hexdigest()


async def test_we_dial_rust_libp2p(backend: str) -> None:
    binary = require_binary("rust-libp2p", "rust-libp2p-peer")
    async with (
        ForeignPeer(binary, "listen") as peer,
        await Libp2pHost.create(config=config(backend, PqPolicy.PREFER)) as host,
    ):
        listening = await peer.event("listening")
        connection = await host.dial(listening["multiaddr"])
        assert str(connection.peer_id) == listening["peer_id"]
        assert connection.security.group == "X25519"
        assert (await peer.event("connected"))["peer_id"] == str(host.peer_id)
        await connection.ping(2)
        assert ECHO_PROTOCOL in (await connection.identify()).protocols

        data = os.urandom(MIB)
        received = await echo(await connection.open_stream(ECHO_PROTOCOL), data)
        echoed = await peer.event("echo")
        assert received == echoed["sha256"] == hashlib.sha256(data).hexdigest()

        wrong = f"{listening['multiaddr'].partition('/p2p/')[0]}/p2p/{host.peer_id}"
        with pytest.raises(PeerKeyMismatch):
            await host.dial(wrong)


async def test_rust_libp2p_dials_us(backend: str) -> None:
    binary = require_binary("rust-libp2p", "rust-libp2p-peer")
    served: list[Libp2pConnection] = []
    settings = config(backend, PqPolicy.PREFER)
    async with await Libp2pHost.create(listen=LISTEN, config=settings) as host:
        host.handle(ECHO_PROTOCOL, serve_echo)
        host.on_connection = served.append
        address = host.listen_addresses[0]
        async with ForeignPeer(binary, "dial", str(address), str(MIB)) as peer:
            assert (await peer.event("connected"))["peer_id"] == str(host.peer_id)
            echoed = await peer.event("echo")
            assert echoed["sha256"] == echoed["sent_sha256"] and echoed["bytes"] == MIB
            seen = {event["event"]: event for event in peer.seen}
            assert seen["identify"]["agent"].startswith("wraith/")
            assert seen["ping"]["rtt_ms"] < 5000
        assert served[0].peer_id is not None
        somebody_else = str(address.with_peer(served[0].peer_id))
        async with ForeignPeer(binary, "dial", somebody_else) as peer:
            failed = await peer.next()
            assert failed["event"] == "failed" and failed["stage"] == "connect"


async def test_rust_libp2p_is_refused_under_require(backend: str) -> None:
    binary = require_binary("rust-libp2p", "rust-libp2p-peer")
    settings = config(backend, PqPolicy.REQUIRE)
    async with (
        ForeignPeer(binary, "listen") as peer,
        await Libp2pHost.create(listen=LISTEN, config=settings) as host,
    ):
        listening = await peer.event("listening")
        with pytest.raises(ConnectFailed, match="handshake_failure") as refused:
            await host.dial(listening["multiaddr"])
        assert "--policy prefer" in refused.value.hint
        async with ForeignPeer(binary, "dial", str(host.listen_addresses[0])) as dialler:
            assert (await dialler.next())["event"] == "failed"
        assert host.counters.refusals["handshake_failure"] == 1


async def test_we_dial_quinn_with_the_hybrid_group(backend: str) -> None:
    binary = require_binary("rust-libp2p", "rust-libp2p-peer")
    async with (
        ForeignPeer(binary, "hybrid-listen") as peer,
        await Libp2pHost.create(config=config(backend, PqPolicy.REQUIRE)) as host,
    ):
        listening = await peer.event("listening")
        port = listening["address"].rpartition(":")[2]
        target = f"/ip4/127.0.0.1/udp/{port}/quic-v1/p2p/{listening['peer_id']}"
        connection = await host.dial(target)
        assert connection.security.group == "X25519MLKEM768"
        assert (await peer.event("connected"))["only_groups"] == ["X25519MLKEM768"]
        data = os.urandom(MIB)
        received = await echo(connection.open_raw_stream(), data)
        assert received == (await peer.event("echo"))["sha256"]
        with pytest.raises(PeerKeyMismatch):
            await host.dial(f"/ip4/127.0.0.1/udp/{port}/quic-v1/p2p/{host.peer_id}")


async def test_quinn_dials_us_with_the_hybrid_group(backend: str) -> None:
    binary = require_binary("rust-libp2p", "rust-libp2p-peer")
    settings = config(backend, PqPolicy.REQUIRE)
    async with await Libp2pHost.create(listen=LISTEN, config=settings) as host:
        host.on_raw_stream = serve_raw
        port = host.listen_addresses[0].value("udp")
        async with ForeignPeer(binary, "hybrid-dial", f"127.0.0.1:{port}", str(MIB)) as peer:
            echoed = await peer.event("echo")
            assert echoed["sha256"] == echoed["sent_sha256"] and echoed["bytes"] == MIB
        assert host.counters.handshakes == {"X25519MLKEM768": 1}


async def serve_raw(stream: Libp2pStream) -> None:
    async with stream:
        await serve_echo(stream)
