"""Ends a connection: CLOSE and Draining, planned ends, silence, and what is erased.

::

    close, a breach, idle ─► shut  ─► Draining ── 3 PTO ──► Closed
    end ─► GOAWAY ─► CLOSE     │ packet 1, 2, 4, 8 … of a peer that has not heard: CLOSE again
    fail, poison ─────────────────────────────────────────► Closed, in silence

Decides nothing about when; ``Connection`` and ``DataPhase`` do.
Spec: docs/spec/connection.md [CN-5] [CN-6] [CN-8].
"""

from __future__ import annotations

from math import ceil

from wraith.connection import events as ev
from wraith.connection.data.buffer_pool import BufferPool
from wraith.connection.packet_builder import PacketBuilder
from wraith.connection.parts import ConnectionParts
from wraith.connection.rekey import RekeyFailed
from wraith.connection.shared import Shared
from wraith.connection.state import Input, LifeCycle, SessionState
from wraith.connection.timers import Timer
from wraith.errors import CloseCode, LocalProtocolError, NotAuthorised, PeerClosed, WraithError
from wraith.hotpath import OpenResult
from wraith.types import StreamId, Transmit
from wraith.wire.control_records import Goaway
from wraith.wire.frames import FrameType

DRAIN_PTOS = 3
DRAIN_STEP_S = 0.05
"""Draining ends at multiples of this, so that an endpoint wakes once for many short sessions."""
_CLOSE_TYPE = bytes([FrameType.CLOSE])


