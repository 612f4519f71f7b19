"""One path: what may leave on it, and what is worth keeping for it."""

from __future__ import annotations

from wraith.config import EndpointConfig
from wraith.connection.paths.acks import LINK_ACK_BATCH
from wraith.connection.paths.path_set import PathSet
from wraith.types import LINK_PACKET_BYTES_MAX, Address, Carrier, NetworkPath

HERE, THERE = Address(bytes(4), 1), Address(bytes([192, 0, 2, 1]), 1)


def test_a_sender_on_a_link_keeps_more_than_the_peer_acknowledges_at_once() -> None:
    path = PathSet(
        NetworkPath(HERE, THERE, Carrier.TCP, 1),
        config=EndpointConfig(),
        max_udp_bytes=65_507,
        max_ack_delay_s=0.025,
        own_ack_delay_s=0.025,
        rtt_sample_s=0.04,
        now=0.0,
    ).main
    at_once = LINK_ACK_BATCH * LINK_PACKET_BYTES_MAX
    assert path.window == path.link_room + at_once
    path.link_room = -1
    path.bytes_in_flight = 5_000_000
    assert path.window == 5_000_000 + at_once
