"""One endpoint and one transfer. How to drive it stands in the package's docstring.

::

    Endpoint ── events ──► Node ── stream bytes ──► Link ──► Sender | Receiver ──► wishes, events
       ▲                     │
       └──── commands ───────┤ Door (who may come in), Attempts (dialling), Outcome (the end)

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
    ClockSkewSeen,
    Connected,
    Interrupted,
    NodeCloseCode,
    NodeEvent,
    StillTrying,
    TurnedAway,
)
from wraith.node.link import Link, RateLimit
from wraith.node.outcome import GRACE_S, Outcome
from wraith.transfer import reasons
from wraith.transfer.events import Aborted, Accepted, Declined, Done, Placed, TransferEvent
from wraith.transfer.messages import Reason
from wraith.transfer.paths import PathRules
from wraith.transfer.receiver import Receiver
from wraith.transfer.sender import Outgoing, Sender
from wraith.transfer.state import ReceiverState, SenderState
from wraith.transfer.wishes import Wish
from wraith.types import Buffer, NetworkPath, PeerKey, Role, Transmit

SILENCE_S = 1.0
"""While something should be coming, a dialler asks after this long whether the peer is still there.
Whoever only receives has nothing in flight, and would notice nothing until a keepalive."""

_PATIENT = frozenset({ReceiverState.DECIDING, SenderState.AWAITING_ANSWER})
"""A person is thinking: nothing is expected."""

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
        self._offer = offer
        self._ids = count(1)
        self._receiver = Receiver(rules, self._ids) if rules is not None else None
        self._outcome = Outcome()
        self._events: deque[NodeEvent] = deque()
        self._peers = Peers(endpoint, config, self, self._events, receives=rules is not None)
        self._owners: dict[int, Sender | Receiver] = {}
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
        outcome = self._outcome
        if outcome.is_told:
            return
        if outcome.words_until is not None and now >= outcome.words_until:
            self._finish_now()
            return
        if outcome.receipt_until is not None and now >= outcome.receipt_until:
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
        if self._dialling is None or link is None or link.is_suspect or self._is_over():
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
        outcome = self._outcome
        times = [self.endpoint.next_timer(), outcome.words_until, outcome.receipt_until]
        times.append(self._ask_at())
        if self._receiver is not None:
            times.append(self._receiver.next_timer())
        for link in self._links.values():
            times += [link.closing_at, link.blocked_until]
        if not outcome.is_decided:
            if self._dialling is not None:
                times.append(self._dialling.plan.next_timer(trying=self._is_trying()))
            elif self._lost_at is not None and self.config.wait_s is not None:
                times.append(self._lost_at + self.config.wait_s)
        due = [t for t in times if t is not None]
        return min(due) if due else None

    @property
    def is_finished(self) -> bool:
        """``Finished`` has been told, or waits among the events."""
        return self._outcome.is_told

    @property
    def is_quiet(self) -> bool:
        """Finished, and nothing of it waits to be sent."""
        return self.is_finished and not self._links

    @property
    def bound_to(self) -> PeerKey | None:
        """The receiver that the code belongs to, if one has accepted."""
        return self._door.bound

    @property
    def connection(self) -> Connection | None:
        """The connection that the transfer runs over now: for figures, not for commands."""
        return self._current.connection if self._current is not None else None

    # --- commands -------------------------------------------------------------------------------

    def dial(self, record: NodeRecord, now: float) -> None:
        """Dials ``record`` until someone answers, and again whenever the connection is lost."""
        self._now = now
        self._dialling = Attempts(self.endpoint, record, self.config, now)
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
                self._outcome.receipt_until = self._now + self.config.receipt_wait_s
            case Declined(by_peer, reason, error):
                self._last_words(link)
                if by_peer and link is not None and self._door.bound == link.peer:
                    self._door.bound = None
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
        self._outcome.receipt_until = None
        self._last_words(link)
        if link is not None:
            link.is_done = True
        if self._offer is not None and self.config.keep:
            self._door.bound = None
            return
        self._end(done, None)

    def _last_words(self, link: Link | None) -> None:
        """What is in the control stream still goes out; then the connection closes."""
        if link is not None:
            link.finish(self._now, GRACE_S)

    # --- inside: the end ------------------------------------------------------------------------

    def _end(self, done: Done | None, error: WraithError | None) -> None:
        """The outcome is known; after last words ``Finished`` follows."""
        if self._is_over():
            return
        self._outcome.decide(done, error, self._now)
        if self._dialling is not None:
            self._dialling.drop(self._now)
        if not self._links:
            self._finish_now()
            return
        for link in self._links.values():
            link.finish(self._now, GRACE_S)

    def _finish_now(self) -> None:
        finished = self._outcome.tell()
        for link in list(self._links.values()):
            link.connection.close(CloseCode.NO_ERROR, "", self._now)
        self._links.clear()
        self._current = None
        self.endpoint.stop_listening()
        self._events.append(finished)