class Ending:
    """The last part of a connection's life."""

    __slots__ = ("_close", "_close_epochs", "_n_draining", "_shared", "planned")

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._close: tuple[int, str] | None = None
        self._close_epochs: list[int] = []
        #: Code and reason of the CLOSE that follows a GOAWAY.
        self.planned: tuple[int, str] | None = None
        self._n_draining = 0

    # -- facts

    @property
    def is_drained(self) -> bool:
        """Closed for good: the endpoint may forget this connection."""
        return self._shared.life.state is SessionState.CLOSED

    @property
    def is_settled(self) -> bool:
        """Nothing is left to say: Closed, or Draining and both sides have said CLOSE."""
        if self._shared.life.state is SessionState.DRAINING:
            return self._n_draining < 0 and not self._close_epochs
        return self._shared.life.state is SessionState.CLOSED

    # -- commands

    def close(self, code: int, reason: str, now: float) -> None:
        """Closes at once; unsent and unacknowledged bytes are lost. No effect when closing."""
        if self._shared.life.is_open:
            self.shut(code, reason, now, error=None)
            self._shared.woken()
        elif self._shared.life.state in (SessionState.CONNECTING, SessionState.RESUMING):
            self._shared.life.apply(Input.FAIL)
            self._shared.events.append(ev.Closed(code, reason, False, None))
            self.erase()
            self._shared.woken()

    def go_away(self, now: float) -> None:
        """Tells the peer that this session will end: it opens no new streams from now on, and
        neither does this side. What is open goes on. Idempotent. [CN-8]"""
        parts = self._shared.usable()
        if not parts.has_sent_goaway:
            parts.has_sent_goaway = True
            for last in parts.mux.table.last_remote():
                parts.control.push(Goaway(StreamId(last), CloseCode.NO_ERROR))
        self._shared.woken()

    def end(self, reason: str, now: float) -> None:
        """A planned end: GOAWAY, and CLOSE without error as soon as it has left. [CN-8]

        Unsent and unacknowledged bytes are lost, as with ``close``. A connection that is not in
        use yet is closed at once.
        """
        shared = self._shared
        parts = shared.parts
        if parts is None or not shared.life.is_open or not shared.is_authorised:
            self.close(CloseCode.NO_ERROR, reason, now)
            return
        self.go_away(now)
        if self.planned is None:
            self.planned = (CloseCode.NO_ERROR, reason)
            self._shared.timers.set(Timer.END, now + parts.paths.slowest_pto_s())

    def refuse(self, now: float, code: int = CloseCode.AUTHENTICATION_FAILED) -> None:
        """Responder: the peer may not use this connection."""
        shared = self._shared
        if shared.parts is None or not shared.life.is_open or shared.is_authorised:
            raise LocalProtocolError("there is nobody to refuse")
        self.shut(code, "not authorised", now, error=None)
        self._shared.woken()

    def poison(self) -> None:
        """After a fork: both processes would repeat keys and nonces. Erases everything, sends and
        tells nothing, refuses all commands. [CN-50]"""
        if self._shared.parts is not None:
            self._shared.parts.keys.wipe()
            self._shared.parts.rekey.wipe()
        self._shared.parts = self._shared.builder = self._shared.inbound = None
        self._shared.events.clear()
        self._shared.withheld.clear()
        self._shared.timers.clear()
        self._shared.life = LifeCycle()

    # -- from the handshake

    def fail(self, error: WraithError) -> None:
        """The handshake failed: Closed in silence, with ``error`` in the event."""
        if self._shared.life.state is SessionState.CLOSED:
            return
        self._shared.life.apply(Input.FAIL)
        self._shared.events.append(ev.Closed(CloseCode.HANDSHAKE_TIMEOUT, str(error), False, error))
        self.erase()

    # -- for the other machines

    def end_as_planned(self, now: float) -> None:
        if self.planned is not None and self._shared.life.is_open:
            code, reason = self.planned
            self.shut(code, reason, now, error=None)

    def shut(
        self,
        code: int,
        reason: str,
        now: float,
        *,
        error: WraithError | None,
        by_peer: bool = False,
    ) -> None:
        """Enters Draining; CLOSE goes out with the next ``datagrams_to_send``. [CN-5]"""
        parts = self._shared.parts
        assert parts is not None
        self._shared.life.apply(Input.CLOSE)
        self._shared.timers.clear()
        drained_at = now + DRAIN_PTOS * parts.paths.slowest_pto_s()
        self._shared.timers.set(Timer.DRAIN, ceil(drained_at / DRAIN_STEP_S) * DRAIN_STEP_S)
        self._close = (code, reason)
        self._close_epochs = [parts.keys.send]
        self._shared.withheld.clear()
        self._shared.events.append(ev.Closed(code, reason, by_peer, error))
        self._release_windows(parts)
        parts.rekey.wipe()

    def on_peer_close(self, parts: ConnectionParts, code: int, reason: str, now: float) -> None:
        error: WraithError | None = None
        if code == CloseCode.AUTHENTICATION_FAILED:
            error = NotAuthorised()
        elif code != CloseCode.NO_ERROR:
            error = PeerClosed(code, reason)
        self.shut(code, reason, now, error=error, by_peer=True)
        self._close = (CloseCode.NO_ERROR, "")
        self._n_draining = -1  # one CLOSE in return, no answers

    def on_rekey_failed(self, parts: ConnectionParts, error: RekeyFailed, now: float) -> None:
        epochs = [parts.keys.send]
        if parts.keys.send != parts.keys.current:
            epochs.append(parts.keys.current)  # the peer may hear only the old epoch [RK-11]
        self.shut(error.close_code, "", now, error=error)
        self._close_epochs = epochs

    def on_packets_while_draining(self, result: OpenResult, n_packets: int) -> None:
        """The closer answers packets 1, 2, 4, 8 … of a peer that has not heard it. [CN-6]"""
        if self._n_draining < 0 or self._shared.parts is None:
            return
        if any(frames[:1] == _CLOSE_TYPE for _, _, frames in result.others):
            self._n_draining = -1  # it knows
            return
        before = self._n_draining
        self._n_draining += n_packets
        if self._n_draining.bit_length() > before.bit_length():
            self._close_epochs = [self._shared.parts.keys.send]

    def send_close(
        self,
        parts: ConnectionParts,
        builder: PacketBuilder,
        out: list[Transmit],
        pool: BufferPool,
        now: float,
    ) -> None:
        if self._close is None:
            return
        code, reason = self._close
        for epoch in self._close_epochs:
            transmit = builder.close(now, pool, code, reason, epoch)
            if transmit is not None:
                out.append(transmit)
        self._close_epochs = []

    def _release_windows(self, parts: ConnectionParts) -> None:
        if self._shared.budget is not None:
            self._shared.budget.release(parts.mux.table.conn_window.window)
        parts.mux.memory.release()

    def erase(self) -> None:
        """Closed: no key, no buffer, no deadline is left."""
        parts = self._shared.parts
        if parts is not None:
            if self._close is None:
                self._release_windows(parts)
            parts.keys.wipe()
            parts.rekey.wipe()
        self._shared.parts = self._shared.builder = self._shared.inbound = None
        self._shared.own_pool = None
        self._shared.withheld.clear()
        self._shared.timers.clear()
