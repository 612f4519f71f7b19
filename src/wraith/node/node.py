"""One endpoint and one transfer. How to drive it stands in the package's docstring.

::

    Endpoint ── events ──► Node ── stream bytes ──► Link ──► Sender | Receiver ──► wishes, events
       ▲                     │ who may have the offer, dialling again, the end
       └──── commands ───────┘

Spec: docs/spec/transfer.md §13.
"""

from __future__ import annotations

import contextlib
from collections import deque
from itertools import count

from wraith.connection import events as conn_events
from wraith.connection.connection import Connection
from wraith.connection.endpoint import Endpoint
from wraith.connection.endpoint_events import EndpointEvent
from wraith.connection.record import NodeRecord
from wraith.errors import (
    Busy,
    CloseCode,
    ConnectionLost,
    HandshakeTimeout,
    LocalProtocolError,
    NotAuthorised,
    PeerKeyMismatch,
    PolicyRefused,
    RemoteProtocolError,
    TransferError,
    WraithError,
)
from wraith.node.config import NodeConfig
from wraith.node.dialer import DialPlan
from wraith.node.events import (
    Bound,
    ClockSkewSeen,
    Connected,
    Dialling,
    Finished,
    Interrupted,
    NodeCloseCode,
    NodeEvent,
    StillTrying,
    TurnedAway,
)
from wraith.node.link import Link, RateLimit
from wraith.transfer import reasons
from wraith.transfer.events import Aborted, Accepted, Declined, Done, Placed, TransferEvent
from wraith.transfer.messages import Reason
from wraith.transfer.paths import PathRules
from wraith.transfer.receiver import Receiver
from wraith.transfer.sender import Outgoing, Sender
from wraith.transfer.state import ReceiverState, SenderState
from wraith.transfer.wishes import Wish
from wraith.types import Buffer, NetworkPath, PeerKey, Role, Transmit

GRACE_S = 2.0
"""How long last words (a receipt's answer, an abort) may take before the connection closes."""

SILENCE_S = 1.0
"""While something should be coming, a dialler asks after this long whether the peer is still there.
Whoever only receives has nothing in flight, and would notice nothing until a keepalive."""

_PATIENT = frozenset({ReceiverState.DECIDING, SenderState.AWAITING_ANSWER})
"""A person is thinking: nothing is expected."""

UNDECIDED_MAX = 4
"""Receivers that may look at an offer at the same time before one accepts."""

_RETRIED = frozenset({Reason.INTERRUPTED, Reason.OTHER})


