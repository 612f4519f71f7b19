"""The parts of an established connection, built once from what the handshake has left.

Only holds them together, so that the side that receives (connection.py) and the side that sends
(packet_builder.py) see the same facts. Takes no decisions.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from wraith.abc import Kem, Rng
from wraith.config import EndpointConfig
from wraith.connection.control import ControlStream
from wraith.connection.data.datagrams import DatagramQueue
from wraith.connection.data.flow import ReceiveWindow, SendMemory, WindowBudget
from wraith.connection.data.mux import StreamMux
from wraith.connection.data.omitted import OmittedNumbers
from wraith.connection.data.recovery import Recovery
from wraith.connection.data.stream_table import StreamTable
from wraith.connection.events import Event
from wraith.connection.handshake_result import HandshakeResult
from wraith.connection.keys import SessionEpochs
from wraith.connection.paths.cid import AHEAD_MAX, CidIndices
from wraith.connection.paths.open_path import Path
from wraith.connection.paths.path_set import PathSet
from wraith.connection.rekey import RekeyControl
from wraith.types import NetworkPath


class ConnectionParts:
    """Facts and parts of the data phase. Plain attributes, written by connection and builder."""

    __slots__ = (
        "cid_range",
        "cids",
        "config",
        "control",
        "datagrams",
        "has_heard_goaway",
        "has_roads",
        "has_sent_goaway",
        "idle_s",
        "is_confirmed",
        "keys",
        "knows_hmk",
        "last_eliciting_sent",
        "last_gap",
        "last_link",
        "last_received",
        "mux",
        "n_datagrams_received",
        "n_datagrams_sent",
        "n_bytes_received",
        "n_bytes_sent",
        "omitted",
        "paths",
        "recovery",
        "rekey",
        "rng",
    )

    def __init__(
        self,
        result: HandshakeResult,
        *,
        path: NetworkPath,
        config: EndpointConfig,
        rng: Rng,
        kem: Kem,
        emit: Callable[[Event], None],
        budget: WindowBudget | None,
        now: float,
    ) -> None:
        ours, theirs = result.own_params, result.peer_params
        self.config = config
        self.rng = rng
        self.paths = PathSet(
            path,
            config=config,
            max_udp_bytes=theirs.max_udp,
            max_ack_delay_s=theirs.max_ack_delay_ms / 1_000,
            own_ack_delay_s=ours.max_ack_delay_ms / 1_000,
            rtt_sample_s=result.rtt_sample_s,
            now=now,
        )
        main = self.paths.main
        self.keys = SessionEpochs(result, config.replay_window)
        self.recovery = Recovery()
        self.omitted = OmittedNumbers(rng, main.controller.window)
        self.cids = CidIndices(result.role)
        self.cid_range = (0, -1)
        self.renew_cid_range()
        self.control = ControlStream()
        self.datagrams = DatagramQueue()
        table = StreamTable(
            result.role,
            config,
            send_window=theirs.stream_window,
            conn_send_window=theirs.conn_window,
            max_streams=theirs.max_streams,
            own_window=ours.stream_window,
            own_max_streams=ours.max_streams,
            conn_window=ReceiveWindow(ours.conn_window, config.conn_window_max, budget),
        )
        memory = SendMemory(config.send_memory_bytes, budget.sending if budget else None)
        self.mux = StreamMux(table, config, emit, memory)
        self.rekey = RekeyControl(
            result.role,
            result.suite,
            keys=self.keys,
            kem=kem,
            rng=rng,
            config=config,
            now=now,
        )
        self.idle_s = float(min(ours.idle_s, theirs.idle_s))
        self.is_confirmed = False
        self.has_heard_goaway = self.has_sent_goaway = False
        #: Both sides know more than one path. [CN-84]
        self.has_roads = result.has_roads
        self.knows_hmk = result.peer_hmk is not None
        self.last_received = now
        self.last_gap = now
        #: When a link was last known to be open.
        self.last_link = -inf
        self.last_eliciting_sent = now
        self.n_bytes_received = self.n_bytes_sent = 0
        self.n_datagrams_received = self.n_datagrams_sent = 0

    def renew_cid_range(self) -> None:
        """The indices that are accepted follow those in use on the open paths. [CN-30]"""
        accepted = self.cids.accepted(self.paths.lowest_index(self.cids.highest))
        if accepted != self.cid_range:
            self.cid_range = accepted
            self.keys.opener.set_cids(*accepted)

    def renew_index(self, path: Path) -> None:
        """Something is to leave on ``path``, which may have stood by for long: an index that is too
        far behind is not accepted any more. [CN-31]"""
        if self.cids.highest - path.index > AHEAD_MAX and (index := self.cids.take()) is not None:
            path.index = index
            self.renew_cid_range()

    @property
    def is_going_away(self) -> bool:
        """Either side has announced the end: no new streams."""
        return self.has_sent_goaway or self.has_heard_goaway
