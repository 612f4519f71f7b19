"""One path to the peer: what is known of it, and what is under way on it.

A session sends its data on one path; others stand by. A path is *proven* once the peer has answered
a challenge there: before that nothing but challenges leaves on it. ``PathSet`` owns the open ones.

A path says how much may leave on it and when something on it is overdue. It keeps no record of
what was sent: ``recovery.py`` has the ledger of the session, and every ``SentRun`` names its path.
Spec: docs/spec/recovery.md [RC-4] [RC-12] [RC-38].
"""

from __future__ import annotations

from wraith.connection.paths.acks import LINK_ACK_BATCH, AckState
from wraith.connection.paths.congestion import Controller
from wraith.connection.paths.mtu import MtuSearch
from wraith.connection.paths.pacing import Pacer
from wraith.connection.paths.reordering import Reduction, ReorderWindow
from wraith.connection.paths.rtt import RttEstimator
from wraith.types import (
    LINK_PACKET_BYTES_MAX,
    UDP_PAYLOAD_BYTES_MAX,
    Carrier,
    NetworkPath,
    TransportCharacteristics,
)

PTO_MAX_S = 5.0
ROOM_QUANTUM_BYTES = 65_536


UDP_IPV4 = TransportCharacteristics(
    Carrier.UDP, is_reliable=False, is_ordered=False, packet_bytes_max=UDP_PAYLOAD_BYTES_MAX,
    overhead_bytes=28, setup_rtts=0,
)  # fmt: skip
UDP_IPV6 = UDP_IPV4._replace(overhead_bytes=48)
TCP = TransportCharacteristics(
    Carrier.TCP, is_reliable=True, is_ordered=True, packet_bytes_max=LINK_PACKET_BYTES_MAX,
    overhead_bytes=58, setup_rtts=1,
)  # fmt: skip
LINKS = {
    Carrier.TCP: TCP,
    Carrier.WS: TCP._replace(
        carrier=Carrier.WS, overhead_bytes=90, setup_rtts=4, encrypted_outside=True,
        idle_limit_s=60.0,
    ),
    Carrier.QUIC: TCP._replace(
        carrier=Carrier.QUIC, overhead_bytes=90, setup_rtts=2, encrypted_outside=True,
        idle_limit_s=30.0,
    ),
    Carrier.MEMORY: TCP._replace(carrier=Carrier.MEMORY, overhead_bytes=0),
}  # fmt: skip
LINK_ROOM_BYTES = 256 * 1024
"""What a fresh link takes before anything is known of it."""
LINK_PATIENCE_S = 2.0
LINK_PATIENCE_RTTS = 4


def characteristics_of(network: NetworkPath) -> TransportCharacteristics:
    """What the carrier of this path promises."""
    if network.carrier is Carrier.UDP:
        return UDP_IPV6 if len(network.remote.ip) == 16 else UDP_IPV4
    return LINKS[network.carrier]


