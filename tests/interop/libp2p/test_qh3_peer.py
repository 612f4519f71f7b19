"""Against qh3's own TLS and packet layer (aws-lc), as client and as server of a foreign stack.

qh3 speaks QUIC and TLS, not libp2p: its side of multistream and ping is written here, byte by byte.
It cannot ask for a client certificate, and it cannot report its group; that both ends finish under
REQUIRE, where our engine knows the hybrid group only, is what shows it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
from typing import Any

import pytest

from wraith.aio.clock import SystemClock
from wraith.aio.entropy import OsRng
from wraith.aio.libp2p import Libp2pConnection, Libp2pHost
from wraith.aio.libp2p.protocols import ECHO_PROTOCOL, serve_echo
from wraith.crypto.ed25519 import Identity
from wraith.errors import ConnectFailed, PeerKeyMismatch
from wraith.libp2p.certificate import CertificateKey, host_key_of, make_certificate
from wraith.libp2p.config import PqPolicy, QuicTransportConfig
from wraith.libp2p.multistream import MultistreamResponder
from wraith.libp2p.peer_id import PeerId
from wraith.libp2p.tls.codec import SignatureScheme
from wraith.testing.foreign_peers import absent

try:
    import qh3.asyncio
    from qh3.quic.configuration import QuicConfiguration
except ImportError:
    qh3 = None

pytestmark = [pytest.mark.interop, pytest.mark.asyncio, pytest.mark.timeout(60)]
LISTEN = ["/ip4/127.0.0.1/udp/0/quic-v1"]
MIB = 1 << 20


@pytest.fixture(autouse=True)
def installed() -> None:
    if qh3 is None:
        absent("qh3", "the package is not installed")


def foreign_identity() -> tuple[PeerId, CertificateKey]:
    """A P-256 certificate: qh3's clients do not offer Ed25519."""
    rng = OsRng()
    identity = Identity.generate(rng)
    certificate = make_certificate(
        identity, rng, SystemClock().unix_time(), scheme=SignatureScheme.ECDSA_SECP256R1_SHA256
    )
    return PeerId.from_public_key(host_key_of(identity)), certificate


def foreign_configuration(certificate: CertificateKey | None, **changes: Any) -> Any:
    configuration = QuicConfiguration(alpn_protocols=["libp2p"], **changes)
    if certificate is not None:
        configuration.load_cert_chain(*certificate.pem())
    return configuration


def message(text: str) -> bytes:
    return bytes((len(text) + 1,)) + text.encode() + b"\n"


async def dial_us(port: int, certificate: CertificateKey | None) -> Any:
    configuration = foreign_configuration(
        certificate, is_client=True, verify_mode=ssl.CERT_NONE, server_name="peer"
    )
    return qh3.asyncio.connect("127.0.0.1", port, configuration=configuration)


async def test_qh3_dials_us() -> None:
    """Echo of 1 MiB and a ping under REQUIRE, with qh3's own client certificate as the identity."""
    peer_id, certificate = foreign_identity()
    served: list[Libp2pConnection] = []
    async with await Libp2pHost.create(listen=LISTEN) as host:
        host.handle(ECHO_PROTOCOL, serve_echo)
        host.on_connection = served.append
        port = int(host.listen_addresses[0].value("udp") or 0)
        async with await dial_us(port, certificate) as client:
            reader, writer = await client.create_stream()
            data = os.urandom(MIB)
            writer.write(message("/multistream/1.0.0") + message(ECHO_PROTOCOL) + data)
            writer.write_eof()
            expected = message("/multistream/1.0.0") + message(ECHO_PROTOCOL)
            assert await reader.readexactly(len(expected)) == expected
            received = await reader.read()
            assert hashlib.sha256(received).digest() == hashlib.sha256(data).digest()

            reader, writer = await client.create_stream()
            payload = os.urandom(32)
            writer.write(message("/multistream/1.0.0") + message("/ipfs/ping/1.0.0") + payload)
            expected = message("/multistream/1.0.0") + message("/ipfs/ping/1.0.0") + payload
            assert await reader.readexactly(len(expected)) == expected
        assert served[0].security.group == "X25519MLKEM768"
        assert served[0].peer_id == peer_id


async def test_qh3_without_a_certificate_is_refused() -> None:
    async with await Libp2pHost.create(listen=LISTEN) as host:
        port = int(host.listen_addresses[0].value("udp") or 0)
        refusals: list[str] = []
        host.on_refused = lambda error: refusals.append(str(error))
        async with await dial_us(port, None) as client:
            await asyncio.wait_for(client.wait_closed(), 10)
        assert refusals == ["the client sent no certificate (certificate_required)"]


async def serve_foreign(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """qh3's side of multistream and echo."""
    machine = MultistreamResponder({ECHO_PROTOCOL})
    while machine.chosen is None:
        machine.receive(await reader.read(1000))
        writer.write(machine.bytes_to_send())
    writer.write(machine.rest + await reader.read())
    writer.write_eof()


async def start_foreign(certificate: CertificateKey) -> tuple[Any, int]:
    tasks: list[asyncio.Task[None]] = []
    server = await qh3.asyncio.serve(
        "127.0.0.1",
        0,
        configuration=foreign_configuration(certificate, is_client=False),
        stream_handler=lambda r, w: tasks.append(asyncio.ensure_future(serve_foreign(r, w))),
    )
    return server, server._transport.get_extra_info("sockname")[1]


async def test_we_dial_qh3() -> None:
    peer_id, certificate = foreign_identity()
    server, port = await start_foreign(certificate)
    try:
        async with await Libp2pHost.create() as host:
            target = f"/ip4/127.0.0.1/udp/{port}/quic-v1/p2p/{peer_id}"
            connection = await host.dial(target)
            assert connection.security.group == "X25519MLKEM768"
            stream = await connection.open_stream(ECHO_PROTOCOL)
            data = os.urandom(MIB)
            async with stream, asyncio.TaskGroup() as tasks:

                async def send() -> None:
                    await stream.write(data)
                    await stream.close_write()

                tasks.create_task(send())
                received = await stream.read_all(2 * MIB)
            assert hashlib.sha256(received).digest() == hashlib.sha256(data).digest()
            with pytest.raises(PeerKeyMismatch):
                await host.dial(f"/ip4/127.0.0.1/udp/{port}/quic-v1/p2p/{host.peer_id}")
    finally:
        server.close()


async def test_we_dial_qh3_classically() -> None:
    """X25519 on both sides works under CLASSICAL and is refused by a REQUIRE listener of ours."""
    peer_id, certificate = foreign_identity()
    server, port = await start_foreign(certificate)
    classical = QuicTransportConfig(policy=PqPolicy.CLASSICAL)
    try:
        async with await Libp2pHost.create(config=classical) as host:
            connection = await host.dial(f"/ip4/127.0.0.1/udp/{port}/quic-v1/p2p/{peer_id}")
            assert connection.security.group == "X25519"
    finally:
        server.close()
    async with (
        await Libp2pHost.create(listen=LISTEN) as strict,
        await Libp2pHost.create(config=classical) as host,
    ):
        with pytest.raises(ConnectFailed):
            await host.dial(strict.listen_addresses[0])
