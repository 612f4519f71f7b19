"""What the kernel says of a connection that stands still."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys

import pytest

import wraith
from wraith.aio.transports.tcp_info import TcpInfo, parse_tcp_info, read_tcp_info
from wraith.connection.roads.reasons import RoadFailure, RoadReason
from wraith.testing.netns import require_netns, routed

KIB = 1024
DEADLINE_S = 30.0


def kernel_says(*, unacked: int, retransmits: int, acked: int, received: int) -> bytes:
    """A ``struct tcp_info`` as Linux lays it out, with more behind it, as newer kernels have."""
    eight = bytes((1, 0, retransmits, 0, retransmits, 0, 0, 0))
    figures = [0] * 24
    figures[4], figures[12] = unacked, 1_500
    return eight + struct.pack("=24I4Q", *figures, 1, 2, acked, received) + bytes(100)


@pytest.mark.spec("RO-67")
def test_the_figures_are_read_from_where_the_kernel_puts_them() -> None:
    info = parse_tcp_info(kernel_says(unacked=3, retransmits=2, acked=1 << 33, received=18_000))
    assert info == TcpInfo(3, 2, 1.5, 1 << 33, 18_000)
    assert info.failure == RoadFailure(RoadReason.FROZEN, (1 << 33) + 18_000)


@pytest.mark.spec("RO-67")
@pytest.mark.parametrize("unacked, retransmits", [(0, 0), (0, 2), (3, 0)])
def test_only_what_is_sent_again_in_vain_is_frozen(unacked: int, retransmits: int) -> None:
    data = kernel_says(unacked=unacked, retransmits=retransmits, acked=9, received=9)
    info = parse_tcp_info(data)
    assert info is not None and info.failure is None


@pytest.mark.parametrize("n_bytes", [0, 1, 104, 135])
def test_an_older_kernel_says_nothing(n_bytes: int) -> None:
    data = kernel_says(unacked=3, retransmits=2, acked=9, received=9)
    assert parse_tcp_info(data[:n_bytes]) is None and parse_tcp_info(data[:136]) is not None


def test_a_socket_without_tcp_says_nothing() -> None:
    near, far = socket.socketpair()
    with near, far:
        assert read_tcp_info(near) is None
    assert read_tcp_info(near) is None, "nor does one that is closed"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these figures")
def test_a_connection_that_lives_is_not_frozen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far = server.accept()[0]
        with near, far:
            near.sendall(bytes(5_000))
            assert len(far.recv(5_000, socket.MSG_WAITALL)) == 5_000
            info = read_tcp_info(far)
    assert info is not None and info.bytes_received == 5_000 and info.failure is None


@pytest.mark.interop
@pytest.mark.slow
@pytest.mark.spec("RO-67")
def test_a_session_whose_link_was_frozen_says_after_how_many_bytes() -> None:
    """The router lets 16 KiB of each connection pass and drops the rest, without a word."""
    require_netns()

    async def reason_of_the_road(listen_at: str) -> str | None:
        with net.right.entered():
            listening = wraith.listen(listen_at, carriers=("udp", "tcp"))
            listener = await listening
        async with listener, wraith.connect(listener.code, carriers=("tcp",)) as session:
            await listener.accept()
            net.freeze_tcp_after(16 * KIB)
            stream = await session.open_stream()
            await stream.write(bytes(64 * KIB))
            async with asyncio.timeout(DEADLINE_S):
                while session.roads[0].reason is None:
                    await asyncio.sleep(0.05)
            return session.roads[0].reason

    with routed() as net, net.left.entered():
        reason = asyncio.run(reason_of_the_road(f"{net.right.ipv4}:0"))
    assert reason is not None
    failure = RoadFailure.from_text(reason)
    assert failure.reason is RoadReason.FROZEN and isinstance(failure.detail, int)
    assert 4 * KIB < failure.detail <= 16 * KIB