class Node:
    """See the package. Exactly one of ``offer`` (sends) and ``rules`` (receives) is given.

    Args:
        endpoint: the node drives it from now on; nobody else may.
        offer: what to send, e.g. ``FileSource.outgoing``.
        rules: what the target can hold, e.g. ``FileTarget.rules``.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        offer: Outgoing | None = None,
        rules: PathRules | None = None,
        config: NodeConfig,
        now: float,
    ) -> None:
        if (offer is None) == (rules is None):
            raise ValueError("a node either sends or receives")
        self.endpoint = endpoint
        self.config = config
        self.is_finished = False
        self._offer = offer
        self._ids = count(1)
        self._receiver = Receiver(rules, self._ids) if rules is not None else None
        self._links: dict[Connection, Link] = {}
        self._current: Link | None = None
        self._attempts: set[Connection] = set()
        self._known: set[Connection] = set()
        self._record: NodeRecord | None = None
        self._plan: DialPlan | None = None
        self._bound = config.bound_to
        self._events: deque[NodeEvent] = deque()
        self._owners: dict[int, Sender | Receiver] = {}
        self._lost_at: float | None = None
        self._receipt_by: float | None = None
        self._done: Done | None = None
        self._error: WraithError | None = None
        self._ending_by: float | None = None
        self._last_failure: WraithError | None = None
        self._now = now
        self._heard_at = now
        rate = config.limit_bytes_per_s
        self._limit = RateLimit(rate, now) if rate is not None else None

    # --- bytes and time in ----------------------------------------------------------------------

    def receive_datagrams(
        self, data: Buffer, segment_bytes: int, path: NetworkPath, now: float
    ) -> None:
        """As ``Endpoint.receive_datagrams``."""
        self._now = self._heard_at = now
        self.endpoint.receive_datagrams(data, segment_bytes, path, now)

    def handle_mtu_exceeded(self, path: NetworkPath, n_bytes: int, now: float) -> None:
        """As ``Endpoint.handle_mtu_exceeded``."""
        self.endpoint.handle_mtu_exceeded(path, n_bytes, now)

    def handle_timer(self, now: float) -> None:
        """Does what is due at ``now``."""
        self._now = now
        self.endpoint.handle_timer(now)
        if self._receiver is not None:
            self._guarded(self._receiver_timer)
        for link in list(self._links.values()):
            if link.closing_at is not None and now >= link.closing_at:
                self._close_link(link, CloseCode.NO_ERROR)
        if self.is_finished:
            return
        if self._ending_by is not None and now >= self._ending_by:
            self._finish_now()
            return
        if self._receipt_by is not None and now >= self._receipt_by:
            assert self._receiver is not None
            self._end(self._receiver.done(), None)
            return
        if (at := self._ask_at()) is not None and now >= at:
            self._heard_at = now
            assert self._current is not None
            with contextlib.suppress(LocalProtocolError):
                self._current.connection.ping(now)
        self._dial_when_due()

    def _ask_at(self) -> float | None:
        """When a silent peer is asked for a sign of life."""
        link = self._current
        if self._plan is None or link is None or link.is_suspect or self._is_over():
            return None
        machine = link.machine
        if machine.is_over or machine.state in _PATIENT:
            return None
        return self._heard_at + SILENCE_S

    def _receiver_timer(self) -> None:
        assert self._receiver is not None
        self._receiver.handle_timer(self._now)

    # --- bytes, facts, wishes and time out ------------------------------------------------------

    def datagrams_to_send(self, now: float) -> list[Transmit]:
        """Bursts that are due now. Also where stream bytes move: call it after everything."""
        self._now = now
        self._pump()
        transmits = self.endpoint.datagrams_to_send(now)
        if not transmits and self._take_endpoint_events():
            self._pump()
            transmits = self.endpoint.datagrams_to_send(now)
        return transmits

    def records_to_store(self) -> list[tuple[bytes, list[bytes]]]:
        """As ``Endpoint.records_to_store``."""
        return self.endpoint.records_to_store()

    def next_event(self) -> NodeEvent | None:
        """The next fact, oldest first."""
        return self._events.popleft() if self._events else None

    def next_wish(self) -> Wish | None:
        """The next wish for the disk. Fulfil wishes in this order; answer with ``io_done``."""
        for machine in self._machines():
            wish = machine.next_wish()
            if wish is not None:
                self._owners[wish.id] = machine
                return wish
        return None

    def io_done(self, wish_id: int, result: object, now: float) -> None:
        """The answer to a wish: what its docstring names, or a ``WraithError``."""
        self._now = now
        machine = self._owners.pop(wish_id)
        if isinstance(machine, Sender):
            machine.io_done(wish_id, result)
        else:
            self._guarded(lambda: machine.io_done(wish_id, result, now))

    def next_timer(self) -> float | None:
        """When to call ``handle_timer``."""
        times = [self.endpoint.next_timer(), self._ending_by, self._receipt_by, self._ask_at()]
        if self._receiver is not None:
            times.append(self._receiver.next_timer())
        for link in self._links.values():
            times += [link.closing_at, link.blocked_until]
        if not self.is_finished and self._ending_by is None:
            if self._plan is not None:
                times.append(self._plan.next_timer(trying=self._is_trying()))
            elif self._lost_at is not None and self.config.wait_s is not None:
                times.append(self._lost_at + self.config.wait_s)
        due = [t for t in times if t is not None]
        return min(due) if due else None

    @property
    def is_quiet(self) -> bool:
        """Finished, and nothing of it waits to be sent."""
        return self.is_finished and not self._links

    @property
    def bound_to(self) -> PeerKey | None:
        """The receiver that the code belongs to, if one has accepted."""
        return self._bound

    @property
    def connection(self) -> Connection | None:
        """The connection that the transfer runs over now: for figures, not for commands."""
        return self._current.connection if self._current is not None else None

    # --- commands -------------------------------------------------------------------------------

    def dial(self, record: NodeRecord, now: float) -> None:
        """Dials ``record`` until someone answers, and again whenever the connection is lost."""
        self._now = now
        self._record = record
        self._plan = DialPlan(self.config, now)
        self._dial_when_due()

    def accept(self, now: float) -> None:
        """Accepts the offer that ``OfferReceived`` told of. ``LocalProtocolError`` without one."""
        self._now = now
        if self._receiver is None:
            raise LocalProtocolError("only a receiver accepts an offer")
        try:
            self._receiver.accept()
        except RemoteProtocolError:
            raise LocalProtocolError("there is no offer to accept") from None

    def decline(self, now: float, *, reason: Reason = Reason.DECLINED) -> None:
        """Refuses the offer (``Reason.LIST_ONLY``: it was only looked at)."""
        self._now = now
        if self._receiver is None:
            raise LocalProtocolError("only a receiver declines an offer")
        try:
            self._receiver.decline(reasons.error_of(reason, ""), reason)
        except RemoteProtocolError:
            raise LocalProtocolError("there is no offer to decline") from None

    def stop(self, now: float, error: WraithError | None = None) -> None:
        """Ends everything: peers are told, what is verified stays. ``Finished`` follows within
        two seconds. The default error is ``reasons.Interrupted``."""
        self._now = now
        error = error if error is not None else reasons.Interrupted()
        for machine in self._machines():
            machine.abort(error)
        if self._receiver is not None and self._receiver.is_placed:
            self._end(self._receiver.done(), None)  # everything is there: no failure any more
        else:
            self._end(None, error)

    # --- inside: moving bytes -------------------------------------------------------------------

    def _machines(self) -> list[Sender | Receiver]:
        if self._receiver is not None:
            return [self._receiver]
        return [link.machine for link in self._links.values()]

    def _pump(self) -> None:
        """Events of the endpoint, stream bytes, events of the machines, until nothing moves."""
        while True:
            self._take_endpoint_events()
            for link in list(self._links.values()):
                self._pump_link(link)
            if not self._take_machine_events():
                return

    def _pump_link(self, link: Link) -> None:
        try:
            # A connection that is closing takes nothing more; its last event says so.
            with contextlib.suppress(LocalProtocolError):
                link.pump(self._now)
        except RemoteProtocolError as exc:
            self._on_breach(link, exc)

    def _guarded(self, action: object) -> None:
        """Runs what may find that the peer of the current link broke the protocol."""
        assert callable(action)
        try:
            action()
        except RemoteProtocolError as exc:
            if self._current is not None:
                self._on_breach(self._current, exc)

    def _on_breach(self, link: Link, error: RemoteProtocolError) -> None:
        """The peer broke the transfer's protocol: one CLOSE. A sender goes on waiting for one who
        does not; a receiver has nobody else to wait for."""
        self._close_link(link, error.close_code or NodeCloseCode.BROKEN)
        if self._receiver is not None:
            self._end(None, error)

    def _take_machine_events(self) -> bool:
        moved = False
        if self._receiver is not None:
            while (event := self._receiver.next_event()) is not None:
                moved = True
                self._on_transfer_event(self._current, event)
            return moved
        for link in list(self._links.values()):
            while (event := link.machine.next_event()) is not None:
                moved = True
                self._on_transfer_event(link, event)
        return moved

    # --- inside: what the transfer says ---------------------------------------------------------

    def _on_transfer_event(self, link: Link | None, event: TransferEvent) -> None:
        self._events.append(event)
        match event:
            case Accepted() if self._offer is not None and link is not None:
                self._bind(link)
            case Done():
                self._on_done(link, event)
            case Placed():
                self._receipt_by = self._now + self.config.receipt_wait_s
            case Declined(by_peer, reason, error):
                self._last_words(link)
                if by_peer and self._bound is not None and link is not None:
                    self._bound = None if self._bound == link.peer else self._bound
                is_final = self.config.end_on_decline and reason is not Reason.LIST_ONLY
                if link is not None:
                    link.is_done = True
                if not by_peer or is_final:
                    self._end(None, error)
            case Aborted(by_peer, reason, error):
                self._last_words(link)
                if not by_peer or (self._receiver is not None and reason not in _RETRIED):
                    self._end(None, error)
            case _:
                pass

    def _on_done(self, link: Link | None, done: Done) -> None:
        self._receipt_by = None
        self._last_words(link)
        if link is not None:
            link.is_done = True
        if self._offer is not None and self.config.keep:
            self._bound = None
            return
        self._end(done, None)

    def _last_words(self, link: Link | None) -> None:
        """What is in the control stream still goes out; then the connection closes."""
        if link is not None:
            link.finish(self._now, GRACE_S)

    def _bind(self, link: Link) -> None:
        """The first accepted offer binds the code to this receiver. [TR-92]"""
        if self._bound is None and link.peer is not None:
            self._bound = link.peer
            self._events.append(Bound(link.peer))
        self._current = link
        for other in list(self._links.values()):
            if other is not link:
                self._events.append(TurnedAway(other.peer, busy=True))
                self._close_link(other, NodeCloseCode.BUSY)

    # --- inside: what connections say -----------------------------------------------------------

    def _take_endpoint_events(self) -> bool:
        moved = False
        while (pair := self.endpoint.next_event()) is not None:
            moved = True
            connection, event = pair
            if connection is None:
                self._on_endpoint_event(event)
            else:
                self._on_connection_event(connection, event)
        return moved

    def _on_endpoint_event(self, event: conn_events.Event | EndpointEvent) -> None:
        skew = getattr(event, "skew_s", None)
        if skew is not None:
            self._events.append(ClockSkewSeen(skew))

    def _on_connection_event(
        self, connection: Connection, event: conn_events.Event | EndpointEvent
    ) -> None:
        link = self._links.get(connection)
        match event:
            case conn_events.PeerAuthenticated(peer) if connection.role is Role.RESPONDER:
                # It may have closed meanwhile; then its last event follows this one.
                with contextlib.suppress(LocalProtocolError):
                    self._on_knock(connection, peer)
            case conn_events.Established():
                with contextlib.suppress(LocalProtocolError):
                    self._on_established(connection)
            case conn_events.StreamOpened(sid) if link is not None:
                try:
                    link.on_stream_opened(sid)
                except RemoteProtocolError as exc:
                    self._on_breach(link, exc)
            case conn_events.StreamSent(sid) if link is not None:
                if link.closing_at is not None and link.is_flushed(sid):
                    self._close_link(link, CloseCode.NO_ERROR)
            case conn_events.StreamWasReset() | conn_events.StreamWasStopped():
                if link is not None:
                    self._close_link(link, NodeCloseCode.BROKEN)
            case conn_events.PathSuspect() if link is not None and link is self._current:
                link.is_suspect = True
                if self._plan is not None and not self._is_over():
                    self._plan.on_lost(self._now)
                    self._dial_when_due()
            case conn_events.PathRecovered() if link is not None:
                link.is_suspect = False
                self._drop_attempts()
            case conn_events.Closed():
                self._on_closed(connection, event)
            case _:
                pass

    def _is_over(self) -> bool:
        return self.is_finished or self._ending_by is not None

    def _on_knock(self, connection: Connection, peer: PeerKey | None) -> None:
        """Someone with the code has proved who they are: may they come in? [TR-91]"""
        expected = self.config.expected_peer
        if self._is_over():
            connection.refuse(self._now, NodeCloseCode.SPENT)
        elif expected is not None and peer != expected:
            connection.refuse(self._now)
            self._events.append(TurnedAway(peer, busy=False))
        elif self._is_taken_by_another(peer):
            connection.refuse(self._now, NodeCloseCode.BUSY)
            self._events.append(TurnedAway(peer, busy=True))
        else:
            connection.accept(self._now)

    def _is_taken_by_another(self, peer: PeerKey | None) -> bool:
        if self._receiver is not None:
            return self._current is not None and self._current.peer != peer
        if self._bound is not None:
            return self._bound != peer
        others = [link for link in self._links.values() if link.peer != peer]
        return len(others) >= UNDECIDED_MAX

    def _on_established(self, connection: Connection) -> None:
        if self._is_over():
            connection.close(NodeCloseCode.SPENT, "", self._now)
            return
        peer = connection.peer
        expected = self.config.expected_peer
        if expected is not None and peer != expected:
            connection.close(CloseCode.AUTHENTICATION_FAILED, "", self._now)
            if connection in self._attempts:
                self._end(None, PeerKeyMismatch())
            return
        self._attempts.discard(connection)
        for other in list(self._links.values()):
            if self._receiver is not None or other.peer == peer:  # the newer one wins [TR-93]
                self._close_link(other, NodeCloseCode.REPLACED)
        self._drop_attempts()
        again = self._lost_at is not None or (self._plan is not None and self._plan.was_connected)
        if self._plan is not None:
            self._plan.on_connected()
        self._lost_at = None
        machine: Sender | Receiver
        if self._receiver is not None:
            machine = self._receiver
        else:
            assert self._offer is not None
            machine = Sender(self._offer, self._ids)
        link = Link(connection, machine, limit=self._limit, now=self._now)
        if self._receiver is not None:
            self._receiver.begin(peer)
        self._links[connection] = link
        self._current = link
        own = self.endpoint.keys.identity.public
        self._events.append(
            Connected(peer, connection.security, peer == own, connection.path.remote, again)
        )

    def _on_closed(self, connection: Connection, event: conn_events.Closed) -> None:
        was_attempt = connection in self._attempts
        self._attempts.discard(connection)
        link = self._links.pop(connection, None)
        if link is not None:
            self._on_link_gone(link, event)
        elif was_attempt and not self._is_over():
            self._on_attempt_failed(event)

    def _on_link_gone(self, link: Link, event: conn_events.Closed) -> None:
        if self._receiver is not None and link is self._current:
            self._receiver.connection_lost()
        if link is self._current:
            self._current = next(iter(self._links.values()), None)
        if self._ending_by is not None:
            if not self._links:
                self._finish_now()
            return
        if self.is_finished or self._current is not None:
            return
        if link.is_done or (self._receiver is not None and self._receiver.is_done):
            return
        # Only who dialled can be told to go away; who waits goes on waiting for someone better.
        final = self._final_error(event)
        if final is not None and self._plan is not None:
            self._end(None, final)
            return
        self._lost_at = self._now
        if event.code == NodeCloseCode.REPLACED and not event.by_peer:
            return  # its successor is here already
        if self._plan is not None and not link.is_suspect:  # else it counts from the silence
            self._plan.on_lost(self._now)
        wait = self.config.wait_s
        until = None if wait is None else self._now + wait
        if self._plan is not None:
            until = self._plan.deadline
        self._events.append(Interrupted(_why(event), until))
        self._dial_when_due()

    def _on_attempt_failed(self, event: conn_events.Closed) -> None:
        final = self._final_error(event)
        if final is not None and self._current is None:
            self._end(None, final)
            return
        self._last_failure = event.error
        if self._plan is not None and self._is_trying():
            self._plan.on_failed(self._now)
            self._dial_when_due()

    def _final_error(self, event: conn_events.Closed) -> WraithError | None:
        """The error of a close after which trying again is of no use. [TR-94]"""
        if event.by_peer:
            match event.code:
                case NodeCloseCode.BUSY:
                    return Busy()
                case NodeCloseCode.REPLACED:
                    return ConnectionLost("another wraith with this identity took over")
                case NodeCloseCode.SPENT:
                    return TransferError(
                        "this offer is complete; its code is spent", hint="ask for a new code"
                    )
                case CloseCode.AUTHENTICATION_FAILED:
                    return NotAuthorised(hint="the other side asked for another identity")
        if isinstance(event.error, PeerKeyMismatch | PolicyRefused | RemoteProtocolError):
            return event.error
        return None

    # --- inside: dialling -----------------------------------------------------------------------

    def _dial_when_due(self) -> None:
        plan = self._plan
        if self._is_over():
            return
        if plan is None:
            wait = self.config.wait_s
            if (
                self._lost_at is not None
                and wait is not None
                and self._now >= self._lost_at + wait
                and self._current is None
            ):
                self._end(None, ConnectionLost("the peer did not come back"))
            return
        if self._is_trying():
            if plan.is_over(self._now):
                self._give_up(plan)
                return
            seconds = plan.takes_long(self._now)
            if seconds is not None:
                self._events.append(StillTrying(seconds))
        if self._attempts or not plan.is_due(self._now):
            return
        assert self._record is not None
        try:
            attempt = self.endpoint.connect(
                self._record,
                self._now,
                require_pq=self.config.require_pq,
                suite=self.config.suite,
            )
        except WraithError as exc:
            self._end(None, exc)
            return
        self._attempts.add(attempt)
        self._events.append(Dialling(plan.attempts, plan.was_connected))

    def _is_trying(self) -> bool:
        """There is no connection, or one that has fallen silent."""
        return self._current is None or self._current.is_suspect

    def _give_up(self, plan: DialPlan) -> None:
        if self._receiver is not None and self._receiver.is_placed:
            self._end(self._receiver.done(), None)  # only the receipt did not get through
        elif plan.was_connected:
            self._end(None, ConnectionLost("the peer did not come back"))
        else:
            self._end(None, HandshakeTimeout())

    def _drop_attempts(self) -> None:
        for attempt in list(self._attempts):
            self._attempts.discard(attempt)
            attempt.close(CloseCode.NO_ERROR, "", self._now)

    # --- inside: the end ------------------------------------------------------------------------

    def _close_link(self, link: Link, code: int) -> None:
        link.connection.close(code, "", self._now)
        if self._links.pop(link.connection, None) is None:
            return
        closed = conn_events.Closed(code, "", by_peer=False, error=None)
        self._on_link_gone(link, closed)

    def _end(self, done: Done | None, error: WraithError | None) -> None:
        """The outcome is known. Last words may take ``GRACE_S``; then ``Finished``."""
        if self._is_over():
            return
        self._done, self._error = done, error
        self._receipt_by = None
        self._drop_attempts()
        if not self._links:
            self._finish_now()
            return
        self._ending_by = self._now + GRACE_S
        for link in self._links.values():
            link.finish(self._now, GRACE_S)

    def _finish_now(self) -> None:
        self._ending_by = None
        self.is_finished = True
        for link in list(self._links.values()):
            link.connection.close(CloseCode.NO_ERROR, "", self._now)
        self._links.clear()
        self._current = None
        self.endpoint.stop_listening()
        self._events.append(Finished(self._done, self._error))


def _why(event: conn_events.Closed) -> str:
    if event.error is not None:
        return str(event.error)
    return event.reason or "the connection was closed"
