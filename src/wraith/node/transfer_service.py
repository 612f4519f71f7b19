"""One transfer as a service of a node. How to drive it stands in the package's docstring.

::

    Node ── events ──► TransferService ── stream bytes ──► Link ──► Sender | Receiver ──► wishes
     ▲                     │
     └──── commands ─────── Peers: who may come in, dialling, silence

Spec: docs/spec/transfer.md §10.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from itertools import count

from wraith.connection.connection import Connection
from wraith.connection.endpoint_events import EndpointEvent
from wraith.connection.events import Event
from wraith.connection.handshake.endpoint_keys import AccessKey
from wraith.connection.handshake.node_record import NodeRecord
from wraith.errors import (
    LocalProtocolError,
    RemoteProtocolError,
    WraithError,
)
from wraith.node.config import NodeConfig
from wraith.node.events import ClockSkewSeen, NodeCloseCode, NodeEvent
from wraith.node.link import RateLimit, TransferLink
from wraith.node.node import Node
from wraith.node.outcome import GRACE_S, NodeOutcome
from wraith.node.peers import Peers
from wraith.transfer import reasons
from wraith.transfer.events import (
    Aborted,
    Accepted,
    BeginAnew,
    Declined,
    Done,
    Placed,
    TransferEvent,
)
from wraith.transfer.messages import Reason
from wraith.transfer.path_rules import PathRules
from wraith.transfer.receiver import Receiver
from wraith.transfer.sender import Outgoing, Sender
from wraith.transfer.wishes import Wish
from wraith.types import PeerKey

_RETRIED = frozenset({Reason.INTERRUPTED, Reason.OTHER})


class TransferService:
    """See the package. Exactly one of ``offer`` (sends) and ``rules`` (receives) is given.

    Args:
        node: where it listens or dials.
        key: it listens with this one; ``None`` only dials.
        offer: what to send, e.g. ``FileSource.outgoing``.
        rules: what the target can hold, e.g. ``FileTarget.rules``.
    Raises:
        LocalProtocolError: as ``Node.add``.
    """

    def __init__(
        self,
        node: Node,
        *,
        key: AccessKey | None = None,
        offer: Outgoing | None = None,
        rules: PathRules | None = None,
        config: NodeConfig,
        now: float,
    ) -> None:
        if (offer is None) == (rules is None):
            raise ValueError("a transfer either sends or receives")
        self.node = node
        self.config = config
        self._offer = offer
        self._ids = count(1)
        self._receiver = Receiver(rules, self._ids) if rules is not None else None
        self._outcome = NodeOutcome()
        self._events: deque[NodeEvent] = deque()
        self._peers = Peers(config, self, self._events, receives=rules is not None)
        self._owners: dict[int, Sender | Receiver] = {}
        self._now = now
        rate = config.limit_bytes_per_s
        self._limit = RateLimit(rate, now) if rate is not None else None
        node.add(self, now, key=key)

    # --- what the node tells and asks (node.service.Service) ------------------------------------

    def on_event(self, connection: Connection, event: Event, now: float) -> None:
        """As ``Service.on_event``."""
        self._now = now
        self._peers.on_event(connection, event, now)

    def on_endpoint_event(self, event: EndpointEvent, now: float) -> None:
        """As ``Service.on_endpoint_event``."""
        self._events.append(ClockSkewSeen(event.skew_s))

    def pump(self, now: float) -> bool:
        """Stream bytes both ways, then what the transfer says; true if it said something."""
        self._now = now
        for link in list(self._peers.links.values()):
            self._pump_link(link)
        return self._take_machine_events()

    def before_sending(self, now: float) -> None:
        """A data stream that runs dry is filled from what the transfer has ready."""
        self._now = now
        if (link := self._peers.current) is not None and link.runs_dry:
            with contextlib.suppress(LocalProtocolError):  # it is closing, as in _pump_link
                link.refill(now)

    def handle_timer(self, now: float) -> None:
        """Does what is due at ``now``."""
        self._now = now
        if self._receiver is not None:
            self._guarded(self._receiver_timer)
        self._peers.close_finished(now)
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
        self._peers.handle_timer(now)

    def _receiver_timer(self) -> None:
        assert self._receiver is not None
        self._receiver.handle_timer(self._now)

    # --- facts, wishes and time out -------------------------------------------------------------

    def next_event(self) -> NodeEvent | None:
        """The next fact, oldest first."""
        return self._events.popleft() if self._events else None

    def next_wish(self) -> Wish[object] | None:
        """The next wish for the disk. Fulfil wishes in this order; answer with ``io_done``."""
        receiver = self._receiver
        if receiver is not None:
            wish = receiver.next_wish()
            if wish is not None:
                self._owners[wish.id] = receiver
            return wish
        for link in self._peers.links.values():
            asked = link.machine.next_wish()
            if asked is not None:
                self._owners[asked.id] = link.machine
                return asked
        return None

    def io_done(self, wish_id: int, result: object, now: float) -> None:
        """The answer to a wish: of the type that it names, or a ``WraithError``."""
        self._now = now
        machine = self._owners.pop(wish_id)
        if isinstance(machine, Sender):
            machine.io_done(wish_id, result)
        else:
            self._guarded(lambda: machine.io_done(wish_id, result, now))
        self._pump()

    def next_timer(self) -> float | None:
        """When to call ``handle_timer``."""
        outcome = self._outcome
        times = [outcome.words_until, outcome.receipt_until]
        times.append(self._peers.next_timer())
        if self._receiver is not None:
            times.append(self._receiver.next_timer())
        due = [t for t in times if t is not None]
        return min(due) if due else None

    @property
    def is_finished(self) -> bool:
        """``Finished`` has been told, or waits among the events."""
        return self._outcome.is_told

    @property
    def is_quiet(self) -> bool:
        """Finished, and nothing of it waits to be sent."""
        return self.is_finished and not self._peers.links

    @property
    def bound_to(self) -> PeerKey | None:
        """The receiver that the code belongs to, if one has accepted."""
        return self._peers.door.bound

    @property
    def connection(self) -> Connection | None:
        """The connection that the transfer runs over now: for figures, not for commands."""
        current = self._peers.current
        return current.connection if current is not None else None

    # --- commands -------------------------------------------------------------------------------

    def dial(self, record: NodeRecord, now: float) -> None:
        """Dials ``record`` until someone answers, and again whenever the connection is lost."""
        self._now = now
        self._peers.dial(record, now)
        self._pump()

    def accept(self, offer_id: bytes, now: float) -> None:
        """Accepts the offer that ``OfferReceived`` told of under this ``offer_id``.

        Raises:
            StateViolation: that offer is gone, and another one, if there is one, stays pending.
            LocalProtocolError: this node sends.
        """
        self._now = now
        if self._receiver is None:
            raise LocalProtocolError("only a receiver accepts an offer")
        self._receiver.accept(offer_id)
        self._peers.serve_only(self._receiver.peer)
        self._pump()

    def decline(self, now: float, *, reason: Reason = Reason.DECLINED) -> None:
        """Refuses the offer (``Reason.LIST_ONLY``: it was only looked at)."""
        self._now = now
        if self._receiver is None:
            raise LocalProtocolError("only a receiver declines an offer")
        try:
            self._receiver.decline(reasons.error_of(reason, ""), reason)
        except RemoteProtocolError:
            raise LocalProtocolError("there is no offer to decline") from None
        self._pump()

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
        self._pump()

    # --- inside: moving bytes -------------------------------------------------------------------

    def _machines(self) -> list[Sender | Receiver]:
        if self._receiver is not None:
            return [self._receiver]
        return [link.machine for link in self._peers.links.values()]

    def _pump(self) -> None:
        """After a command: whatever it has moved."""
        self.node.pump(self._now)

    def _pump_link(self, link: TransferLink) -> None:
        try:
            # A connection that is closing takes nothing more; its last event says so.
            with contextlib.suppress(LocalProtocolError):
                link.pump(self._now)
        except RemoteProtocolError as exc:
            self.on_breach(link, exc)

    def _guarded(self, action: Callable[[], None]) -> None:
        """Runs what may find that the peer of the current link broke the protocol."""
        try:
            action()
        except RemoteProtocolError as exc:
            if self._peers.current is not None:
                self.on_breach(self._peers.current, exc)

    def _take_machine_events(self) -> bool:
        moved = False
        if self._receiver is not None:
            while (event := self._receiver.next_event()) is not None:
                moved = True
                self._on_transfer_event(self._peers.current, event)
            return moved
        for link in list(self._peers.links.values()):
            while (event := link.machine.next_event()) is not None:
                moved = True
                self._on_transfer_event(link, event)
        return moved

    # --- inside: what the transfer says ---------------------------------------------------------

    def _on_transfer_event(self, link: TransferLink | None, event: TransferEvent) -> None:
        if not self._may_go_on(link, event):
            return
        if isinstance(event, Declined) and link is not None:
            event = replace(event, peer=link.peer)
        self._events.append(event)
        match event:
            case Done():
                self._on_done(link, event)
            case Placed():
                self._outcome.receipt_until = self._now + self.config.receipt_wait_s
            case BeginAnew() if link is not None:
                text = "something that it had kept was damaged and is fetched again"
                self._peers.close(link, NodeCloseCode.ANEW, self._now, text)
            case Declined(by_peer, reason, error, _):
                self._last_words(link)
                door = self._peers.door
                if by_peer and link is not None and door.bound == link.peer:
                    door.bound = None
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

    def _may_go_on(self, link: TransferLink | None, event: TransferEvent) -> bool:
        """False for a receiver whose acceptance came too late: nothing is told of it."""
        if self._offer is None or link is None or not isinstance(event, Accepted):
            return True
        return self._peers.bind(link, self._now)

    def _on_done(self, link: TransferLink | None, done: Done) -> None:
        self._outcome.receipt_until = None
        self._last_words(link)
        if link is not None:
            link.is_done = True
        if self._offer is not None and self.config.keep:
            self._peers.door.bound = None
            return
        self._end(done, None)

    def _last_words(self, link: TransferLink | None) -> None:
        """What is in the control stream still goes out; then the connection closes."""
        if link is not None:
            link.finish(self._now, GRACE_S)

    # --- what the peers ask and tell (node.peers.Host) ------------------------------------------

    @property
    def is_over(self) -> bool:
        """The outcome is decided; last words may still be under way."""
        return self._outcome.is_decided

    @property
    def identity(self) -> PeerKey:
        """Who this node is."""
        return self.node.endpoint.keys.identity.public

    def connect(self, record: NodeRecord, now: float) -> Connection:
        """Dials ``record`` once, by the policy of this transfer.

        Raises:
            WraithError: the record cannot be dialled from here, now or ever.
        """
        config = self.config
        return self.node.connect(
            self, record, now, require_pq=config.require_pq, suite=config.suite
        )

    def join(self, connection: Connection, now: float) -> TransferLink:
        """The transfer begins on ``connection``."""
        if self._receiver is not None:
            self._receiver.begin(connection.peer)
            return TransferLink(connection, self._receiver, limit=self._limit, now=now)
        assert self._offer is not None
        return TransferLink(connection, Sender(self._offer, self._ids), limit=self._limit, now=now)

    def is_satisfied(self, link: TransferLink) -> bool:
        """Nothing is missing any more that ``link`` could bring."""
        return link.is_done or (self._receiver is not None and self._receiver.is_done)

    def on_link_lost(self) -> None:
        """The link that the transfer ran over is gone."""
        if self._receiver is not None:
            self._receiver.connection_lost()

    def on_all_gone(self) -> None:
        """No link is left after the end was decided: there is nobody for last words."""
        if self._outcome.words_until is not None:
            self._finish_now()

    def on_offer_unread(self, link: TransferLink) -> None:
        """The receiver speaks another version: as if it had declined for that reason. [TR-136]"""
        text = "newer wraith needed at the receiver: it could not read the offer"
        declined = Declined(True, Reason.UNSUPPORTED, reasons.NewerNeeded(text))
        self._on_transfer_event(link, declined)

    def on_breach(self, link: TransferLink, error: RemoteProtocolError) -> None:
        """Closes ``link``, whose peer broke the transfer's protocol, with one CLOSE. A sender keeps
        waiting for another peer. A receiver ends, because nobody else can send to it."""
        self._peers.close(link, error.close_code or NodeCloseCode.BROKEN, self._now)
        if self._receiver is not None:
            self._end(None, error)

    def give_up(self, error: WraithError) -> None:
        """Nobody can be reached, or it is of no use to try."""
        if self._receiver is not None and self._receiver.is_placed:
            self._end(self._receiver.done(), None)  # only the receipt did not get through
        else:
            self._end(None, error)

    # --- inside: the end ------------------------------------------------------------------------

    def _end(self, done: Done | None, error: WraithError | None) -> None:
        """The outcome is known; after last words ``Finished`` follows."""
        if self.is_over:
            return
        self._outcome.decide(done, error, self._now)
        self._peers.stop_dialling(self._now)
        if not self._peers.links:
            self._finish_now()
            return
        for link in self._peers.links.values():
            link.finish(self._now, GRACE_S)

    def _finish_now(self) -> None:
        finished = self._outcome.tell()
        self._peers.close_all(self._now)
        self.node.stop_listening(self)
        self._events.append(finished)
