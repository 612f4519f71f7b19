"""Strangers with real addresses against a listener: what one network can take from the others."""

from __future__ import annotations

import pytest

from wraith.crypto.ed25519 import Identity
from wraith.libp2p.config import QuicLimits, QuicTransportConfig
from wraith.libp2p.connection import ConnectionState
from wraith.libp2p.endpoint import QuicEndpoint
from wraith.testing.clock import VirtualCalendar
from wraith.testing.quic_link import SERVER_ADDRESS, QuicPair
from wraith.testing.rng import SeededRng
from wraith.types import Address


def address(host: int) -> Address:
    """In one /24, which is not the honest client's."""
    return Address(bytes((203, 0, 113, host)), 4001)


def add_dialler(pair: QuicPair, host: int) -> QuicEndpoint:
    endpoint = QuicEndpoint(
        Identity.generate(SeededRng(host)),
        QuicTransportConfig(limits=QuicLimits(connections=10_000, pending_out=10_000)),
        rng=SeededRng(f"dialler {host}"),
        clock=VirtualCalendar(pair.clock),
        listening=False,
    )
    pair.simulation.add_host(endpoint, address(host))
    return endpoint


def add_bot(pair: QuicPair, host: int) -> QuicEndpoint:
    """Answers Retry and nothing else: its address is proved, its handshakes never end."""

    def only_retry(datagram: bytes) -> bytes | None:
        return datagram if datagram[0] & 0xF0 == 0xF0 else None

    pair.simulation.link(SERVER_ADDRESS, address(host)).taps.append(only_retry)
    return add_dialler(pair, host)


@pytest.mark.spec("LQ-74")
def test_three_addresses_cannot_shut_the_listener() -> None:
    """A quarter of the size that was seen: 64 places for 10 s each, twenty taken every second."""
    limits = QuicLimits(pending_in=64, retry_above_pending=8)
    pair = QuicPair(QuicTransportConfig(), QuicTransportConfig(limits=limits))
    bots = [add_bot(pair, host) for host in (1, 2, 3)]
    honest = None
    for tick in range(180):
        bots[tick % 3].dial(SERVER_ADDRESS, pair.now, expected_peer=None)
        pair.run(0.05)
        if tick == 100:
            honest = pair.dial()
    assert honest is not None and honest.state is ConnectionState.CONNECTED
    assert pair.server.counters.refusals["half open per address"] > 0


@pytest.mark.spec("LQ-74")
def test_throw_away_identities_of_one_network_leave_room_for_others() -> None:
    """Each connection has a PeerId of its own, so the limit per peer never meets them."""
    limits = QuicLimits(connections=72)
    pair = QuicPair(QuicTransportConfig(), QuicTransportConfig(limits=limits))
    greedy = []
    for host in range(1, 73):
        endpoint = add_dialler(pair, host)
        greedy.append(endpoint.dial(SERVER_ADDRESS, pair.now, expected_peer=None))
        pair.run(0.05)
    honest = pair.dial()
    pair.run(2)
    assert honest.state is ConnectionState.CONNECTED
    assert sum(each.state is ConnectionState.CONNECTED for each in greedy) == 64
    assert pair.server.counters.refusals["connections per prefix"] >= 8
