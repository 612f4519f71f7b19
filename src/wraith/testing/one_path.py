"""A path without a session: for what is tested or measured below a connection."""

from __future__ import annotations

from wraith.connection.paths.acks import AckState
from wraith.connection.paths.congestion import Controller
from wraith.connection.paths.mtu import MtuSearch
from wraith.connection.paths.open_path import UDP_IPV4, Path
from wraith.connection.paths.pacing import Pacer
from wraith.connection.paths.rtt import RttEstimator
from wraith.types import Address, NetworkPath, TransportCharacteristics

NETWORK = NetworkPath(Address(bytes(4), 1), Address(bytes(4), 2))


def one_path(
    controller: Controller,
    *,
    datagram_bytes: int = 1_200,
    initial_rtt_s: float = 0.333,
    max_ack_delay_s: float = 0.025,
    traits: TransportCharacteristics = UDP_IPV4,
    now: float = 0.0,
) -> Path:
    """Nothing was sent on it yet; its datagrams keep their size."""
    return Path(
        NETWORK,
        traits=traits,
        rtt=RttEstimator(initial_rtt_s, max_ack_delay_s),
        controller=controller,
        pacer=Pacer(datagram_bytes, now),
        mtu=MtuSearch(
            datagram_bytes, datagram_bytes, overhead_bytes=traits.overhead_bytes, pinned=True
        ),
        acks=AckState(max_ack_delay_s, is_reliable=traits.is_reliable),
        index=0,
    )
