"""The open paths of a session, and the addresses that are being validated.

One path is open today: where the peer is. A move puts another one in its place. The index of
connection ids belongs to the session, not to a path.
Spec: docs/spec/connection.md [CN-32] [CN-36] [CN-66], docs/spec/recovery.md [RC-34].
"""

from __future__ import annotations

from wraith.config import EndpointConfig
from wraith.connection.paths.congestion import make_controller
from wraith.connection.paths.open_path import Path, udp_to
from wraith.connection.paths.pacing import Pacer
from wraith.connection.paths.path import BASE_DATAGRAM_BYTES, MTU_IDLE_S, MtuSearch, PathValidation
from wraith.connection.paths.rtt import RttEstimator
from wraith.types import NetworkPath


class PathSet:
    """Makes the paths of one session, and knows which of them are open.

    Args:
        first: where the handshake has crossed both ways.
        max_udp_bytes: the largest datagram that the peer takes.
        max_ack_delay_s: the peer's promise.
        rtt_sample_s: what the handshake has measured, if anything.
    """

    __slots__ = ("_config", "_max_ack_delay_s", "_max_udp_bytes", "main", "open", "validations")

    def __init__(
        self,
        first: NetworkPath,
        *,
        config: EndpointConfig,
        max_udp_bytes: int,
        max_ack_delay_s: float,
        rtt_sample_s: float | None,
        now: float,
    ) -> None:
        self._config = config
        self._max_udp_bytes = max_udp_bytes
        self._max_ack_delay_s = max_ack_delay_s
        pinned = config.datagram_bytes
        base = min(pinned, max_udp_bytes) if pinned is not None else BASE_DATAGRAM_BYTES
        #: The path that is sent on.
        self.main = self._new_path(
            first, base, Pacer(base, now), rtt_sample_s, mtu_begins_at=now + MTU_IDLE_S, now=now
        )
        #: All paths that may carry packets of this side; ``main`` is one of them.
        self.open = [self.main]
        #: Addresses of the peer that have proved nothing yet.
        self.validations: list[PathValidation] = []

    def _new_path(
        self,
        network: NetworkPath,
        datagram_bytes: int,
        pacer: Pacer,
        rtt_sample_s: float | None,
        *,
        mtu_begins_at: float,
        now: float,
    ) -> Path:
        config = self._config
        traits = udp_to(network)
        rtt = RttEstimator(config.initial_rtt_s, self._max_ack_delay_s)
        if rtt_sample_s is not None:
            rtt.update(rtt_sample_s, 0.0, now)
        return Path(
            network,
            traits=traits,
            rtt=rtt,
            controller=make_controller(
                config.congestion, datagram_bytes, window_max=config.send_memory_bytes // 2
            ),
            pacer=pacer,
            mtu=MtuSearch(
                datagram_bytes,
                min(config.max_udp_bytes, self._max_udp_bytes, traits.packet_bytes_max),
                overhead_bytes=traits.overhead_bytes,
                pinned=config.datagram_bytes is not None,
                begins_at=mtu_begins_at,
            ),
        )

    def move(self, network: NetworkPath, *, keeps_estimates: bool, now: float) -> Path:
        """The peer is at ``network`` now. Returns the path that was left.

        With ``keeps_estimates`` it is the same path under another 4-tuple, and returned all the
        same: nothing that is under way arrives. Otherwise a new path begins that knows nothing but
        the size of datagrams, which the search goes on from. The pacer goes on too: a move is no
        occasion for another burst. [CN-32]
        """
        left = self.main
        if keeps_estimates:
            left.network = network
            return left
        self.main = self._new_path(
            network, left.mtu.current, left.pacer, None, mtu_begins_at=now, now=now
        )
        self.open[self.open.index(left)] = self.main
        return left

    def slowest_pto_s(self) -> float:
        """The longest probe timeout of the open paths, without back-off: what waits for the peer
        whichever path it answers on goes by this."""
        longest = 0.0
        for path in self.open:
            longest = max(longest, path.rtt.pto_s())
        return longest

    def next_time(self) -> float | None:
        """When something is overdue on any open path."""
        earliest: float | None = None
        for path in self.open:
            due = path.timer()
            if due is not None and (earliest is None or due < earliest):
                earliest = due
        return earliest
