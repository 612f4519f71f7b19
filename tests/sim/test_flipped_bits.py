"""Single bits of a link are flipped under load, in virtual time: no byte is lost or wrong, and the
session goes on within two seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from wraith.connection.connection import Connection
from wraith.connection.events import Closed
from wraith.connection.links.preface import PREFACE_BYTES
from wraith.hotpath import RECORD_HEADER_BYTES
from wraith.testing.endpoints import ADDRESS_A, ADDRESS_B, LinkedEndpoints, linked
from wraith.testing.established import StreamCopy
from wraith.testing.netem import LinkConfig
from wraith.testing.pipes import PipeConfig
from wraith.testing.rng import SeededRng
from wraith.types import Address, Carrier, Road

UDP = Road(Carrier.UDP, ADDRESS_B)
TCP = Road(Carrier.TCP, ADDRESS_B)
DATA = SeededRng("flipped").public_bytes(192 * 1024)
RATE_BPS = 8e6
PROGRESS_S = 2.0
FIRST_PACKET_AT = PREFACE_BYTES + RECORD_HEADER_BYTES
ENDS_BYTES = 64
"""At either end of a packet: so much holds each of its fields but the middle of its payload."""


def bits_of(n_bytes: int, n_packet: int) -> Iterator[int]:
    """The bits of the first ``n_bytes``, and of the ends of the packet of ``n_packet`` bytes behind
    them; one of each 61 bytes in between."""
    ends = range(n_bytes), range(n_bytes, n_bytes + ENDS_BYTES)
    last = range(n_bytes + n_packet - ENDS_BYTES, n_bytes + n_packet)
    for byte in (*ends[0], *ends[1], *last):
        yield from range(8 * byte, 8 * byte + 8)
    for byte in range(n_bytes + ENDS_BYTES, last.start, 61):
        yield 8 * byte + byte % 8


class Flip:
    """Flips one bit of what ``sender`` writes on links, counted from ``arm`` on."""

    def __init__(self, net: LinkedEndpoints, sender: Address, bit: int) -> None:
        self._sender = sender
        self._bit = bit
        self._n_written = 0
        self.is_done = False
        net.pipes.tap = self._change

    def _change(self, local: Address, data: bytes) -> bytes:
        if local != self._sender:
            return data
        at, self._n_written = 8 * self._n_written, self._n_written + len(data)
        if self.is_done or not at <= self._bit < 8 * self._n_written:
            return data
        self.is_done = True
        changed = bytearray(data)
        changed[(self._bit - at) // 8] ^= 1 << (self._bit - at) % 8
        return bytes(changed)


def longest_wait_s(net: LinkedEndpoints, copy: StreamCopy, seconds: float) -> float:
    """Runs until everything has arrived; returns the longest time without a new byte."""
    wait_s, last_at, n_last = 0.0, net.now, len(copy.received)

    def until() -> bool:
        nonlocal wait_s, last_at, n_last
        if len(copy.received) != n_last:
            wait_s = max(wait_s, net.now - last_at)
            last_at, n_last = net.now, len(copy.received)
        return copy.is_equal

    assert net.run(seconds=seconds, until=until), "a byte is missing"
    return wait_s


def over_a_link() -> tuple[LinkedEndpoints, Connection]:
    net = linked()
    net.pipes.configs[Carrier.TCP, ADDRESS_B] = PipeConfig(rate_bps=RATE_BPS)
    connection = net.dial(roads=[TCP])
    assert net.run_until_confirmed(connection)
    net.run(seconds=0.2)
    return net, connection


def flip_under_load(bit: int, *, is_upload: bool) -> None:
    """``bit`` of the first record of a bulk transfer over the only link of a session."""
    net, connection = over_a_link()
    source, sender = (net.i, connection) if is_upload else (net.r, net.r.incoming[0])
    flip = Flip(net, ADDRESS_A if is_upload else ADDRESS_B, bit)
    copy = net.send_stream(source, sender, DATA)
    wait_s = longest_wait_s(net, copy, 30)
    assert flip.is_done, bit
    assert wait_s <= PROGRESS_S, (bit, wait_s)
    assert not net.i.events(Closed) and not net.r.events(Closed), bit


def flip_of_a_joining_link(bit: int) -> None:
    """``bit`` of the first bytes of a link that joins a session while UDP carries a transfer."""
    net = linked(link=LinkConfig(latency_s=0.01, rate_bps=RATE_BPS, queue_bytes=100_000))
    net.pipes.configs[Carrier.TCP, ADDRESS_B] = PipeConfig(rate_bps=RATE_BPS)
    connection = net.dial(roads=[UDP, TCP])
    assert net.run_until_confirmed(connection)
    flip = Flip(net, ADDRESS_A, bit)
    copy = net.send_stream(net.i, connection, DATA[: 96 * 1024])
    net.i.endpoint.migrate(connection, TCP, net.now)
    wait_s = longest_wait_s(net, copy, 30)
    assert flip.is_done and net.pipes.n_opened >= 1, bit
    assert wait_s <= PROGRESS_S, (bit, wait_s)
    assert not net.i.events(Closed) and not net.r.events(Closed), bit


@pytest.mark.spec("CA-21", "CA-27")
@pytest.mark.parametrize("byte", [PREFACE_BYTES - 1, PREFACE_BYTES, FIRST_PACKET_AT + 600])
def test_who_has_proved_nothing_on_a_link_does_not_see_it_end(byte: int) -> None:
    net = linked()
    net.pipes.configs[Carrier.TCP, ADDRESS_B] = PipeConfig()
    connection = net.dial(roads=[UDP, TCP])
    assert net.run_until_confirmed(connection)
    flip = Flip(net, ADDRESS_A, 8 * byte)
    net.i.endpoint.migrate(connection, TCP, net.now)
    net.run(seconds=1.5)
    assert flip.is_done and net.pipes.n_opened == 1
    (dialled,) = (e for (machine, _), e in net.pipes.ends.items() if machine == id(net.i.endpoint))
    assert dialled.is_open


IN_A_RECORD = [*bits_of(RECORD_HEADER_BYTES, 16_384)]
IN_A_FIRST_WRITE = [*bits_of(FIRST_PACKET_AT, 1_200)]
SHARES = 101
"""One bit of so many is flipped each time; the rest takes minutes."""

EVERY = pytest.mark.parametrize(
    "share", [0, *(pytest.param(share, marks=pytest.mark.slow) for share in range(1, SHARES))]
)


@EVERY
@pytest.mark.spec("CA-27", "CN-90", "RC-42")
@pytest.mark.parametrize("is_upload", [True, False])
def test_no_bit_of_a_record_costs_a_byte_or_two_seconds(share: int, is_upload: bool) -> None:
    for bit in IN_A_RECORD[share::SHARES]:
        flip_under_load(bit, is_upload=is_upload)


@EVERY
@pytest.mark.spec("CN-90")
def test_no_bit_of_a_link_that_joins_costs_a_byte_or_two_seconds(share: int) -> None:
    for bit in IN_A_FIRST_WRITE[share::SHARES]:
        flip_of_a_joining_link(bit)


@pytest.mark.spec("CN-90")
@pytest.mark.parametrize("is_upload", [True, False])
def test_a_packet_that_does_not_open_ends_its_link(is_upload: bool) -> None:
    net, connection = over_a_link()
    n_before = net.pipes.n_opened
    source, sender = (net.i, connection) if is_upload else (net.r, net.r.incoming[0])
    flip = Flip(net, ADDRESS_A if is_upload else ADDRESS_B, 8 * (RECORD_HEADER_BYTES + 600))
    copy = net.send_stream(source, sender, DATA)
    longest_wait_s(net, copy, 30)
    assert flip.is_done
    assert net.pipes.n_opened == n_before + 1, "the session has another link"
