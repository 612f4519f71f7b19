"""Against go-libp2p and quic-go, both directions: group and hashes are what Go reports."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from wraith.aio.libp2p import Libp2pConnection, Libp2pHost
from wraith.aio.libp2p.protocols import ECHO_PROTOCOL, receive_identify, serve_echo
from wraith.aio.libp2p.stream import Libp2pStream
from wraith.errors import ConnectFailed, PeerKeyMismatch
from wraith.libp2p import identify
from wraith.libp2p.config import PqPolicy, QuicTransportConfig
from wraith.libp2p.identify import IdentifyInfo
from wraith.testing.foreign_peers import ForeignPeer, require_binary

pytestmark = [pytest.mark.interop, pytest.mark.timeout(90)]

LISTEN = ["/ip4/127.0.0.1/udp/0/quic-v1"]
MIB = 1 << 20
VECTORS = Path(__file__).parents[3] / "vectors" / "libp2p" / "hybrid_kex.json"


@pytest.fixture(params=["aioquic", "qh3"])
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    pytest.importorskip(name)
    return name


def config(backend: str, policy: PqPolicy = PqPolicy.REQUIRE) -> QuicTransportConfig:
    return QuicTransportConfig(policy=policy, backend=backend)


async def exchange(stream: Libp2pStream, data: bytes) -> str:
    """Sends ``data``, reads the answer; its SHA-256."""
    digest = hashlib.sha256()

    async def send() -> None:
        await stream.write(data)
        await stream.close_write()

    async with stream, asyncio.TaskGroup() as tasks:
        tasks.create_task(send())
        while piece := await stream.read():
            digest.update(piece)
    return digest.hexdigest()


# ---- go-libp2p ----------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_we_dial_go_libp2p(backend: str) -> None:
    """Ping, identify, an echo of 1 MiB with the hash that Go computed, the group that Go saw."""
    binary = require_binary("go-libp2p", "libp2p-peer")
    async with (
        ForeignPeer(binary, "listen") as peer,
        await Libp2pHost.create(config=config(backend)) as host,
    ):
        listening = await peer.event("listening")
        connection = await host.dial(listening["multiaddr"])
        assert str(connection.peer_id) == listening["peer_id"]
        assert connection.security.group == "X25519MLKEM768"
        connected = await peer.event("connected")
        assert connected["peer_id"] == str(host.peer_id)
        assert connected["group"] == "X25519MLKEM768"

        assert all(rtt < 5 for rtt in await connection.ping(3))
        info = await connection.identify()
        assert ECHO_PROTOCOL in info.protocols
        assert info.public_key is not None

        data = os.urandom(MIB)
        received = await exchange(await connection.open_stream(ECHO_PROTOCOL), data)
        echoed = await peer.event("echo")
        assert received == echoed["sha256"] == hashlib.sha256(data).hexdigest()
        assert echoed["bytes"] == MIB

        with pytest.raises(PeerKeyMismatch):
            wrong = f"{listening['multiaddr'].partition('/p2p/')[0]}/p2p/{host.peer_id}"
            await host.dial(wrong)


@pytest.mark.asyncio
async def test_go_libp2p_dials_us(backend: str) -> None:
    binary = require_binary("go-libp2p", "libp2p-peer")
    served: list[Libp2pConnection] = []
    async with await Libp2pHost.create(listen=LISTEN, config=config(backend)) as host:
        host.handle(ECHO_PROTOCOL, serve_echo)
        host.on_connection = served.append
        address = str(host.listen_addresses[0])
        async with ForeignPeer(binary, "dial", address, str(MIB)) as peer:
            connected = await peer.event("connected")
            assert connected["group"] == "X25519MLKEM768"
            seen = await peer.event("identify")
            assert seen["agent"].startswith("wraith/")
            assert {ECHO_PROTOCOL, "/ipfs/ping/1.0.0"} <= set(seen["protocols"])
            assert (await peer.event("ping"))["rtt_ms"] < 5000
            echoed = await peer.event("echo")
            assert echoed["sha256"] == echoed["sent_sha256"] and echoed["bytes"] == MIB
        assert served[0].security.post_quantum

        somebody_else = str(host.listen_addresses[0].with_peer(served[0].peer_id or host.peer_id))
        async with ForeignPeer(binary, "dial", somebody_else) as peer:
            failed = await peer.next()
            assert failed["event"] == "failed" and "peer id mismatch" in failed["error"]


@pytest.mark.asyncio
async def test_go_libp2p_says_who_it_is_in_two_messages(backend: str) -> None:
    """100 more handlers: kubo's size. go-libp2p cuts identify beyond 2 KiB, and push as well."""
    binary = require_binary("go-libp2p", "libp2p-peer")
    pushed: asyncio.Future[IdentifyInfo] = asyncio.get_running_loop().create_future()

    async def learn(stream: Libp2pStream) -> None:
        info = await receive_identify(stream)
        if any(name.startswith("/wraith/more/") for name in info.protocols) and not pushed.done():
            pushed.set_result(info)

    async with (
        ForeignPeer(binary, "listen", "100") as peer,
        await Libp2pHost.create(config=config(backend)) as host,
    ):
        host.handle(identify.PUSH_PROTOCOL, learn)
        listening = await peer.event("listening")
        connection = await host.dial(listening["multiaddr"])
        info = await connection.identify()
        extra = [name for name in info.protocols if name.startswith("/wraith/extra/")]
        assert len(extra) == 100 and ECHO_PROTOCOL in info.protocols
        assert info.public_key is not None

        await peer.event("connected")
        peer.say("more 100")
        async with asyncio.timeout(20):
            assert len((await pushed).protocols) > 100


