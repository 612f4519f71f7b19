"""The connections of one transfer: who comes in, which one the transfer runs over, and what happens
when it is lost.

::

    a knock ──► Door ──► Link ──► (lost or silent) ──► Attempts: dialled again, or waited for

At a receiver there is one link at a time; a sender may show its offer to some until one of them
accepts. What is decided about the transfer itself is the ``PeersOwner``'s.

Spec: docs/spec/transfer.md §10 [TR-91 to TR-95].
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import Protocol

from wraith.connection import events as conn_events
from wraith.connection.connection import Connection
from wraith.connection.handshake.node_record import NodeRecord
from wraith.errors import (
    CloseCode,
    ConnectionLost,
    HandshakeTimeout,
    LocalProtocolError,
    PeerKeyMismatch,
    RemoteProtocolError,
    WraithError,
)
from wraith.node import closes
from wraith.node.attempts import Attempts
from wraith.node.config import NodeConfig
from wraith.node.door import Door, Verdict
from wraith.node.events import (
    Bound,
    Connected,
    LinkLost,
    NodeCloseCode,
    NodeEvent,
    StillTrying,
    TurnedAway,
)
from wraith.node.link import TransferLink
from wraith.transfer.state import ReceiverState, SenderState
from wraith.types import PeerKey, Role

SILENCE_PTOS, SILENCE_MIN_S = 3, 0.5
"""While something should be coming, a dialler and a receiver ask after this long whether the peer
is still there, the minimum at least. A side that only receives has nothing in flight: it would
notice neither a silent peer nor a change of its own address until a keepalive. [TR-150]"""

_PATIENT = frozenset({ReceiverState.DECIDING, SenderState.AWAITING_ANSWER})
"""A person is thinking: nothing is expected."""


class PeersOwner(Protocol):
    """The transfer and its node as the peers see them: what they ask, and what they tell."""

    @property
    def is_over(self) -> bool:
        """The outcome is decided."""
        ...

    @property
    def identity(self) -> PeerKey:
        """Who this node is."""
        ...

    def connect(self, record: NodeRecord, now: float) -> Connection:
        """Dials ``record`` once. Raises ``WraithError`` if that is not possible."""
        ...

    def join(self, connection: Connection, now: float) -> TransferLink:
        """The transfer begins on ``connection``."""
        ...

    def is_satisfied(self, link: TransferLink) -> bool:
        """Nothing is missing any more that ``link`` could bring."""
        ...

    def on_link_lost(self) -> None:
        """The link that the transfer ran over is gone."""
        ...

    def on_all_gone(self) -> None:
        """No link is left, after the end was decided."""
        ...

    def on_offer_unread(self, link: TransferLink) -> None:
        """The peer of ``link`` could not read the offer and has closed."""
        ...

    def on_breach(self, link: TransferLink, error: RemoteProtocolError) -> None:
        """The peer of ``link`` broke the protocol."""
        ...

    def give_up(self, error: WraithError) -> None:
        """Nobody can be reached, or it is of no use to try."""
        ...


class Peers:
    """See the module. ``links`` and ``current`` are for reading."""

    def __init__(
        self,
        config: NodeConfig,
        host: PeersOwner,
        events: deque[NodeEvent],
        *,
        receives: bool,
    ) -> None:
        self.links: dict[Connection, TransferLink] = {}
        self.current: TransferLink | None = None
        self.door = Door(receives=receives, expected=config.expected_peers, bound=config.bound_to)
        self._config = config
        self._host = host
        self._events = events
        self._receives = receives
        self._dialling: Attempts | None = None
        self._lost_at: float | None = None

    # --- commands -------------------------------------------------------------------------------

    def dial(self, record: NodeRecord, now: float) -> None:
        """Dials ``record`` now and whenever no connection is left."""
        self._dialling = Attempts(self._host.connect, record, self._config, now)
        self._dial_when_due(now)

    def bind(self, link: TransferLink, now: float) -> bool:
        """The first accepted offer binds the code to this receiver. [TR-92]

        Returns:
            False for a receiver that was turned away in this same turn, because another one's
            acceptance was read before its own. [TR-108]
        """
        if self.links.get(link.connection) is not link:
            return False
        if self.door.bound is None and link.peer is not None:
            self.door.bound = link.peer
            self._events.append(Bound(link.peer))
        self.current = link
        for other in list(self.links.values()):
            if other is not link:
                self._events.append(TurnedAway(other.peer, busy=True))
                self.close(other, NodeCloseCode.BUSY, now)
        return True

    def serve_only(self, peer: PeerKey | None) -> None:
        """A receiver has accepted what ``peer`` offers: nobody else is let in. [TR-102]"""
        self.door.bound = peer

    def close(self, link: TransferLink, code: int, now: float, reason: str = "") -> None:
        """Closes one connection. ``reason`` is for the people at the other end."""
        link.connection.close(code, reason, now)
        if self.links.pop(link.connection, None) is None:
            return
        closed = conn_events.Closed(code, reason, by_peer=False, error=None)
        self._on_link_gone(link, closed, now)

    def close_all(self, now: float) -> None:
        """Closes every connection without further consequences."""
        for link in list(self.links.values()):
            link.connection.close(CloseCode.NO_ERROR, "", now)
        self.links.clear()
        self.current = None

    def stop_dialling(self, now: float) -> None:
        """Breaks off attempts that are under way."""
        if self._dialling is not None:
            self._dialling.drop(now)

    # --- time -----------------------------------------------------------------------------------

    def close_finished(self, now: float) -> None:
        """Closes links whose last words have had their time."""
        for link in list(self.links.values()):
            if link.closing_at is not None and now >= link.closing_at:
                self.close(link, CloseCode.NO_ERROR, now)

    def handle_timer(self, now: float) -> None:
        """Asks a silent peer, dials, gives up, when it is time."""
        if (at := self._ask_at()) is not None and now >= at:
            assert self.current is not None
            self.current.has_asked = True
            with contextlib.suppress(LocalProtocolError):
                self.current.connection.ask(now)
        self._dial_when_due(now)

    def next_timer(self) -> float | None:
        times = [self._ask_at()]
        for link in self.links.values():
            times += [link.closing_at, link.blocked_until]
        if not self._host.is_over:
            if self._dialling is not None:
                times.append(self._dialling.plan.next_timer(trying=self._is_trying()))
            elif self._lost_at is not None and self._config.wait_s is not None:
                times.append(self._lost_at + self._config.wait_s)
        due = [t for t in times if t is not None]
        return min(due) if due else None

    def _ask_at(self) -> float | None:
        """When a silent peer is asked for a sign of life: once, for then the connection's own
        probes go on, and whatever else is sent would put them off for ever."""
        link = self.current
        if link is None or link.has_asked or link.is_suspect or self._host.is_over:
            return None
        if self._dialling is None and not self._receives:
            return None
        machine = link.machine
        if machine.is_over or machine.state in _PATIENT:
            return None
        return link.silent_since + max(SILENCE_PTOS * link.connection.pto_s, SILENCE_MIN_S)

    # --- what connections say -------------------------------------------------------------------

    def on_event(self, connection: Connection, event: conn_events.Event, now: float) -> None:
        """Acts on a fact about one connection."""
        link = self.links.get(connection)
        match event:
            case conn_events.PeerAuthenticated(peer) if connection.role is Role.RESPONDER:
                # It may have closed meanwhile; then its last event follows this one.
                with contextlib.suppress(LocalProtocolError):
                    self._on_knock(connection, peer, now)
            case conn_events.Established():
                with contextlib.suppress(LocalProtocolError):
                    self._on_established(connection, now)
            case conn_events.StreamOpened(sid) if link is not None:
                try:
                    link.on_stream_opened(sid)
                except RemoteProtocolError as exc:
                    self._host.on_breach(link, exc)
            case conn_events.StreamSent(sid) if link is not None:
                if link.closing_at is not None and link.is_flushed(sid):
                    self.close(link, CloseCode.NO_ERROR, now)
            case conn_events.StreamWasReset() | conn_events.StreamWasStopped():
                if link is not None:
                    self.close(link, NodeCloseCode.BROKEN, now)
            case conn_events.PathSuspect() if link is not None and link is self.current:
                link.is_suspect = True
                if self._dialling is not None and not self._host.is_over:
                    self._dialling.plan.on_silent(now, has_roads=connection.has_guide)
            case conn_events.PathRecovered() if link is not None and link is self.current:
                link.is_suspect = False
                if self._dialling is not None:
                    self._dialling.plan.on_recovered()
                    self._dialling.drop(now)
            case conn_events.PathChanged() if link is not None and link is self.current:
                self._events.append(event)
            case conn_events.RoadFailed() if link is None or link is self.current:
                self._events.append(event)
            case conn_events.Closed():
                self._on_closed(connection, event, now)
            case _:
                pass

    def _on_knock(self, connection: Connection, peer: PeerKey | None, now: float) -> None:
        """Someone with the code has proved who they are: may they come in?"""
        if self._host.is_over:
            connection.refuse(now, NodeCloseCode.SPENT)
            return
        match self.door.judge(peer, [link.peer for link in self.links.values()]):
            case Verdict.WELCOME:
                connection.accept(now)
            case Verdict.NOT_ASKED_FOR:
                connection.refuse(now)
                self._events.append(TurnedAway(peer, busy=False))
            case Verdict.BUSY:
                connection.refuse(now, NodeCloseCode.BUSY)
                self._events.append(TurnedAway(peer, busy=True))

    def _on_established(self, connection: Connection, now: float) -> None:
        if self._host.is_over:
            connection.close(NodeCloseCode.SPENT, "", now)
            return
        peer = connection.peer
        was_dialled = self._dialling is not None and self._dialling.take(connection)
        if not self.door.is_expected(peer):
            connection.close(CloseCode.AUTHENTICATION_FAILED, "", now)
            if was_dialled:
                self._host.give_up(PeerKeyMismatch())
            return
        for other in list(self.links.values()):
            if self._receives or other.peer == peer:  # the newer one wins [TR-93]
                self.close(other, NodeCloseCode.REPLACED, now)
        again = self._lost_at is not None
        if self._dialling is not None:
            again = again or self._dialling.plan.was_connected
            self._dialling.drop(now)
            self._dialling.plan.on_connected()
        self._lost_at = None
        self.current = self.links[connection] = self._host.join(connection, now)
        own, path = self._host.identity, connection.path
        self._events.append(
            Connected(peer, connection.security, peer == own, path.remote, again, path.carrier)
        )

    def _on_closed(self, connection: Connection, event: conn_events.Closed, now: float) -> None:
        was_dialled = self._dialling is not None and self._dialling.take(connection)
        link = self.links.pop(connection, None)
        if link is not None:
            if closes.is_offer_unread(event, link.machine.state):
                self._host.on_offer_unread(link)
            self._on_link_gone(link, event, now)
        elif was_dialled and not self._host.is_over:
            self._on_attempt_failed(event, now)

    def _on_link_gone(self, link: TransferLink, event: conn_events.Closed, now: float) -> None:
        if link is self.current:
            self._host.on_link_lost()
            self.current = next(iter(self.links.values()), None)
        if self._host.is_over:
            if not self.links:
                self._host.on_all_gone()
            return
        if self.current is not None or self._host.is_satisfied(link):
            return
        # A dialler that the peer turns away for good gives up. A listener keeps waiting: the next
        # peer that dials may be the right one.
        final = closes.final_error(event)
        if final is not None and self._dialling is not None:
            self._host.give_up(final)
            return
        self._lost_at = now
        if event.code == NodeCloseCode.REPLACED and not event.by_peer:
            return  # its successor is here already
        wait = self._config.wait_s
        until = None if wait is None else now + wait
        if self._dialling is not None:
            self._dialling.on_lost(now, was_silent=link.is_suspect)
            until = self._dialling.plan.deadline
        if event.by_peer or event.code != NodeCloseCode.ANEW:
            self._events.append(LinkLost(closes.words_of(event), until))
        self._dial_when_due(now)

    def _on_attempt_failed(self, event: conn_events.Closed, now: float) -> None:
        final = closes.final_error(event)
        if final is not None and self.current is None:
            self._host.give_up(final)
        elif self._dialling is not None and self._is_trying():
            self._dialling.plan.on_failed(now)
            self._dial_when_due(now)

    # --- dialling and waiting -------------------------------------------------------------------

    def _is_trying(self) -> bool:
        """There is no connection, or one that has fallen silent."""
        return self.current is None or self.current.is_suspect

    def _dial_when_due(self, now: float) -> None:
        if self._host.is_over:
            return
        dialling = self._dialling
        if dialling is None:
            self._wait_on(now)
            return
        if self._is_trying():
            plan = dialling.plan
            if plan.is_over(now):
                self._host.give_up(_not_back() if plan.was_connected else HandshakeTimeout())
                return
            seconds = plan.takes_long(now)
            if seconds is not None:
                self._events.append(StillTrying(seconds))
        try:
            begun = dialling.dial_when_due(now)
        except WraithError as exc:
            self._host.give_up(exc)
            return
        if begun is not None:
            self._events.append(begun)

    def _wait_on(self, now: float) -> None:
        """A side that does not dial waits for the peer to come back."""
        wait = self._config.wait_s
        if self._lost_at is None or wait is None or self.current is not None:
            return
        if now >= self._lost_at + wait:
            self._host.give_up(_not_back())


def _not_back() -> ConnectionLost:
    return ConnectionLost("the peer did not come back")
