"""The open paths of a session, and the 4-tuples that are being challenged.

Data leave on the *main* path; the others stand by. The peer may be found at another 4-tuple of a
path (a move), or come on one more path (a join). Every path has its own index of connection ids.
Spec: docs/spec/connection.md [CN-30 to CN-36] [CN-66], docs/spec/recovery.md [RC-34].
"""

from __future__ import annotations

from wraith.config import EndpointConfig
from wraith.connection.paths.acks import AckState
from wraith.connection.paths.cid import AHEAD_MAX
from wraith.connection.paths.controllers import make_controller
from wraith.connection.paths.mtu import BASE_DATAGRAM_BYTES, MTU_IDLE_S, MtuSearch
from wraith.connection.paths.open_path import Path, characteristics_of
from wraith.connection.paths.pacing import Pacer
from wraith.connection.paths.rtt import RttEstimator
from wraith.connection.paths.validation import PathValidation
from wraith.types import NetworkPath

PATHS_MAX = 4


class PathSet:
    """Makes the paths of one session, and knows which of them are open.

    Args:
        first: where the handshake has crossed both ways.
        max_udp_bytes: the largest datagram that the peer takes.
        max_ack_delay_s: the peer's promise.
        own_ack_delay_s: what this side has promised.
        rtt_sample_s: what the handshake has measured, if anything.
    """

    __slots__ = (
        "_config", "_max_ack_delay_s", "_max_udp_bytes", "_own_ack_delay_s", "main", "open",
        "validations",
    )  # fmt: skip

    def __init__(
        self,
        first: NetworkPath,
        *,
        config: EndpointConfig,
        max_udp_bytes: int,
        max_ack_delay_s: float,
        own_ack_delay_s: float,
        rtt_sample_s: float | None,
        now: float,
    ) -> None:
        self._config = config
        self._max_udp_bytes = max_udp_bytes
        self._max_ack_delay_s = max_ack_delay_s
        self._own_ack_delay_s = own_ack_delay_s
        #: The path that data are sent on.
        self.main = self._new_path(
            first, self._base_bytes(), rtt_sample_s, mtu_begins_at=now + MTU_IDLE_S, now=now
        )
        self.main.acks.set_rtt(self.main.rtt.srtt)
        #: All paths that may carry packets of this side; ``main`` is one of them.
        self.open = [self.main]
        #: Challenges that have not been answered.
        self.validations: list[PathValidation] = []

    def _base_bytes(self) -> int:
        pinned = self._config.datagram_bytes
        return min(pinned, self._max_udp_bytes) if pinned is not None else BASE_DATAGRAM_BYTES

    def _new_path(
        self,
        network: NetworkPath,
        datagram_bytes: int,
        rtt_sample_s: float | None,
        *,
        mtu_begins_at: float,
        now: float,
        pacer: Pacer | None = None,
        acks: AckState | None = None,
        index: int = 0,
    ) -> Path:
        config = self._config
        traits = characteristics_of(network)
        rtt = RttEstimator(config.initial_rtt_s, self._max_ack_delay_s)
        if rtt_sample_s is not None:
            rtt.update(rtt_sample_s, 0.0, now)
        ceiling = min(config.max_udp_bytes, self._max_udp_bytes, traits.packet_bytes_max)
        if traits.is_reliable:
            datagram_bytes = ceiling = traits.packet_bytes_max
        return Path(
            network,
            traits=traits,
            rtt=rtt,
            controller=make_controller(
                config.congestion, datagram_bytes, window_max=config.send_memory_bytes // 2
            ),
            pacer=Pacer(datagram_bytes, now) if pacer is None else pacer,
            mtu=MtuSearch(
                datagram_bytes,
                ceiling,
                overhead_bytes=traits.overhead_bytes,
                pinned=traits.is_reliable or config.datagram_bytes is not None,
                begins_at=mtu_begins_at,
            ),
            acks=acks
            if acks is not None
            else AckState(self._own_ack_delay_s, is_reliable=traits.is_reliable),
            index=index,
        )

    # -- which path

    def find(self, network: NetworkPath) -> Path | None:
        """The open path at ``network``."""
        for path in self.open:
            if path.network == network:
                return path
        return None

    def with_index(self, index: int) -> Path | None:
        """The open path whose connection ids have ``index``; the main one of several."""
        found: Path | None = None
        for path in self.open:
            if index in (path.index, path.index_received) and (found is None or path is self.main):
                found = path
        return found

    def lowest_index(self, highest: int) -> int:
        """The lowest index that the peer writes on any open path, where ``highest`` is the highest
        of all. One that is left behind holds nobody back: the peer takes a fresh one there."""
        lowest = self.main.index_received
        for path in self.open:
            if path.index_received >= highest - AHEAD_MAX:
                lowest = min(lowest, path.index_received)
        return lowest

    # -- what changes

    def move(self, path: Path, network: NetworkPath, *, keeps_estimates: bool, now: float) -> Path:
        """The peer of ``path`` is at ``network`` now. Returns the path that is there.

        With ``keeps_estimates`` it is the same path under another 4-tuple. Otherwise a new path
        begins that knows nothing but the size of datagrams, which the search goes on from, and
        what has arrived. The pacer goes on too: a move is no occasion for another burst. [CN-32]
        """
        if keeps_estimates:
            path.network = network
            return path
        successor = self._new_path(
            network, path.mtu.current, None, mtu_begins_at=now, now=now, pacer=path.pacer,
            acks=path.acks, index=path.index,
        )  # fmt: skip
        successor.index_received = path.index_received
        self.open[self.open.index(path)] = successor
        if path is self.main:
            self.main = successor
        return successor

    def join(self, network: NetworkPath, index: int, now: float) -> Path:
        """One more path, which is not proven yet. Where there are four, one that stands by is given
        up, an unproven one first."""
        if len(self.open) >= PATHS_MAX:
            spare = [path for path in self.open if path is not self.main]
            self.leave(next((path for path in spare if not path.is_proven), spare[0]))
        path = self._new_path(
            network, self._base_bytes(), None, mtu_begins_at=now, now=now, index=index
        )
        path.is_proven = False
        self.open.append(path)
        return path

    def leave(self, path: Path) -> None:
        """Gives up ``path``, which is not the main one: nothing is sent there any more. What it has
        not acknowledged is acknowledged on the main path."""
        assert path is not self.main
        self.open.remove(path)
        self.validations = [one for one in self.validations if one.path is not path]
        self.main.acks.absorb(path.acks)

    # -- time

    def slowest_pto_s(self) -> float:
        """The longest probe timeout of the open paths, without back-off: what waits for the peer
        whichever path it answers on goes by this."""
        longest = 0.0
        for path in self.open:
            if path.is_proven:
                longest = max(longest, path.rtt.pto_s())
        return longest

    def next_time(self) -> float | None:
        """When something is overdue on any open path, or is to be acknowledged there."""
        earliest: float | None = None
        for path in self.open:
            due = path.timer()
            if due is not None and (earliest is None or due < earliest):
                earliest = due
            due = None if path.acks.is_due else path.acks.deadline
            if due is not None and (earliest is None or due < earliest):
                earliest = due
        return earliest