class Path:
    """Estimates, window, pace and datagram size of one path, and its bytes in flight.

    Args:
        network: the 4-tuple, by which datagrams find their path.
        rtt, controller, pacer, mtu, acks: owned by the path from now on.
        index: of the connection ids that are written here.
    """

    __slots__ = (
        "acks",
        "bytes_in_flight",
        "controller",
        "delivered_bytes",
        "delivered_time",
        "first_sent_time",
        "index",
        "index_received",
        "is_gone",
        "is_proven",
        "is_suspect",
        "largest_acked",
        "last_eliciting_time",
        "link_room",
        "loss_time",
        "mtu",
        "n_eliciting",
        "n_probes",
        "network",
        "next_counter",
        "pace_at",
        "pacer",
        "progress_time",
        "pto_count",
        "reduction",
        "reordering",
        "rtt",
        "traits",
        "window_used_at",
    )

    def __init__(
        self,
        network: NetworkPath,
        *,
        traits: TransportCharacteristics,
        rtt: RttEstimator,
        controller: Controller,
        pacer: Pacer,
        mtu: MtuSearch,
        acks: AckState,
        index: int,
    ) -> None:
        self.network = network
        self.traits = traits
        self.rtt = rtt
        self.controller = controller
        self.pacer = pacer
        self.mtu = mtu
        #: What has arrived here.
        self.acks = acks
        #: The index of connection ids that this side writes here, and that of the peer.
        self.index = self.index_received = index
        #: The peer has answered here.
        self.is_proven = True
        #: A link that has ended; it is a path still where there is no other.
        self.is_gone = False
        #: A link: what it takes until it is asked again.
        self.link_room = LINK_ROOM_BYTES
        self.reordering = ReorderWindow()
        #: The newest: losses that come later may belong to it.
        self.reduction = Reduction()
        #: Nothing has come back for three probe timeouts.
        self.is_suspect = False
        self.bytes_in_flight = 0
        #: What has arrived so far, when that was last said, and when the newest of it was sent: the
        #: delivery rate is measured from there.
        self.delivered_bytes = 0
        self.delivered_time = 0.0
        self.first_sent_time = 0.0
        #: Ack-eliciting datagrams that are neither acknowledged nor declared lost.
        self.n_eliciting = 0
        #: Counts the ack-eliciting datagrams of this path in the order of sending, over all epochs.
        self.next_counter = 0
        self.largest_acked = -1
        #: The send counter when the window was last the limit.
        self.window_used_at = 0
        self.loss_time: float | None = None
        self.last_eliciting_time = 0.0
        #: When something was acknowledged last, or began to wait for that.
        self.progress_time = 0.0
        self.pto_count = 0
        #: Datagrams that a probe timeout still allows beyond window and pacer.
        self.n_probes = 0
        #: When the pacer lets the next burst go.
        self.pace_at: float | None = None
        self.set_pace()

    # -- what may leave

    def room(self) -> int:
        """Bytes that may leave now; negative when over it: what the congestion window still
        allows, or what a link takes, which has its own control."""
        if self.traits.is_reliable:
            return self.link_room
        return self.controller.window - self.bytes_in_flight

    @property
    def window(self) -> int:
        """Bytes that may be under way at once: what is worth buffering. On a link these are also
        the bytes that the peer acknowledges at once: a sender that kept fewer would wait for each
        acknowledgement. [RC-41]"""
        if self.traits.is_reliable:
            told_at_once = LINK_ACK_BATCH * self.mtu.current
            return self.bytes_in_flight + max(self.link_room, 0) + told_at_once
        return self.controller.window

    def is_window_full(self, datagram_bytes: int) -> bool:
        """Whether less room is left than one datagram or, with a large window, than the smaller of
        an eighth of it and a kernel burst. [RC-38] Otherwise a sender would fill a large window
        datagram by datagram, one per acknowledgement, and each would cost as much as a burst."""
        if self.traits.is_reliable:
            return self.link_room < datagram_bytes
        quantum = min(self.controller.window // 8, ROOM_QUANTUM_BYTES)
        return self.room() < max(quantum, datagram_bytes)

    def set_pace(self) -> None:
        """The window or the round-trip time has changed: so does the rate of sending. [RC-11]"""
        rate = self.controller.pacing_rate
        if rate is None:
            self.pacer.update(self.controller.window, self.rtt.srtt, self.mtu.current)
        else:
            self.pacer.set_rate(rate, self.mtu.current)

    # -- what is under way

    def on_sent(self, n: int, n_bytes: int, datagram_bytes: int, now: float) -> int:
        """``n`` ack-eliciting datagrams leave, ``n_bytes`` of them count as in flight. Returns the
        send counter of the first."""
        if not self.n_eliciting:
            self.progress_time = now
        if not self.bytes_in_flight:
            self.delivered_time = self.first_sent_time = now  # idle time is no delivery time
        first = self.next_counter
        self.next_counter = first + n
        self.n_eliciting += n
        self.last_eliciting_time = now
        self.bytes_in_flight += n_bytes
        self.controller.on_sent(n_bytes, self.bytes_in_flight, now)
        # The window is the limit now if it is full or, in slow start, where the pacer keeps a
        # sender a little below a window that doubles meanwhile, half full. A sender that has no
        # more to send, or that flow control or its own speed holds back, never gets there. [RC-12]
        # Where the controller says the rate, the pacer is the limit as well: it has nothing left.
        if (
            self.is_window_full(datagram_bytes)
            or (
                self.controller.in_slow_start and 2 * self.bytes_in_flight >= self.controller.window
            )
            or (
                self.controller.pacing_rate is not None
                and self.pacer.budget(now) - n_bytes < self.pacer.burst // 2
            )
        ):
            self.window_used_at = self.next_counter
        return first

    def timer(self) -> float | None:
        """When something on this path is overdue: the loss time, else the PTO, else nothing is
        outstanding. A link loses nothing and repeats nothing: there it is the time to ask whether
        it is still alive."""
        if self.loss_time is not None:
            return self.loss_time
        if not self.n_eliciting:
            return None
        if self.traits.is_reliable:
            patience_s = max(LINK_PATIENCE_S, LINK_PATIENCE_RTTS * self.rtt.srtt)
            return self.progress_time + patience_s * (self.pto_count + 1)
        return self.last_eliciting_time + min(
            self.rtt.pto_s() * (1 << min(self.pto_count, 16)), PTO_MAX_S
        )
