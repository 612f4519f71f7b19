"""What a censor sees of the first write on a link: uniform bytes, and no length but that of the
packet behind 88 and 18 bytes.

Seeds are fixed; bounds are five standard deviations or more.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Sequence
from functools import cache
from math import sqrt

import pytest

from wraith.aio.transports.doorstep import Doorstep
from wraith.aio.transports.tcp import open_link
from wraith.aio.transports.tcp_listener import TcpListener
from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.connection.links.link import StreamLink
from wraith.connection.links.preface import PREFACE_BYTES, make_preface
from wraith.hotpath import RECORD_HEADER_BYTES
from wraith.testing.links import OpenDoor, RecordingHost, dialled_link, send_packets
from wraith.testing.rng import SeededRng
from wraith.testing.stages import StagedHandshake
from wraith.types import Address, Carrier, Road
from wraith.wire.handshake import DATAGRAM_BYTES_MAX, DATAGRAM_BYTES_MIN

N_LINKS = 1_000
HEAD_BYTES = PREFACE_BYTES + RECORD_HEADER_BYTES
SIGMAS = 5.0


@cache
def first_writes() -> tuple[bytes, ...]:
    """What 1,000 dialled links write at first: the preface and HELLO/0 in a record."""
    rng = SeededRng("links")
    key = AccessKey.generate(rng)
    writes = []
    for number in range(N_LINKS // 25):
        run = StagedHandshake(seed=f"hello {number}")
        for _ in range(25):
            hello = run.attempt().datagrams[0]
            preface, keys = make_preface(
                key.ak.public, None, Carrier.TCP, rng=rng, unix_now=1_800_000_000 + number
            )
            parts = StreamLink.dialled(keys, preface).frame(memoryview(hello), len(hello))
            writes.append(b"".join(parts))
    return tuple(writes)


def chi_square(counts: Sequence[int], expected: float) -> float:
    statistic = sum((c - expected) ** 2 / expected for c in counts)
    freedom = len(counts) - 1
    return (statistic - freedom) / sqrt(2 * freedom)


def check_positions(writes: Sequence[bytes], positions: range) -> None:
    """Each position: the halves of its byte, and each of its bits."""
    n = len(writes)
    for at in positions:
        column = bytes(write[at] for write in writes)
        for counts in (Counter(b >> 4 for b in column), Counter(b & 15 for b in column)):
            assert chi_square([counts[v] for v in range(16)], n / 16) < SIGMAS, at
        for bit in range(8):
            ones = sum(byte >> bit & 1 for byte in column)
            assert abs(ones - n / 2) < SIGMAS * sqrt(n) / 2, (at, bit)


@pytest.mark.spec("CA-2", "CA-8")
def test_no_byte_position_of_a_first_write_is_biased() -> None:
    writes = first_writes()
    assert len(writes) == N_LINKS
    check_positions(writes, range(HEAD_BYTES + 64))
    whole = Counter(byte for write in writes for byte in write[:HEAD_BYTES])
    assert chi_square([whole[v] for v in range(256)], N_LINKS * HEAD_BYTES / 256) < SIGMAS


@pytest.mark.spec("CA-2")
def test_no_two_first_writes_share_eight_bytes() -> None:
    blocks = [write[at : at + 8] for write in first_writes() for at in range(0, HEAD_BYTES - 7, 8)]
    assert len(set(blocks)) == len(blocks)


@pytest.mark.spec("CA-12")
def test_the_length_of_a_first_write_is_that_of_the_packet_and_106() -> None:
    sizes = [len(write) - HEAD_BYTES for write in first_writes()]
    assert min(sizes) >= DATAGRAM_BYTES_MIN and max(sizes) <= DATAGRAM_BYTES_MAX
    assert len(set(sizes)) > 300, "as varied as hellos over UDP"


@pytest.mark.spec("CA-4")
def test_no_first_write_begins_like_tls_or_text() -> None:
    for write in first_writes():
        assert write[:2] not in (b"\x16\x03", b"\x17\x03")
        assert not all(0x20 <= byte <= 0x7E for byte in write[:4])


def test_a_biased_position_is_noticed() -> None:
    for at in (0, PREFACE_BYTES - 1, PREFACE_BYTES):
        biased = [w[:at] + bytes((w[at] & 0x7F,)) + w[at + 1 :] for w in first_writes()]
        with pytest.raises(AssertionError):
            check_positions(biased, range(at, at + 1))


# --- the same at a kernel socket ------------------------------------------------------------------

LOOPBACK = Address(b"\x7f\0\0\1", 0)


async def all_of(sock: socket.socket, n_bytes: int) -> bytes:
    """What comes, until it is so many bytes."""
    loop, data = asyncio.get_running_loop(), b""
    while len(data) < n_bytes:
        piece = await loop.sock_recv(sock, 1 << 16)
        assert piece
        data += piece
    return data


async def captured() -> tuple[list[bytes], list[bytes]]:
    """What 1,000 TCP links say first, diallers and listeners, as a network between them sees it."""
    loop, door = asyncio.get_running_loop(), OpenDoor()
    doorstep = Doorstep(loop, SeededRng("captured"))
    listener = TcpListener.bind(LOOPBACK)
    listener.start(loop, door, doorstep)
    there = ("127.0.0.1", listener.port)
    said: list[bytes] = []
    answered: list[bytes] = []
    hellos = [write[HEAD_BYTES:] for write in first_writes()]
    with socket.create_server(("127.0.0.1", 0)) as middle:
        middle.setblocking(False)
        road = Road(Carrier.TCP, LOOPBACK._replace(port=middle.getsockname()[1]))
        for number, hello in enumerate(hellos):
            link = await open_link(road, dialled_link(Carrier.TCP, f"captured {number}"), number)
            link.start(RecordingHost())
            dialler, _ = await loop.sock_accept(middle)
            onward = socket.socket()
            with dialler, onward:
                onward.setblocking(False)
                send_packets(link, hello)
                said.append(await all_of(dialler, HEAD_BYTES + len(hello)))
                await loop.sock_connect(onward, there)
                await loop.sock_sendall(onward, said[-1])
                await door.wait_links(number + 1)
                assert await door.hosts[-1].wait_packets(1) == [hello]
                send_packets(door.links[-1], hellos[-1 - number])
                size = RECORD_HEADER_BYTES + len(hellos[-1 - number])
                answered.append(await all_of(onward, size))
            link.close()
            door.links[-1].close()
    listener.close()
    doorstep.close()
    return said, answered


@pytest.mark.asyncio
@pytest.mark.spec("CA-2", "CA-8")
async def test_a_thousand_links_at_a_kernel_socket_show_no_biased_byte_and_no_fixed_length() -> (
    None
):
    said, answered = await captured()
    assert len(said) == len(answered) == N_LINKS
    check_positions(said, range(HEAD_BYTES + 64))
    check_positions(answered, range(RECORD_HEADER_BYTES + 64))
    for writes, n_head in ((said, HEAD_BYTES), (answered, RECORD_HEADER_BYTES)):
        whole = Counter(byte for write in writes for byte in write[:n_head])
        assert chi_square([whole[v] for v in range(256)], N_LINKS * n_head / 256) < SIGMAS
        assert len({len(write) for write in writes}) > 300