@pytest.mark.asyncio
async def test_go_libp2p_reads_who_we_are_in_several_messages(backend: str) -> None:
    binary = require_binary("go-libp2p", "libp2p-peer")
    # 6 KB of names in 100 of them: a go-libp2p peer store takes 128.
    names = {f"/wraith/{'long/' * 10}{n}/1.0.0" for n in range(100)}
    async with await Libp2pHost.create(listen=LISTEN, config=config(backend)) as host:
        for name in names:
            host.handle(name, serve_echo)
        host.handle(ECHO_PROTOCOL, serve_echo)
        async with ForeignPeer(binary, "dial", str(host.listen_addresses[0]), "1000") as peer:
            assert names < set((await peer.event("identify"))["protocols"])


# ---- quic-go, with the groups chosen ------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("groups", "policy", "reached"),
    [
        ("default", PqPolicy.REQUIRE, "X25519MLKEM768"),
        ("default", PqPolicy.PREFER, "X25519MLKEM768"),
        ("hybrid", PqPolicy.REQUIRE, "X25519MLKEM768"),
        ("classical", PqPolicy.PREFER, "X25519"),
        ("default", PqPolicy.CLASSICAL, "X25519"),
        ("classical", PqPolicy.REQUIRE, None),
        ("hybrid", PqPolicy.CLASSICAL, None),
    ],
)
async def test_we_dial_quic_go(
    backend: str, groups: str, policy: PqPolicy, reached: str | None
) -> None:
    binary = require_binary("go-libp2p", "quic-peer")
    async with (
        ForeignPeer(binary, "listen", groups) as peer,
        await Libp2pHost.create(config=config(backend, policy)) as host,
    ):
        listening = await peer.event("listening")
        port = listening["address"].rpartition(":")[2]
        target = f"/ip4/127.0.0.1/udp/{port}/quic-v1/p2p/{listening['peer_id']}"
        if reached is None:
            with pytest.raises(ConnectFailed, match="handshake_failure") as refused:
                await host.dial(target)
            assert ("--policy prefer" in refused.value.hint) == (policy is PqPolicy.REQUIRE)
            return
        connection = await host.dial(target)
        assert connection.security.group == reached
        assert (await peer.event("connected"))["group"] == reached
        data = os.urandom(MIB)
        received = await exchange(connection.open_raw_stream(), b"e" + data)
        echoed = await peer.event("echo")
        assert received == echoed["sha256"] == hashlib.sha256(data).hexdigest()


async def quic_go_dials(backend: str, groups: str, policy: PqPolicy, cid_bytes: int) -> str | None:
    """The group that quic-go reports after an echo of 1 MiB, ``None`` when we refused it."""
    binary = require_binary("go-libp2p", "quic-peer")

    async def echo_raw(stream: Libp2pStream) -> None:
        async with stream:
            assert await stream.read_exactly(1) == b"e"
            await serve_echo(stream)

    async with await Libp2pHost.create(listen=LISTEN, config=config(backend, policy)) as host:
        host.on_raw_stream = echo_raw
        target = f"127.0.0.1:{host.listen_addresses[0].value('udp')}"
        arguments = ("dial", target, groups, str(MIB), "echo", str(cid_bytes))
        async with ForeignPeer(binary, *arguments) as peer:
            first = await peer.next()
            if first["event"] == "failed":
                assert "0x128" in first["error"], first
                assert host.counters.refusals["handshake_failure"] == 1
                return None
            echoed = await peer.event("echo")
            assert echoed["sha256"] == echoed["sent_sha256"] and echoed["bytes"] == MIB
        assert host.counters.handshakes == {first["group"]: 1}
        return str(first["group"])


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("groups", "policy", "reached"),
    [
        ("default", PqPolicy.REQUIRE, "X25519MLKEM768"),
        ("hybrid", PqPolicy.PREFER, "X25519MLKEM768"),
        ("classical", PqPolicy.PREFER, "X25519"),
        ("classical", PqPolicy.REQUIRE, None),
    ],
)
async def test_quic_go_dials_us(
    backend: str, groups: str, policy: PqPolicy, reached: str | None
) -> None:
    assert await quic_go_dials(backend, groups, policy, 8) == reached


@pytest.mark.asyncio
async def test_quic_go_dials_us_with_empty_connection_ids(
    backend: str, request: pytest.FixtureRequest
) -> None:
    if backend == "qh3":
        # qh3 2.1.0 keeps sending to the id that the client made up for its first packet. A release
        # that does better turns this red, and the note in quic_qh3.py goes.
        request.applymarker(pytest.mark.xfail(strict=True, reason="empty connection ids in qh3"))
    assert await quic_go_dials(backend, "default", PqPolicy.REQUIRE, 0) == "X25519MLKEM768"


def test_go_recomputes_our_hybrid_vectors() -> None:
    """Go's X25519, ML-KEM and another BLAKE3 reach the same shares and secrets."""
    binary = require_binary("go-libp2p", "kex-check")
    done = subprocess.run([binary, VECTORS], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 cases agree" in done.stdout
