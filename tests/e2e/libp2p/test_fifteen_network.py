"""Acceptance tests 1, 8, 9 and 12 to 15 of libp2p-quic section 9, over sockets on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import os
import socket
import statistics
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from wraith.aio.libp2p import Libp2pConnection, Libp2pHost
from wraith.aio.libp2p.protocols import ECHO_PROTOCOL, serve_echo
from wraith.aio.libp2p.stream import Libp2pStream
from wraith.errors import (
    ConfigError,
    HandshakeTimeout,
    LocalProtocolError,
    PeerClosed,
    PeerKeyMismatch,
    RemoteProtocolError,
    StreamReset,
    TransportError,
)
from wraith.libp2p.config import PqPolicy, QuicLimits, QuicTransportConfig
from wraith.libp2p.multiaddr import Multiaddr
from wraith.libp2p.multistream import HEADER, encode_message
from wraith.testing.netem import LinkConfig
from wraith.testing.quic_link import QuicPair, TlsPair

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]

LISTEN = ["/ip4/127.0.0.1/udp/0/quic-v1"]


@pytest.fixture(params=["aioquic", "qh3"])
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    pytest.importorskip(name)
    return name


@contextlib.asynccontextmanager
async def server(config: QuicTransportConfig | None = None) -> AsyncIterator[Libp2pHost]:
    async with await Libp2pHost.create(listen=LISTEN, config=config) as host:
        host.handle(ECHO_PROTOCOL, serve_echo)
        yield host


def address(host: Libp2pHost) -> Multiaddr:
    return host.listen_addresses[0]


async def echo(connection: Libp2pConnection, data: bytes) -> bytes:
    stream = await connection.open_stream(ECHO_PROTOCOL)
    async with stream, asyncio.TaskGroup() as tasks:
        tasks.create_task(send_all(stream, data))
        return await stream.read_all(len(data) + 1)


async def send_all(stream: Libp2pStream, data: bytes) -> None:
    await stream.write(data)
    await stream.close_write()


@pytest.mark.parametrize(
    ("client", "listener", "group"),
    [
        (PqPolicy.REQUIRE, PqPolicy.REQUIRE, "X25519MLKEM768"),
        (PqPolicy.PREFER, PqPolicy.REQUIRE, "X25519MLKEM768"),
        (PqPolicy.PRIVATE_EXT, PqPolicy.PRIVATE_EXT, "X25519+ML-KEM-768 (private extension)"),
    ],
)
async def test_hybrid_handshake_success(
    backend: str, client: PqPolicy, listener: PqPolicy, group: str
) -> None:
    """Test 1: both sides connect, share a secret, ML-KEM was used, within a second."""
    served: list[Libp2pConnection] = []
    async with server(QuicTransportConfig(policy=listener, backend=backend)) as host:
        host.on_connection = served.append
        config = QuicTransportConfig(policy=client, backend=backend)
        async with await Libp2pHost.create(config=config) as dialler:
            connection = await dialler.dial(address(host))
            assert connection.security.group == group and connection.security.post_quantum
            assert connection.security.handshake_ms < 1000
            await connection.ping()
            (other,) = served
            assert other.security.group == group
            assert (connection.peer_id, other.peer_id) == (host.peer_id, dialler.peer_id)
            assert connection.export_key("shared") == other.export_key("shared")


async def test_full_connection_establishment(backend: str) -> None:
    """Test 8: data both ways, half close, reset, identify, graceful close."""
    config = QuicTransportConfig(backend=backend)
    async with server(config) as host, await Libp2pHost.create(config=config) as dialler:
        connection = await dialler.dial(address(host))
        data = os.urandom(300_000)
        assert await echo(connection, data) == data

        info = await connection.identify()
        assert ECHO_PROTOCOL in info.protocols and info.agent_version.startswith("wraith/")
        assert info.observed_address is not None

        stream = await connection.open_stream("/no/such/1", ECHO_PROTOCOL)
        assert stream.protocol == ECHO_PROTOCOL
        await stream.write(b"half")
        assert await stream.read_exactly(4) == b"half"
        await stream.close_write()
        assert await stream.read() == b""
        with pytest.raises(LocalProtocolError):
            await stream.write(b"more")

        with pytest.raises(RemoteProtocolError, match="none of"):
            await connection.open_stream("/no/such/1", "/nor/this/1")
        assert await connection.transport_ping() < 5
        assert len(connection._streams) == 0, "streams that are over are forgotten"

        connection.close(0x77, "done")
        assert await connection.wait_closed() is None
        with pytest.raises(TransportError):
            connection.open_raw_stream()


async def test_streams_reset_and_stop_with_codes(backend: str) -> None:
    """Test 8, the rude ways: a peer that resets, and one that does not want to read."""
    config = QuicTransportConfig(backend=backend)
    async with server(config) as host, await Libp2pHost.create(config=config) as dialler:

        async def rude(stream: Libp2pStream) -> None:
            await stream.read_exactly(3)
            stream.reset(0x99)

        host.handle("/rude/1", rude)
        connection = await dialler.dial(address(host))
        stream = await connection.open_stream("/rude/1")
        await stream.write(b"abc")
        with pytest.raises(StreamReset) as caught:
            await stream.read()
        assert caught.value.stream_code == 0x99
        with pytest.raises(StreamReset):
            for _ in range(1000):
                await stream.write(bytes(1 << 16))


async def test_back_pressure_reaches_the_writer(backend: str) -> None:
    """A handler that does not read stops ``write`` after a bounded amount."""
    config = QuicTransportConfig(
        backend=backend,
        stream_window=128 << 10,
        connection_window=256 << 10,
        send_buffer_bytes=128 << 10,
    )
    async with server(config) as host, await Libp2pHost.create(config=config) as dialler:
        let_go = asyncio.Event()

        async def lazy(stream: Libp2pStream) -> None:
            await let_go.wait()
            await serve_echo(stream)

        host.handle("/lazy/1", lazy)
        connection = await dialler.dial(address(host))
        stream = await connection.open_stream("/lazy/1")
        data = os.urandom(2 << 20)
        written = 0

        async def write() -> None:
            nonlocal written
            for start in range(0, len(data), 1 << 14):
                await stream.write(data[start : start + (1 << 14)])
                written += 1 << 14
            await stream.close_write()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write())
            for _ in range(20):  # until nothing more moves
                before = written
                await connection.transport_ping()
                if written == before and written:
                    break
            assert 0 < written <= 640 << 10
            let_go.set()
            assert await stream.read_all(4 << 20) == data


async def test_what_arrived_before_the_end_is_still_read(backend: str) -> None:
    """A peer that says everything, ends the stream and closes at once loses nothing."""
    config = QuicTransportConfig(backend=backend)
    data = os.urandom(200_000)
    async with server(config) as host, await Libp2pHost.create(config=config) as dialler:

        async def hasty(stream: Libp2pStream) -> None:
            await stream.write(data)
            await stream.close_write()
            await stream.read()  # the peer has it all
            stream.connection.close()

        host.handle("/hasty/1", hasty)
        connection = await dialler.dial(address(host))
        stream = await connection.open_stream("/hasty/1")
        first = await stream.read_exactly(1)
        while len(first) + stream.n_waiting < len(data):
            await connection.transport_ping()
        await stream.close_write()
        assert await connection.wait_closed() is None
        assert first + await stream.read_all(1 << 20) == data
        cut = Libp2pStream(connection, 400)
        with pytest.raises(TransportError):
            await cut.read()


@pytest.mark.spec("LQ-71")
async def test_leaving_a_host_delivers_what_was_written(backend: str) -> None:
    """One-way protocols: write, finish, leave."""
    config = QuicTransportConfig(backend=backend)
    got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def store(stream: Libp2pStream) -> None:
        got.set_result(await stream.read_all(1 << 20))

    async with server(config) as host:
        host.handle("/store/1", store)
        async with await Libp2pHost.create(config=config) as dialler:
            stream = await (await dialler.dial(address(host))).open_stream("/store/1")
            await stream.write(b"hello")
            await stream.close_write()
        async with asyncio.timeout(5):
            assert await got == b"hello"


@pytest.mark.spec("LQ-71")
async def test_a_handler_s_answer_is_delivered_before_its_close(backend: str) -> None:
    config = QuicTransportConfig(backend=backend)
    data = os.urandom(200_000)

    async def hasty(stream: Libp2pStream) -> None:
        await stream.write(data)
        await stream.close_write()
        stream.connection.close()

    async with server(config) as host, await Libp2pHost.create(config=config) as dialler:
        host.handle("/hasty/1", hasty)
        connection = await dialler.dial(address(host))
        stream = await connection.open_stream("/hasty/1")
        assert await stream.read_all(1 << 20) == data
        assert await connection.wait_closed() is None


@pytest.mark.spec("LQ-72")
async def test_a_handler_reads_what_came_before_the_peer_s_close(backend: str) -> None:
    """Acknowledged is arrived: the handler that had not looked yet finds all of it."""
    config = QuicTransportConfig(backend=backend)
    got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    may_read = asyncio.Event()

    async def busy(stream: Libp2pStream) -> None:
        try:
            await may_read.wait()
            got.set_result(await stream.read_all(1 << 20))
        except asyncio.CancelledError:
            got.set_exception(AssertionError("cancelled with unread data"))
            raise

    served: list[Libp2pConnection] = []
    async with server(config) as host, await Libp2pHost.create(config=config) as dialler:
        host.handle("/busy/1", busy)
        host.on_connection = served.append
        connection = await dialler.dial(address(host))
        stream = await connection.open_stream("/busy/1")
        await stream.write(bytes(5000))
        await stream.close_write()
        await connection.transport_ping()
        connection.close()
        (other,) = served
        assert await other.wait_closed() is None
        may_read.set()
        assert await got == bytes(5000)


@pytest.mark.spec("LQ-72")
@pytest.mark.parametrize("goodbye", ["closes", "wants no answer"])
async def test_a_peer_that_does_not_wait_for_the_negotiation_is_heard(
    backend: str, goodbye: str
) -> None:
    """Header, proposal, data and end at once, as go-libp2p does when it only pushes."""
    config = QuicTransportConfig(backend=backend)
    got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def store(stream: Libp2pStream) -> None:
        got.set_result(await stream.read_all(1 << 20))

    async with server(config) as host, await Libp2pHost.create(config=config) as dialler:
        host.handle("/store/1", store)
        connection = await dialler.dial(address(host))
        stream = connection.open_raw_stream()
        await stream.write(encode_message(HEADER) + encode_message("/store/1") + b"hello")
        await stream.close_write()
        if goodbye == "closes":
            connection.close()
        else:
            stream.stop()
        async with asyncio.timeout(5):
            assert await got == b"hello"


@pytest.mark.spec("LQ-71")
async def test_delivery_can_be_waited_for(backend: str) -> None:
    config = QuicTransportConfig(backend=backend)
    async with server(config) as host, await Libp2pHost.create(config=config) as dialler:

        async def lazy(stream: Libp2pStream) -> None:
            await asyncio.Event().wait()

        host.handle("/lazy/1", lazy)
        connection = await dialler.dial(address(host))
        stream = await connection.open_stream("/lazy/1")
        await stream.write(bytes(100_000))
        await connection.wait_delivered()
        (other,) = host.connections
        (served,) = other._streams.values()
        assert served.n_waiting == 100_000
        await connection.wait_delivered()
        connection.close()
        await connection.wait_closed()
        with pytest.raises(TransportError):
            await connection.wait_delivered()


@pytest.mark.spec("LQ-72")
async def test_a_handler_with_nothing_left_to_read_is_cancelled(backend: str) -> None:
    """The nearest other case: a request that was cut off is no reason to stay."""
    config = QuicTransportConfig(backend=backend)
    cancelled = asyncio.Event()

    async def stuck(stream: Libp2pStream) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with server(config) as host, await Libp2pHost.create(config=config) as dialler:
        host.handle("/stuck/1", stuck)
        connection = await dialler.dial(address(host))
        await connection.open_stream("/stuck/1")
        connection.close()
        async with asyncio.timeout(5):
            await cancelled.wait()


@pytest.mark.spec("LQ-73")
@pytest.mark.parametrize(("n_streams", "hold_s"), [(120, 0.3), (1000, 0.0)])
async def test_more_streams_than_the_peer_allows(
    backend: str, n_streams: int, hold_s: float
) -> None:
    """All at once on one connection that allows 100: each waits for its turn, none fails."""
    config = QuicTransportConfig(backend=backend)
    at_once = most = 0

    async def slow(stream: Libp2pStream) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(hold_s)
        await stream.write(await stream.read_all(100))
        at_once -= 1

    async with server(config) as host, await Libp2pHost.create(config=config) as dialler:
        host.handle("/slow/1", slow)
        connection = await dialler.dial(address(host))

        async def one(number: int) -> bytes:
            async with await connection.open_stream("/slow/1") as stream:
                await stream.write(b"%d" % number)
                await stream.close_write()
                return await stream.read_all(100)

        answers = await asyncio.gather(*(one(number) for number in range(n_streams)))
        assert answers == [b"%d" % number for number in range(n_streams)]
        assert most <= 100
        assert connection.is_open


@pytest.mark.spec("LQ-73")
async def test_waiting_for_a_stream_ends_with_the_connection(backend: str) -> None:
    config = QuicTransportConfig(backend=backend)
    async with server(config) as host, await Libp2pHost.create(config=config) as dialler:
        connection = await dialler.dial(address(host))
        while connection.machine.stream_credit:
            connection.open_raw_stream()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await connection.open_stream(ECHO_PROTOCOL)
        assert connection.is_open
        waiting = asyncio.ensure_future(connection.open_stream(ECHO_PROTOCOL))
        await asyncio.sleep(0)
        connection.close()
        with pytest.raises(TransportError):
            await waiting


async def test_a_handler_s_defect_resets_its_stream_only(backend: str) -> None:
    config = QuicTransportConfig(backend=backend)
    seen: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: seen.append(context))
    async with server(config) as host, await Libp2pHost.create(config=config) as dialler:

        async def broken(stream: Libp2pStream) -> None:
            await stream.read()
            raise ZeroDivisionError("a defect")

        host.handle("/broken/1", broken)
        connection = await dialler.dial(address(host))
        stream = await connection.open_stream("/broken/1")
        await stream.write(b"go")
        with pytest.raises(StreamReset):
            await stream.read()
        assert await echo(connection, b"still here") == b"still here"
    gc.collect()
    assert isinstance(seen[0]["exception"], ZeroDivisionError)


@pytest.mark.parametrize("kind", ["dead port", "silent port"])
async def test_connection_timeout_handling(backend: str, kind: str) -> None:
    """Test 9: an error that is a timeout, between the limit and one second more."""
    config = QuicTransportConfig(backend=backend)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        if kind == "dead port":
            silent.close()
        async with await Libp2pHost.create(config=config) as dialler:
            target = f"/ip4/127.0.0.1/udp/{port}/quic-v1/p2p/{dialler.peer_id}"
            began = asyncio.get_running_loop().time()
            with pytest.raises(HandshakeTimeout):
                await dialler.dial(target, timeout_s=1.0)
            assert 1.0 <= asyncio.get_running_loop().time() - began <= 2.0


async def test_handshake_performance(backend: str) -> None:
    """Test 12: 100 runs, p50 < 500 ms, p95 < 1 s, none over 2 s.

    Bounds that only a broken machine misses; what a change of ours costs is gated below.
    """
    config = QuicTransportConfig(backend=backend)
    took = []
    async with server(config) as host, await Libp2pHost.create(config=config) as dialler:
        for _ in range(100):
            connection = await dialler.dial(address(host))
            took.append(connection.security.handshake_ms)
            connection.close()
    took.sort()
    assert statistics.median(took) < 500 and took[95] < 1000 and took[-1] < 2000
    cost = handshake_cost(backend)
    assert cost.round_trips == 1.0
    assert cost.datagrams <= {"aioquic": 6, "qh3": 9}[backend]
    assert cost.calls <= {"aioquic": 5_300, "qh3": 3_600}[backend]


class HandshakeCost(NamedTuple):
    """What a handshake takes, free of the machine: both ends, until both are connected."""

    round_trips: float
    datagrams: int
    calls: int


def handshake_cost(backend: str) -> HandshakeCost:
    """Of the second one, when caches are warm; calls are those of Python functions."""
    latency_s = 0.05
    for seed in (1, 2):
        config = QuicTransportConfig(backend=backend, keepalive_s=None)
        pair = QuicPair(config, link=LinkConfig(latency_s=latency_s), seed=seed)
        calls = 0

        def count(frame: object, event: str, argument: object) -> None:
            nonlocal calls
            calls += event == "call"

        before = sys.getprofile()
        sys.setprofile(count)
        try:
            pair.connect()
        finally:
            sys.setprofile(before)
    security = pair.client_log.security()
    assert security is not None
    datagrams = pair.client.counters.datagrams_sent + pair.server.counters.datagrams_sent
    return HandshakeCost(round(security.handshake_ms / (2000 * latency_s), 3), datagrams, calls)


@pytest.mark.spec("LQ-42")
@pytest.mark.parametrize("policy", [PqPolicy.REQUIRE, PqPolicy.PREFER, PqPolicy.PRIVATE_EXT])
async def test_bandwidth_overhead(policy: PqPolicy) -> None:
    """Test 13: at most 2,320 bytes more in TLS, at most 2,500 more on UDP, than plain X25519."""
    tls = TlsPair(policy).run().n_bytes - TlsPair(PqPolicy.CLASSICAL).run().n_bytes
    assert 0 < tls <= 2320

    def udp_bytes(policy: PqPolicy) -> int:
        pair = QuicPair(QuicTransportConfig(policy=policy, keepalive_s=None))
        pair.connect()
        pair.run(0.5)
        return pair.client.counters.bytes_sent + pair.server.counters.bytes_sent

    assert 0 < udp_bytes(policy) - udp_bytes(PqPolicy.CLASSICAL) <= 2500


async def loopback_bytes(policy: PqPolicy, backend: str) -> int:
    """Bytes of both directions over real sockets until both sides are connected."""
    config = QuicTransportConfig(policy=policy, backend=backend, keepalive_s=None)
    async with server(config) as host, await Libp2pHost.create(config=config) as dialler:
        before = dialler.counters.bytes_sent + host.counters.bytes_sent
        connection = await dialler.dial(address(host))
        while not host.connections:
            await asyncio.sleep(0)
        total = dialler.counters.bytes_sent + host.counters.bytes_sent - before
        assert connection.is_open
        return total


async def test_bandwidth_overhead_over_sockets(backend: str) -> None:
    """Test 13 on real sockets: the driver drains before it sends, so no lone Initial is padded.

    The smallest of five runs: the kernel may split one flight over two wake-ups.
    """
    hybrid = [await loopback_bytes(PqPolicy.REQUIRE, backend) for _ in range(5)]
    classical = [await loopback_bytes(PqPolicy.CLASSICAL, backend) for _ in range(5)]
    assert 0 < min(hybrid) - min(classical) <= 2500


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
@pytest.mark.parametrize("n_clients", [10, 110])
async def test_concurrent_connections(backend: str, n_clients: int) -> None:
    """Test 14: 10, then 100+ simultaneous dials without a failure; no descriptor or object left."""
    limits = QuicLimits(connections_per_peer=1000, retry_above_pending=64)
    # A busy machine is no failure of a handshake: the time is not what is tested here.
    config = QuicTransportConfig(backend=backend, limits=limits, handshake_timeout_s=45.0)
    gc.collect()
    before = open_descriptors()
    async with server(config) as host, await Libp2pHost.create(config=config) as dialler:
        connections = await asyncio.gather(*(dialler.dial(address(host)) for _ in range(n_clients)))
        answers = await asyncio.gather(
            *(echo(each, bytes((number % 256,)) * 500) for number, each in enumerate(connections))
        )
        assert [answer[0] for answer in answers] == [n % 256 for n in range(n_clients)]
        assert len(host.connections) == n_clients
        assert all(each.security.post_quantum for each in host.connections)
    assert open_descriptors() == before
    assert dialler.connections == [] and host.connections == []


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
@pytest.mark.parametrize("n_clients", [10, 110])
async def test_concurrent_clients_of_their_own(backend: str, n_clients: int) -> None:
    """Test 14 with a socket and an identity per client, all connected at once, shipped limits."""
    config = QuicTransportConfig(backend=backend, handshake_timeout_s=45.0)
    gc.collect()
    before = open_descriptors()
    all_connected = asyncio.Event()
    n_connected = 0

    async def one(target: Multiaddr) -> bytes:
        nonlocal n_connected
        async with await Libp2pHost.create(config=config) as dialler:
            connection = await dialler.dial(target, confirmed=True)
            n_connected += 1
            if n_connected == n_clients:
                all_connected.set()
            await all_connected.wait()
            return await echo(connection, str(dialler.peer_id).encode())

    async with server(config) as host:
        tasks = [asyncio.ensure_future(one(address(host))) for _ in range(n_clients)]
        await all_connected.wait()
        assert len(host.connections) == n_clients and not host.counters.refusals
        peers = {str(each.peer_id).encode() for each in host.connections}
        assert set(await asyncio.gather(*tasks)) == peers and len(peers) == n_clients
        assert host.counters.handshakes == {"X25519MLKEM768": n_clients}
    assert open_descriptors() == before


async def test_connection_migration(backend: str) -> None:
    """Test 15: two changes of port in mid-transfer, each with a new connection id; hash equal."""
    config = QuicTransportConfig(backend=backend)
    served: list[Libp2pConnection] = []
    async with server(config) as host, await Libp2pHost.create(config=config) as dialler:
        host.on_connection = served.append
        connection = await dialler.dial(address(host))
        first = connection.machine.packet.remote
        data = os.urandom(3 << 20)
        received = bytearray()
        ports: set[int] = set()
        stream = await connection.open_stream(ECHO_PROTOCOL)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(send_all(stream, data))
            while piece := await stream.read():
                received += piece
                if len(received) > (len(ports) + 1) * len(data) // 3 and len(ports) < 2:
                    ports.add(await dialler.rebind())
        assert hashlib.sha256(received).digest() == hashlib.sha256(data).digest()
        assert len(ports) == 2
        (other,) = served
        assert other.is_open and other.machine.remote.port in ports
        assert connection.machine.packet.remote == first


@pytest.mark.spec("LQ-60")
async def test_the_time_for_a_negotiation_is_a_setting(backend: str) -> None:
    config = QuicTransportConfig(backend=backend, negotiation_timeout_s=0.3)

    async def says_nothing(stream: Libp2pStream) -> None:
        await stream.read_all(1 << 10)

    async with server(config) as host, await Libp2pHost.create(config=config) as dialler:
        host.on_raw_stream = says_nothing
        connection = await dialler.dial(address(host))
        with pytest.raises(RemoteProtocolError, match="did not answer"):
            async with asyncio.timeout(5):
                await connection.open_stream("/any/1")


@pytest.mark.spec("LQ-77")
async def test_a_key_log_holds_what_both_ends_derived(backend: str) -> None:
    """Four secrets, equal on both sides, under one client random; nobody else logs."""
    config = QuicTransportConfig(backend=backend)
    logs: tuple[list[str], list[str]] = ([], [])
    async with (
        await Libp2pHost.create(listen=LISTEN, config=config, key_log=logs[0].append) as host,
        await Libp2pHost.create(config=config, key_log=logs[1].append) as dialler,
    ):
        await (await dialler.dial(address(host))).ping()
        assert sorted(logs[0]) == sorted(logs[1])
        labels, randoms, secrets = zip(*(line.split() for line in logs[0]), strict=True)
        assert sorted(labels) == [
            "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
            "CLIENT_TRAFFIC_SECRET_0",
            "SERVER_HANDSHAKE_TRAFFIC_SECRET",
            "SERVER_TRAFFIC_SECRET_0",
        ]
        assert len(set(randoms)) == 1 and len(randoms[0]) == 64
        assert len(set(secrets)) == 4 and all(len(secret) == 64 for secret in secrets)


@pytest.mark.spec("LQ-76")
async def test_a_confirmed_dial_is_known_to_the_server(backend: str) -> None:
    config = QuicTransportConfig(backend=backend)
    async with server(config) as host, await Libp2pHost.create(config=config) as dialler:
        connection = await dialler.dial(address(host), confirmed=True)
        assert connection.machine.confirmed and len(host.connections) == 1
        target = address(host)
        host.machine.listening = False
        with pytest.raises(HandshakeTimeout):
            await dialler.dial(target, confirmed=True, timeout_s=0.3)


@pytest.mark.spec("LQ-3")
@pytest.mark.spec("LQ-6")
async def test_wrong_peer_id_and_unnamed_peer() -> None:
    async with server() as host, await Libp2pHost.create() as dialler:
        somebody_else = address(host).with_peer(dialler.peer_id)
        with pytest.raises(PeerKeyMismatch):
            await dialler.dial(somebody_else)
        unnamed = str(address(host)).partition("/p2p/")[0]
        with pytest.raises(ConfigError, match="/p2p/"):
            await dialler.dial(unnamed)
        connection = await dialler.dial(unnamed, any_peer=True)
        assert connection.peer_id == host.peer_id


async def test_ipv6_and_names() -> None:
    try:
        host = await Libp2pHost.create(listen=["/ip6/::1/udp/0/quic-v1"])
    except TransportError:
        pytest.skip("no IPv6 loopback here")
    async with host, await Libp2pHost.create() as dialler:
        await (await dialler.dial(address(host))).ping()
    async with server() as named, await Libp2pHost.create() as dialler:
        port = address(named).value("udp")
        connection = await dialler.dial(f"/dns4/localhost/udp/{port}/quic-v1/p2p/{named.peer_id}")
        assert connection.peer_id == named.peer_id


async def test_closing_a_host_tells_its_peers() -> None:
    async with server() as host, await Libp2pHost.create() as dialler:
        connection = await dialler.dial(address(host))
        await connection.ping()  # both sides are past the handshake
        await host.close(0x1007, "maintenance")
        error = await connection.wait_closed()
        assert isinstance(error, PeerClosed) and error.reason == "maintenance"
        with pytest.raises(LocalProtocolError):
            await host.dial(f"/ip4/127.0.0.1/udp/1/quic-v1/p2p/{dialler.peer_id}")
